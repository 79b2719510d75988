"""What is left of scored relations: duplicates, the best of a pair, thresholds, unlikely ones."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rlipv2.datasets.scene_graphs import NameCounts

Record = dict[str, Any]
Relations = Sequence[Record]
Pair = tuple[Any, Any]
Prior = Mapping[str, Mapping[str, Sequence[str]]]
"""Relation texts by name of the subject and name of the object."""


def deduplicate(relations: Relations, *, ties: Literal["first", "all"] = "first") -> list[Record]:
    """Of the relations of a pair with the same predicate the most confident one, in file order.

    Pairs are repeated where captions name several relations of their classes, so relations are too. `ties` tells what
    happens to several of the same highest confidence: the first stays, or all. The latter is official
    (`deduplicate_verb_tagger_output` in datasets/rlipv2_helper/tagger_helper.py), and why published files hold
    duplicates.
    """
    best: dict[tuple[Any, ...], float] = {}
    for row in relations:
        key = _key(row)
        best[key] = max(row["confidence"], best.get(key, row["confidence"]))
    kept = []
    for row in relations:
        key = _key(row)
        if key in best and row["confidence"] == best[key]:
            kept.append(row)
            if ties == "first":
                del best[key]
    return kept


def top_k_per_pair(relations: Relations, k: int = 2) -> list[Record]:
    """The `k` most confident relations of each pair, pairs in order of first appearance.

    A pair with more than `k` relations has them in falling order of confidence, ties in file order; others stay as
    they are. Official: `one_triplet_filter_relations`, whose threshold has no effect.
    """
    pairs: dict[Pair, list[Record]] = {}
    for row in relations:
        pairs.setdefault((row["subject_id"], row["object_id"]), []).append(row)
    return [row for rows in pairs.values() for row in (_by_confidence(rows)[:k] if len(rows) > k else rows)]


def confident(relations: Relations, threshold: float) -> list[Record]:
    """The relations of at least this confidence, and those that tell none (labels of people)."""
    return [row for row in relations if row.get("confidence", np.inf) >= threshold]


def filter_out_of_distribution(record: Record, prior: Prior) -> Record:
    """The record with only the relations that the prior has for the names of their subject and object.

    Official: `filter_out_of_distribution`, with relations that Visual Genome has between the two classes.
    """
    names = {row["object_id"]: row["names"] for row in record["objects"]}
    kept = [
        row
        for row in record["relationships"]
        if row["predicate"] in prior.get(names[row["subject_id"]], {}).get(names[row["object_id"]], ())
    ]
    return record | {"relationships": kept}


@dataclass(frozen=True)
class MergeRules:
    """What merging does to the relations of each image, in this order.

    Attributes:
        min_confidence: relations below go; the tagger stores those above 0.05.
        prior: see `filter_out_of_distribution`; None keeps all.
        dedupe: ties of `deduplicate`, "first" or "all"; "off" keeps every duplicate, as published files do.
        topk_per_pair: see `top_k_per_pair`; None keeps all.
        order: "confidence" sorts by falling confidence, stable, because pre-training takes the first 100 of an image;
            "official" is the order of the file.
    """

    min_confidence: float = 0.0
    prior: Prior | None = None
    dedupe: Literal["first", "all", "off"] = "first"
    topk_per_pair: int | None = None
    order: Literal["confidence", "official"] = "confidence"

    @classmethod
    def official(cls) -> "MergeRules":
        """Nothing is changed, as `merge_segments_from_verb_tagger` does."""
        return cls(dedupe="off", order="official")

    def __post_init__(self) -> None:
        if self.dedupe not in ("first", "all", "off") or self.order not in ("confidence", "official"):
            raise ValueError(
                f"merge: dedupe={self.dedupe}, order={self.order}: expected first|all|off and confidence|official"
            )
        if not isinstance(self.min_confidence, int | float) or not 0 <= self.min_confidence <= 1:
            raise ValueError(f"merge: min_confidence={self.min_confidence}: expected a score, 0 to 1")
        if self.topk_per_pair is not None and self.topk_per_pair < 1:
            raise ValueError(f"merge: topk_per_pair={self.topk_per_pair}: expected at least 1, or null")

    def __call__(self, record: Record, counts: Counter[str] | None = None) -> Record:
        """A new record; the given one is not changed. What was dropped is added to `counts`."""
        relations: list[Record] = record["relationships"]
        steps: list[tuple[str, list[Record]]] = []
        if self.min_confidence > 0:
            relations = confident(relations, self.min_confidence)
            steps.append(("relations below the threshold", relations))
        if self.prior is not None:
            relations = filter_out_of_distribution(record | {"relationships": relations}, self.prior)["relationships"]
            steps.append(("relations out of distribution", relations))
        if self.dedupe != "off":
            relations = deduplicate(relations, ties=self.dedupe)
            steps.append(("duplicate relations", relations))
        if self.topk_per_pair is not None:
            relations = top_k_per_pair(relations, self.topk_per_pair)
            steps.append(("relations beyond the best of their pair", relations))
        if counts is not None:
            left = len(record["relationships"])
            counts.update({"images": 1, "relations before merging": left, "relations": len(relations)})
            for what, some in steps:
                counts[f"{what} dropped"] += left - len(some)
                left = len(some)
        return record | {"relationships": _by_confidence(relations) if self.order == "confidence" else relations}


def count_names(records: Iterable[Record]) -> NameCounts:
    """How often each name of an object (per box) and each predicate (per relation) occurs, most frequent first.

    `NameCounts.write` makes the `keep_names_freq` file of it that training draws texts from; `NameCounts.sum` adds the
    counts of several. Ties stay in order of first occurrence. Official: datasets/mixed_dataset.py.
    """
    objects: Counter[str] = Counter()
    relations: Counter[str] = Counter()
    for record in records:
        objects.update(row["names"] for row in record["objects"])
        relations.update(row["predicate"] for row in record["relationships"])
    return NameCounts.of_counts(
        list(objects),
        np.array([*objects.values()], np.int64),
        list(relations),
        np.array([*relations.values()], np.int64),
    )


def _key(row: Record) -> tuple[Any, ...]:
    return row["subject_id"], row["object_id"], row["predicate"]


def _by_confidence(relations: Relations) -> list[Record]:
    """Falling confidence, ties in file order; relations without one first."""
    return sorted(relations, key=lambda row: -row.get("confidence", np.inf))
