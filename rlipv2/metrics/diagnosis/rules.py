"""Whose rules a diagnosis follows: what a class is, what matches, how average precision is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.metrics.functional import Detections, GroundTruth
from rlipv2.metrics.pairs import triplet_keys, triplets_of

ANY = -1
"""Stands for the subject or object class of a metric that does not tell them apart."""


@dataclass(frozen=True)
class Rules:
    """The rules of a metric as far as they decide which detections are correct and what the average precision is.

    Attributes:
        protocol: whose they are, for people.
        figure: key under which the metric reports the average precision that a diagnosis explains.
        levels: see `rlipv2.metrics.functional.recall_levels`; None is the area under the envelope.
        classes: rows (subject, relation, object) in the order of the metric; None for all that are labelled.
        by_relation: a class is a relation, whatever the objects, though the object must be right where a label
            has one (V-COCO while it trains).
        threshold: overlap that both boxes must reach; exactly this much is enough.
        near: overlap from which a box is near a labelled one (TIDE: 0.1).
        extent: see `rlipv2.ops.nms.pixel_iou`.
        touching: the same.
        second_choice: a detection whose best label is taken goes for the next one; else it is a duplicate.
        weighted: the figure weights classes with their labels; else it is their plain mean.
        empty_images: what happens to detections on images without any labelled box.
        groups: classes whose mean is given apart, by name.
    """

    protocol: str
    figure: str
    levels: Float[np.ndarray, " t"] | None = None
    classes: Int[np.ndarray, "c 3"] | None = None
    by_relation: bool = False
    threshold: float = 0.5
    near: float = 0.1
    extent: float = 0.0
    touching: bool = True
    second_choice: bool = True
    weighted: bool = False
    empty_images: Literal["drop", "count"] = "count"
    groups: Mapping[str, Bool[np.ndarray, " c"]] = field(default_factory=dict)

    def keys(
        self, subjects: Int[np.ndarray, " k"], relations: Int[np.ndarray, " k"], objects: Int[np.ndarray, " k"]
    ) -> Int[np.ndarray, " k"]:
        """The class of each triplet as one number."""
        nothing = np.zeros_like(relations)
        return triplet_keys(*((nothing, relations, nothing) if self.by_relation else (subjects, relations, objects)))

    def table(self, labelled_keys: Int[np.ndarray, " h"]) -> "ClassIndex":
        """The classes, given the keys of all labels."""
        if self.classes is None:
            return ClassIndex(np.unique(labelled_keys))
        return ClassIndex(self.keys(*self.classes.astype(np.int64).T))


class ClassIndex:
    """Finds classes by their keys.

    Args:
        keys: one per class, distinct, in any order.
    """

    def __init__(self, keys: Int[np.ndarray, " c"]) -> None:
        self.keys = keys
        self._order = np.argsort(keys)

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
        """Row of each key, -1 where it is none."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        places = np.minimum(np.searchsorted(self.keys, keys, sorter=self._order), len(self.keys) - 1)
        rows = self._order[places]
        return np.where(self.keys[rows] == keys, rows, -1)

    def triplets(self, *, by_relation: bool) -> Int[np.ndarray, "c 3"]:
        """Rows (subject, relation, object), with `ANY` where the metric does not tell classes apart."""
        rows = triplets_of(self.keys)
        return np.where([True, False, True], ANY, rows) if by_relation else rows


@dataclass(frozen=True)
class Labels:
    """Labelled triplets of a run of images; objects are -1 where a relation has none."""

    images: Int[np.ndarray, " h"]
    subject_boxes: Float[np.ndarray, "h 4"]
    object_boxes: Float[np.ndarray, "h 4"]
    subject_labels: Int[np.ndarray, " h"]
    object_labels: Int[np.ndarray, " h"]
    relations: Int[np.ndarray, " h"]

    @classmethod
    def of(cls, truth: GroundTruth) -> "Labels":
        """One row per relation, in annotation order."""
        images = np.repeat(np.arange(len(truth)), np.diff(truth.relation_ptr))
        subjects, objects = truth.relations[:, 0], truth.relations[:, 1]
        has_object = objects >= 0
        subjects = truth.box_ptr[images] + subjects
        objects = truth.box_ptr[images] + np.where(has_object, objects, truth.relations[:, 0])
        return cls(
            images=images,
            subject_boxes=truth.boxes[subjects].astype(np.float32),
            object_boxes=truth.boxes[objects].astype(np.float32),
            subject_labels=truth.labels[subjects].astype(np.int64),
            object_labels=np.where(has_object, truth.labels[objects], -1).astype(np.int64),
            relations=truth.relations[:, 2].astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.images)


def boxes_of(truth: GroundTruth) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
    """Image, corners and class of every labelled box of a run of images."""
    images = np.repeat(np.arange(len(truth)), np.diff(truth.box_ptr))
    return images, truth.boxes.astype(np.float32), truth.labels.astype(np.int64)


def keys_of(rules: Rules, triplets: Detections | Labels) -> Int[np.ndarray, " k"]:
    """`Rules.keys` of detections or labels."""
    return rules.keys(triplets.subject_labels.astype(np.int64), triplets.relations, triplets.object_labels)
