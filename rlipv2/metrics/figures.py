"""Results per class, and flat per-image rows from which several processes compute them together."""

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.metrics.functional import average_precision


@dataclass(frozen=True)
class ClassFigures:
    """Results per class under one set of rules; `ap` and `max_recall` are NaN without labelled pairs."""

    ap: Float[np.ndarray, " c"]
    max_recall: Float[np.ndarray, " c"]
    num_detections: Int[np.ndarray, " c"]
    num_true_positives: Int[np.ndarray, " c"]

    def mean_ap(self, classes: Bool[np.ndarray, " c"] | None = None) -> float:
        """Mean over the chosen classes that have labelled pairs; NaN if there is none."""
        values = self.ap if classes is None else self.ap[classes]
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else float("nan")

    def mean_max_recall(self) -> float:
        """Mean over all classes that have labelled pairs; NaN if there is none."""
        values = self.max_recall[~np.isnan(self.max_recall)]
        return float(values.mean()) if len(values) else float("nan")


def class_figures(
    classes: Int[np.ndarray, " k"],
    scores: Float[np.ndarray, " k"],
    positive: Bool[np.ndarray, " k"],
    num_labelled: Int[np.ndarray, " c"],
    levels: Float[np.ndarray, " t"] | None,
) -> ClassFigures:
    """Figures of every class; ties of scores keep the order of rows.

    Args:
        classes: class of each detection; rows of classes without labelled pairs are left out of all counts.
        scores: the higher the better.
        positive: whether the detection is a true positive.
        num_labelled: labelled pairs per class.
        levels: see `recall_levels`.
    """
    order = np.lexsort((-scores, classes))
    positive = positive[order]
    ptr = np.searchsorted(classes[order], np.arange(len(num_labelled) + 1))
    ap, max_recall = np.full((2, len(num_labelled)), np.nan)
    num_detections, num_true_positives = np.zeros((2, len(num_labelled)), np.int64)
    for row, (start, stop) in enumerate(pairwise(ptr)):
        if num_labelled[row]:
            hits = positive[start:stop]
            num_detections[row], num_true_positives[row] = len(hits), np.count_nonzero(hits)
            ap[row] = average_precision(hits, int(num_labelled[row]), levels)
            max_recall[row] = num_true_positives[row] / num_labelled[row]
    return ClassFigures(ap, max_recall, num_detections, num_true_positives)


Rows = TypeVar("Rows", bound="FlatMatches")


@dataclass(frozen=True)
class FlatMatches:
    """What is left of images after matching: flat rows, image by image, and how many of them each image owns.

    Attributes:
        images: one row per image; column 0 is its index in the dataset, the others are counts.
        OWNERS: column of `images` that counts the rows of each other field.
    """

    images: Int[np.ndarray, "i n"]

    OWNERS: ClassVar[dict[str, int]] = {}

    @classmethod
    def concatenate(cls: type[Rows], parts: list[Rows]) -> Rows:
        """All images of `parts` one after the other; `parts` must not be empty."""
        return cls(
            **{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(cls)}
        )

    def unique(self: Rows) -> Rows:
        """Every image once, its first occurrence, in order of dataset indices.

        Results then depend neither on the number of processes nor on the order of images; what a
        distributed sampler repeats to fill its last batch does not count twice.
        """
        _, first = np.unique(self.images[:, 0], return_index=True)
        if len(first) == len(self.images) and (np.diff(first) > 0).all():
            return self
        rows = {column: rows_of(self.images[:, column], first) for column in set(self.OWNERS.values())}
        flat = {name: getattr(self, name)[rows[column]] for name, column in self.OWNERS.items()}
        return type(self)(images=self.images[first], **flat)


def rows_of(counts: Int[np.ndarray, " i"], images: Int[np.ndarray, " j"]) -> Int[np.ndarray, " n"]:
    """Rows owned by `images`, one image after the other, where image i owns `counts[i]` consecutive rows.

    >>> rows_of(np.array([2, 0, 3]), np.array([2, 0])).tolist()
    [2, 3, 4, 0, 1]
    """
    starts, lengths = (np.cumsum(counts) - counts)[images], counts[images]
    return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
