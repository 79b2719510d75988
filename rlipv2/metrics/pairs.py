"""Predicted pairs of images before they are ranked, and triplet classes that are given as a list.

What scene-graph metrics share: `open_images` and `triplets`. NumPy only. Letters in shapes as in
`rlipv2.metrics.functional`, t listed triplets.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int

from rlipv2.metrics.functional import Detections, LabelledPairs, best_columns, gather_detections

MAX_LABEL = 2**20 - 1
"""The largest object or relation number: three of them fit into one integer."""


Best = Callable[[Any, int], tuple[np.ndarray, np.ndarray]]
"""Finds the k largest values of each row, on whatever device they are; see `best_of_array`."""


def best_of_array(values: Float[np.ndarray, "n m"], k: int) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Columns of the k largest values of every row and these values, ties to the lower column."""
    columns = best_columns(values, k)
    return columns, np.take_along_axis(values, columns, axis=1)


@dataclass(frozen=True)
class PairArrays:
    """The predicted pairs of a run of images with equally many pairs, boxes x1 y1 x2 y2 in pixels."""

    subject_boxes: Float[np.ndarray, "i q 4"]
    object_boxes: Float[np.ndarray, "i q 4"]
    subject_labels: Int[np.ndarray, "i q"]
    object_labels: Int[np.ndarray, "i q"]

    def detections(
        self, entries: Int[np.ndarray, "i k"], scores: Float[np.ndarray, "i k"], num_relations: int
    ) -> Detections:
        """The triplets `entries` (pair * num_relations + relation), without those whose score is -inf."""
        return gather_detections(entries, scores, num_relations, **vars(self))

    def best(self, scores: Any, k: int | None, best: Best = best_of_array) -> Detections:
        """The k triplets of every image with the highest score; ties go to the lower pair, then relation.

        Args:
            scores: (i, q, r), an array or whatever `best` understands.
            k: triplets per image, over all relations together, None for all; fewer where there are not so many.
            best: how to rank.
        """
        num_images, num_pairs, num_relations = scores.shape
        count = num_pairs * num_relations
        entries, values = best(scores.reshape(num_images, count), count if k is None else k)
        return self.detections(entries, values, num_relations)


def merge_detections(parts: list[Detections]) -> Detections:
    """All rows in order of images; the rows of an image must lie in one of `parts`."""
    if len(parts) == 1:
        return parts[0]
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    merged = Detections(*map(np.concatenate, columns))
    return merged.take(np.argsort(merged.images, kind="stable"))


def ranks_in_image(images: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """Place of each row in the list of its image, from 0; rows lie image by image."""
    return np.arange(len(images)) - np.searchsorted(images, images)


Boxes = TypeVar("Boxes", Detections, LabelledPairs)


def as_phrases(pairs: Boxes) -> Boxes:
    """The same rows with both boxes replaced by the smallest box around them (a "phrase")."""
    boxes = union_boxes(pairs.subject_boxes, pairs.object_boxes)
    return dataclasses.replace(pairs, subject_boxes=boxes, object_boxes=boxes)


def union_boxes(a_xyxy: Float[np.ndarray, "k 4"], b_xyxy: Float[np.ndarray, "k 4"]) -> Float[np.ndarray, "k 4"]:
    """The smallest box around row i of both.

    >>> union_boxes(np.array([[0.0, 2, 4, 6]]), np.array([[1.0, 1, 3, 9]])).tolist()
    [[0.0, 1.0, 4.0, 9.0]]
    """
    low, high = np.minimum(a_xyxy[:, :2], b_xyxy[:, :2]), np.maximum(a_xyxy[:, 2:], b_xyxy[:, 2:])
    return np.concatenate([low, high], axis=1)


def triplet_keys(
    subjects: Int[np.ndarray, " k"], relations: Int[np.ndarray, " k"], objects: Int[np.ndarray, " k"]
) -> Int[np.ndarray, " k"]:
    """One number per (subject class, relation, object class), in this order; classes are at most `MAX_LABEL`."""
    return (subjects.astype(np.int64) << 40) | (relations.astype(np.int64) << 20) | objects.astype(np.int64)


def triplets_of(keys: Int[np.ndarray, " k"]) -> Int[np.ndarray, "k 3"]:
    """Rows (subject, relation, object): the inverse of `triplet_keys`."""
    return np.stack([keys >> 40, (keys >> 20) & MAX_LABEL, keys & MAX_LABEL], axis=1)


class TripletClasses:
    """Triplet classes in ascending order of (subject, relation, object).

    Args:
        triplets: rows (subject, relation, object), in any order; a row may come again.
        num_objects: object classes there are; None for no check.
        num_relations: relations there are; None for no check.

    Raises:
        ValueError: not whole numbers in three columns, or a number out of range.
    """

    def __init__(self, triplets: np.ndarray, num_objects: int | None = None, num_relations: int | None = None) -> None:
        triplets = np.asarray(triplets)
        if triplets.ndim != 2 or triplets.shape[1] != 3 or triplets.dtype.kind not in "iu":
            raise ValueError(
                f"triplets: expected whole numbers of shape (t, 3), rows (subject, relation, object), "
                f"got {triplets.dtype} {triplets.shape}"
            )
        triplets = triplets.astype(np.int64)
        objects, relations = num_objects or MAX_LABEL + 1, num_relations or MAX_LABEL + 1
        wrong = ((triplets < 0) | (triplets >= (objects, relations, objects))).any(axis=1)
        for row in np.flatnonzero(wrong)[:1]:
            raise ValueError(
                f"triplets[{row}] = {triplets[row].tolist()}: objects must lie in 0..{objects - 1}, "
                f"relations in 0..{relations - 1}; rows are (subject, relation, object)"
            )
        self.keys = np.unique(triplet_keys(*triplets.T))
        self.triplets = triplets_of(self.keys)

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
        """Class of each of `triplet_keys`, -1 where it is none."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, -1)
