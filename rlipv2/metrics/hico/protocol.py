"""The HICO-DET evaluation in NumPy: from ranked pairs of images to average precision per class.

Matching happens once per image; afterwards one row per detection is enough (class, score, four flags),
about 7 MB for the whole test split. Rules and their sources: `HICOProtocol`.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from rlipv2.metrics.figures import ClassFigures
from rlipv2.metrics.functional import (
    Detections,
    GroundTruth,
    LabelledPairs,
    TripletTable,
    average_precision,
    match_pairs,
    recall_levels,
)
from rlipv2.ops.nms import pairwise_nms

TRUE_POSITIVE, MATLAB_TRUE_POSITIVE, KNOWN_OBJECT, UNANNOTATED = 1, 2, 4, 8
"""Bits of `Matches.flags`: correct by the Python and by the MATLAB rules, on an image with a labelled pair
of this object, on an image without any labelled box."""


@dataclass(frozen=True)
class HICOProtocol:
    """The rules, by default those of the official evaluator (datasets/hico_eval.py and flags of main.py).

    The MATLAB figures (ho-rcnn, evaluation/eval_one.m) start from the same `top_k` list after `nms` and
    differ in what follows: detections are shifted by one pixel, images without labels count, and recall
    levels are decimals. The three options after `nms_beta` do not touch them.

    Attributes:
        top_k: entries (pair, relation) kept per image, over all classes together; None keeps all.
        nms: remove doubled pairs after `top_k`; the published scripts switch it on.
        nms_threshold: see `rlipv2.ops.nms.pairwise_nms`.
        nms_alpha: the same.
        nms_beta: the same.
        empty_images: what happens to detections on images without a labelled box. The official code
            means to count them as false but drops them: it compares a list with a tuple.
        recall_levels: "float" (official), "decimal" or "area", see `recall_levels`.
        box_convention: "pixel" adds 1 to widths and heights (official), "continuous" does not.
        match_threshold: overlap that both boxes must reach; exactly this much is enough.
    """

    top_k: int | None = 100
    nms: bool = True
    nms_threshold: float = 0.7
    nms_alpha: float = 1.0
    nms_beta: float = 0.5
    empty_images: Literal["drop", "count"] = "drop"
    recall_levels: Literal["float", "decimal", "area"] = "float"
    box_convention: Literal["pixel", "continuous"] = "pixel"
    match_threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k}: expected at least 1, or None for no limit")
        if self.empty_images not in ("drop", "count"):
            raise ValueError(f"empty_images={self.empty_images!r}: expected 'drop' or 'count'")
        if self.box_convention not in ("pixel", "continuous"):
            raise ValueError(f"box_convention={self.box_convention!r}: expected 'pixel' or 'continuous'")
        recall_levels(self.recall_levels)


@dataclass(frozen=True)
class Matches:
    """What is left of images after matching: flat rows per detection and per labelled pair, counts per image.

    Attributes:
        classes: class of each detection that has one, image by image, best first.
        scores: its score.
        flags: bits `TRUE_POSITIVE`, `MATLAB_TRUE_POSITIVE`, `KNOWN_OBJECT`, `UNANNOTATED`.
        labelled_classes: class of each labelled pair.
        images: columns (dataset index, detections, labelled pairs, detections with those of no class,
            labelled pairs of no class).
    """

    classes: Int[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]
    flags: UInt8[np.ndarray, " k"]
    labelled_classes: Int[np.ndarray, " h"]
    images: Int[np.ndarray, "i 5"]

    @classmethod
    def concatenate(cls, parts: "list[Matches]") -> "Matches":
        """All images of `parts` one after the other; `parts` must not be empty."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(cls)))

    def unique(self) -> "Matches":
        """Every image once, its first occurrence, in order of dataset indices.

        Results then depend neither on the number of processes nor on the order of images; what a
        distributed sampler repeats to fill its last batch does not count twice.
        """
        _, first = np.unique(self.images[:, 0], return_index=True)
        if len(first) == len(self.images) and (np.diff(first) > 0).all():
            return self
        detections, labelled = (_rows_of(self.images[:, column], first) for column in (1, 2))
        return type(self)(
            self.classes[detections],
            self.scores[detections],
            self.flags[detections],
            self.labelled_classes[labelled],
            self.images[first],
        )


def _rows_of(counts: Int[np.ndarray, " i"], images: Int[np.ndarray, " j"]) -> Int[np.ndarray, " n"]:
    starts, lengths = (np.cumsum(counts) - counts)[images], counts[images]
    return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())


def match_images(
    detections: Detections,
    truth: GroundTruth,
    table: TripletTable,
    protocol: HICOProtocol,
    *,
    indices: Int[np.ndarray, " i"],
    person: int = 0,
) -> Matches:
    """Suppresses and matches the ranked detections of a run of images.

    Labelled pairs that are none of the classes are left out and counted, as are detections: the official
    evaluator makes further classes of them, which no mean contains.

    Args:
        detections: the `top_k` list of each image; `detections.images` counts within this run.
        truth: labels of the same images.
        table: the classes.
        protocol: the rules.
        indices: dataset index of each image.
        person: object class of all subjects; pairs with another subject have no class.
    """
    labelled = LabelledPairs.from_ground_truth(truth)
    labelled_classes = table.classes(labelled.relations, labelled.object_labels)
    is_class = (labelled_classes >= 0) & (labelled.subject_labels == person)
    num_ignored = np.bincount(labelled.images[~is_class], minlength=len(truth))
    labelled, labelled_classes = labelled.take(is_class), labelled_classes[is_class]
    detections = suppressed(detections, table, protocol)
    num_filtered = np.bincount(detections.images, minlength=len(truth))
    classes = table.class_ids[detections.relations, detections.object_labels]
    known_class = (classes >= 0) & (detections.subject_labels == person)
    detections, classes = detections.take(known_class), classes[known_class]
    images = np.stack(
        [
            indices,
            np.bincount(detections.images, minlength=len(truth)),
            np.bincount(labelled.images, minlength=len(truth)),
            num_filtered,
            num_ignored,
        ],
        axis=1,
    )
    flags = _flags(detections, classes, labelled, labelled_classes, truth, protocol)
    return Matches(classes, detections.scores.astype(np.float32), flags, labelled_classes, images.astype(np.int64))


def suppressed(detections: Detections, table: TripletTable, protocol: HICOProtocol) -> Detections:
    """What is left of ranked detections without those that repeat a better one; all of them without `nms`."""
    if not protocol.nms:
        return detections
    subjects = detections.images * (1 + detections.subject_labels.max(initial=0)) + detections.subject_labels
    keep = pairwise_nms(
        (subjects * table.num_objects + detections.object_labels) * table.num_relations + detections.relations,
        detections.subject_boxes,
        detections.object_boxes,
        threshold=protocol.nms_threshold,
        alpha=protocol.nms_alpha,
        beta=protocol.nms_beta,
    )
    return detections.take(keep)


def _flags(
    detections: Detections,
    classes: Int[np.ndarray, " k"],
    labelled: LabelledPairs,
    labelled_classes: Int[np.ndarray, " h"],
    truth: GroundTruth,
    protocol: HICOProtocol,
) -> UInt8[np.ndarray, " k"]:
    match = partial(
        match_pairs,
        labelled=labelled,
        detection_classes=classes,
        labelled_classes=labelled_classes,
        threshold=protocol.match_threshold,
    )
    official = match(detections, extent=1.0 if protocol.box_convention == "pixel" else 0.0)
    # Predictions count pixels from 0, labels from 1 with the last pixel inside. PViC, which writes the
    # usual input of the MATLAB code, takes 1 off x2 y2, and eval_one.m then adds 1 to all coordinates.
    shift = np.array([1, 1, 0, 0], np.float32)
    shifted = dataclasses.replace(
        detections, subject_boxes=detections.subject_boxes + shift, object_boxes=detections.object_boxes + shift
    )
    matlab = match(shifted, touching=True)
    objects = 1 + max(detections.object_labels.max(initial=0), labelled.object_labels.max(initial=0))
    known = np.isin(
        detections.images * objects + detections.object_labels, labelled.images * objects + labelled.object_labels
    )
    unannotated = (np.diff(truth.box_ptr) == 0)[detections.images]
    columns = {TRUE_POSITIVE: official, MATLAB_TRUE_POSITIVE: matlab, KNOWN_OBJECT: known, UNANNOTATED: unannotated}
    return sum((bit * column.astype(np.uint8) for bit, column in columns.items()), np.zeros(len(classes), np.uint8))


@dataclass(frozen=True)
class HICOResult:
    """The figures of an evaluation, per class and as counts.

    Attributes:
        figures: the rules named in `RULES`; "ko" is the known-object setting,
            where only images with a labelled pair of that object count. Image-level labels of pairs
            without boxes, which the MATLAB code also reads, are not part of box annotations.
        num_labelled: labelled pairs per class.
        num_filtered: detections left by top-k and suppression, with those of no class.
        num_ignored: labelled pairs of no class.
        first_ignored: the smallest dataset index of an image with such a pair, None if there is none.
    """

    RULES: ClassVar[tuple[str, ...]] = ("rlipv2", "rlipv2/ko", "matlab", "matlab/ko")

    figures: dict[str, ClassFigures]
    num_labelled: Int[np.ndarray, " c"]
    num_filtered: int
    num_ignored: int
    first_ignored: int | None

    def counts(self, rules: str = "rlipv2") -> dict[str, int]:
        """Totals by the names of the recorded results; `rules` is a key of `figures`."""
        figures = self.figures[rules]
        return {
            "classes_with_gt": int((self.num_labelled > 0).sum()),
            "gt_pairs": int(self.num_labelled.sum()),
            "detections_counted": int(figures.num_detections.sum()),
            "true_positives": int(figures.num_true_positives.sum()),
            "detections_after_filter": self.num_filtered,
            "gt_pairs_ignored": self.num_ignored,
        }

    def describe_ignored(self, num_classes: int) -> str:
        """Says how many labelled pairs do not count and why, for a warning."""
        total = self.num_ignored + int(self.num_labelled.sum())
        return (
            f"{self.num_ignored} of {total} labelled pairs do not count, because their subject is no person or "
            f"(relation, object) is none of the {num_classes} classes"
        )


def summarise(matches: Matches, num_classes: int, protocol: HICOProtocol) -> HICOResult:
    """Average precision per class of all matched images.

    Ties of scores within a class go to the lower dataset index, then to the better rank in the image
    (official: an unstable sort). Classes without labelled pairs are left out of all counts.
    """
    matches = matches.unique()
    num_labelled = np.bincount(matches.labelled_classes, minlength=num_classes)
    flags = matches.flags
    everywhere = np.ones(len(flags), bool)
    annotated = everywhere if protocol.empty_images == "count" else (flags & UNANNOTATED) == 0
    known = (flags & KNOWN_OBJECT) > 0
    levels, decimal = recall_levels(protocol.recall_levels), recall_levels("decimal")
    # Equal score order for all four figures: sort once, by class (small integers: radix sort), then within it.
    order = np.argsort(matches.classes.astype(np.min_scalar_type(num_classes)), kind="stable")
    ptr = np.concatenate([[0], np.cumsum(np.bincount(matches.classes, minlength=num_classes))])
    for start, stop in pairwise(ptr):
        rows = order[start:stop]
        order[start:stop] = rows[np.argsort(-matches.scores[rows], kind="stable")]
    official, matlab = (flags & TRUE_POSITIVE)[order] > 0, (flags & MATLAB_TRUE_POSITIVE)[order] > 0
    figures = {
        "rlipv2": _per_class(official, annotated[order], ptr, num_labelled, levels),
        "rlipv2/ko": _per_class(official, (annotated & known)[order], ptr, num_labelled, levels),
        "matlab": _per_class(matlab, everywhere, ptr, num_labelled, decimal),
        "matlab/ko": _per_class(matlab, known[order], ptr, num_labelled, decimal),
    }
    ignoring = matches.images[matches.images[:, 4] > 0, 0]
    return HICOResult(
        figures,
        num_labelled,
        num_filtered=int(matches.images[:, 3].sum()),
        num_ignored=int(matches.images[:, 4].sum()),
        first_ignored=int(ignoring.min()) if len(ignoring) else None,
    )


def _per_class(
    positive: Bool[np.ndarray, " k"],
    counted: Bool[np.ndarray, " k"],
    ptr: Int[np.ndarray, " p"],
    num_labelled: Int[np.ndarray, " c"],
    levels: Float[np.ndarray, " t"] | None,
) -> ClassFigures:
    ap, max_recall = np.full((2, len(num_labelled)), np.nan)
    num_detections, num_true_positives = np.zeros((2, len(num_labelled)), np.int64)
    for row in np.flatnonzero(num_labelled):
        rows = slice(ptr[row], ptr[row + 1])
        hits = positive[rows][counted[rows]]
        num_detections[row], num_true_positives[row] = len(hits), np.count_nonzero(hits)
        ap[row] = average_precision(hits, int(num_labelled[row]), levels)
        max_recall[row] = num_true_positives[row] / num_labelled[row]
    return ClassFigures(ap, max_recall, num_detections, num_true_positives)
