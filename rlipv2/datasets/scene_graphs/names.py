"""The free-form names of a corpus with how often each occurs, counted or from a `keep_names_freq` file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json, write_json

KEYS = {"object": ("object_names", "object_freq"), "relation": ("relationship_names", "relationship_freq")}


@dataclass(frozen=True)
class NameCounts:
    """Names of objects (one count per box) and of relations (one per triplet), most frequent first."""

    objects: tuple[str, ...]
    object_counts: Int[np.ndarray, " o"]
    relations: tuple[str, ...]
    relation_counts: Int[np.ndarray, " r"]

    @classmethod
    def count(
        cls,
        objects: Sequence[str],
        labels: Int[np.ndarray, " n"],
        relations: Sequence[str],
        predicates: Int[np.ndarray, " h"],
    ) -> "NameCounts":
        """Counts rows of two name lists; ties stay in the order of the lists, names that never occur are left out."""
        object_counts = np.bincount(labels, minlength=len(objects))
        return cls.of_counts(objects, object_counts, relations, np.bincount(predicates, minlength=len(relations)))

    @classmethod
    def of_counts(
        cls,
        objects: Sequence[str],
        object_counts: Int[np.ndarray, " o"],
        relations: Sequence[str],
        relation_counts: Int[np.ndarray, " r"],
    ) -> "NameCounts":
        """The same, counted before."""
        return cls(*_by_frequency(objects, object_counts), *_by_frequency(relations, relation_counts))

    @classmethod
    def sum(cls, parts: Sequence["NameCounts"]) -> "NameCounts":
        """The counts of several corpora added; names of equal count stay in the order of the parts.

        Official: datasets/mixed_dataset.py, fuse_multi_keep_names_freq.
        """
        return cls(
            *_added([(part.objects, part.object_counts) for part in parts]),
            *_added([(part.relations, part.relation_counts) for part in parts]),
        )

    @classmethod
    def read(cls, path: Path) -> "NameCounts":
        """Reads a `keep_names_freq` file, in the order of its lists (the official sampler draws in that order).

        Raises:
            DatasetNotFoundError: no such file.
            AnnotationError: a list or a count is missing or wrong; names the key.
        """
        content = read_json(path)
        if not isinstance(content, dict):
            raise AnnotationError.in_file(path, "not an object", f"expected the keys {[*KEYS.values()]}")
        columns: list[Any] = []
        for names, counts in KEYS.values():
            columns += _read_column(content, names, counts, path)
        return cls(*columns)

    def write(self, path: Path) -> None:
        """Writes the same file, with which later runs need not count."""
        columns = {
            "relation": (self.relations, self.relation_counts),
            "object": (self.objects, self.object_counts),
        }
        content: dict[str, Any] = {}
        for kind, (names, counts) in columns.items():
            content[KEYS[kind][0]] = list(names)
            content[KEYS[kind][1]] = dict(zip(names, counts.tolist(), strict=True))
        write_json(path, content)


def _by_frequency(names: Sequence[str], counts: Int[np.ndarray, " n"]) -> tuple[tuple[str, ...], Int[np.ndarray, " c"]]:
    counts = counts.astype(np.int64)
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    return tuple(names[row] for row in order), counts[order]


def _added(
    parts: Sequence[tuple[Sequence[str], Int[np.ndarray, " n"]]],
) -> tuple[tuple[str, ...], Int[np.ndarray, " c"]]:
    total: dict[str, int] = {}
    for names, counts in parts:
        for name, count in zip(names, counts.tolist(), strict=True):
            total[name] = total.get(name, 0) + count
    names, counts = tuple(total), np.array([*total.values()], np.int64)
    order = np.argsort(-counts, kind="stable")
    return tuple(names[row] for row in order), counts[order]


def _read_column(content: Mapping[str, Any], names_key: str, counts_key: str, path: Path) -> tuple[Any, Any]:
    names, counts = content.get(names_key), content.get(counts_key)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise AnnotationError.in_file(path, f"{names_key} is not a list of names", "count the names of the corpus anew")
    if len(set(names)) != len(names):
        doubled = next(name for name in names if names.count(name) > 1)
        raise AnnotationError.in_file(path, f"{names_key} holds {doubled!r} more than once", "name each once")
    if not isinstance(counts, dict) or names != [name for name in names if type(counts.get(name)) is int]:
        missing = next((n for n in names if not isinstance(counts, dict) or type(counts.get(n)) is not int), None)
        raise AnnotationError.in_file(path, f"{counts_key} has no number for {missing!r}", "count the names anew")
    values = np.array([counts[name] for name in names], np.int64)
    if (values < 1).any():
        wrong = names[int(np.flatnonzero(values < 1)[0])]
        raise AnnotationError.in_file(path, f"{counts_key} of {wrong!r} is {counts[wrong]}", "expected at least 1")
    return tuple(names), values
