"""Reader of the files of fredzzhang/hicodet, `instances_train2015.json` and `instances_test2015.json`.

Top level: `filenames`, `size` ([width, height] each), `annotation` (per image `boxes_h`, `boxes_o`, `hoi`,
`verb`, `object`, one entry per pair), `objects` (in alphabetical order, unlike COCO), `verbs`.
Boxes are x1 y1 x2 y2, 1-based and inclusive; ids count from 0.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.datasets import numbers
from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.hico.readers.pairs import PairContent
from rlipv2.datasets.numbers import Locator
from rlipv2.vocabularies import HICOVocabulary

PAIR_FIELDS = ("hoi", "verb", "object", "boxes_h", "boxes_o")


def read(content: Mapping[str, Any], path: Path, vocabulary: HICOVocabulary) -> PairContent:
    """The pairs in the parsed file `path`, every value checked.

    Raises:
        AnnotationError: lists of different lengths, wrong types, ids that do not exist, or verb and
            object that are not those of the interaction.
    """
    annotations, file_names, sizes = content["annotation"], content["filenames"], content.get("size", ())
    lists = {"annotation": annotations, "filenames": file_names, "size": sizes}
    lengths = {key: len(value) if isinstance(value, list) else None for key, value in lists.items()}
    if len(set(lengths.values())) != 1 or not lengths["filenames"]:
        raise AnnotationError.in_file(path, f"lengths differ: {lengths}", "expected one entry per image in each list")
    _check_fields(annotations, file_names, path)
    pairs = Locator(path, file_names, numbers.pointers(len(record["hoi"]) for record in annotations))
    images = Locator(path, file_names, np.arange(len(file_names) + 1))

    def column(field: str) -> list[Any]:
        return list(chain.from_iterable(record[field] for record in annotations))

    hois = numbers.integers(column("hoi"), pairs, "hoi[]")
    pairs.check(
        (hois < 0) | (hois >= len(vocabulary.hois)),
        hois,
        field="hoi[]",
        wrong="unknown interaction id",
        todo=f"expected 0..{len(vocabulary.hois) - 1}",
    )
    verbs = numbers.integers(column("verb"), pairs, "verb[]")
    _check_agreement(hois, verbs, "verb", _rows(content, "verbs", vocabulary.verbs, path), pairs, vocabulary)
    objects = numbers.integers(column("object"), pairs, "object[]")
    _check_agreement(hois, objects, "object", _rows(content, "objects", vocabulary.objects, path), pairs, vocabulary)
    return PairContent(
        file_names=tuple(file_names),
        sizes=_sizes(sizes, images),
        hois=hois,
        subject_boxes=numbers.box_array(column("boxes_h"), pairs, "boxes_h[]"),
        object_boxes=numbers.box_array(column("boxes_o"), pairs, "boxes_o[]"),
        pair_ptr=pairs.ptr,
    )


def _check_fields(annotations: list[Any], file_names: list[Any], path: Path) -> None:
    for number, (record, name) in enumerate(zip(annotations, file_names, strict=True)):
        lengths = {
            field: len(record[field]) if isinstance(record, dict) and isinstance(record.get(field), list) else None
            for field in PAIR_FIELDS
        }
        if len(set(lengths.values())) != 1 or None in lengths.values() or not isinstance(name, str) or not name:
            raise AnnotationError.in_record(
                path,
                number,
                name,
                field="annotation",
                value=lengths,
                wrong="a list is missing or lengths differ",
                todo=f"expected {', '.join(PAIR_FIELDS)} with one entry per pair, and a file name",
            )


def _rows(content: Mapping[str, Any], key: str, names: tuple[str, ...], path: Path) -> np.ndarray:
    """Our row of each class that the file lists under `key`."""
    ours = {name.replace("_", " "): row for row, name in enumerate(names)}
    listed = [str(name).replace("_", " ") for name in content.get(key, ())]
    if len(set(listed)) != len(listed) or not set(listed) <= ours.keys() or not listed:
        wrong = f"{key}: unknown names {sorted(set(listed) - ours.keys())[:5]}, or names are missing or repeated"
        raise AnnotationError.in_file(path, wrong, f"expected the {len(names)} {key} of HICO-DET in any order")
    return np.array([ours[name] for name in listed], np.int64)


def _check_agreement(
    hois: np.ndarray, ids: np.ndarray, field: str, rows: np.ndarray, where: Locator, vocabulary: HICOVocabulary
) -> None:
    expected = vocabulary.hois[hois, 0 if field == "verb" else 1]
    inside = (ids >= 0) & (ids < len(rows))
    where.check(
        ~inside | (rows[np.where(inside, ids, 0)] != expected),
        ids,
        field=f"{field}[]",
        wrong=f"not the {field} of this pair's hoi",
        todo="the file mixes orders of classes: download it again, or convert anno_bbox.mat",
    )


def _sizes(sizes: Sequence[Any], where: Locator) -> np.ndarray:
    bad = [
        not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size))
        for size in sizes
    ]
    where.check(np.array(bad), sizes, field="size", wrong="not an image size", todo="expected [width, height]")
    return np.array(sizes, np.int64)[:, ::-1].copy()
