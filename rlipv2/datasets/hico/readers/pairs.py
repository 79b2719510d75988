"""Interactions with their own two boxes each, and how they become records with shared boxes."""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from rlipv2.datasets.numbers import image_ids
from rlipv2.structures import RelationRecords
from rlipv2.vocabularies import HICOVocabulary

Shift = Literal["ppdm", "none", "all", "topleft"]
# x1 y1 x2 y2: what is subtracted from 1-based, inclusive boxes
SHIFTS = {"none": (0, 0, 0, 0), "all": (1, 1, 1, 1), "topleft": (1, 1, 0, 0)}
PPDM_SHIFT: dict[str, Literal["none", "all"]] = {"train": "all", "test": "none"}
PPDM_MERGE_IOU = {"train": 0.6, "test": None}


@dataclass(frozen=True)
class PairContent:
    """Interactions in flat arrays, as in `anno_bbox.mat` and fredzzhang/hicodet: two boxes for each.

    Attributes:
        file_names: one per image.
        sizes: (height, width) per image.
        hois: interaction of each pair, from 0.
        subject_boxes: x1 y1 x2 y2, 1-based and inclusive.
        object_boxes: likewise.
        pair_ptr: where each image's pairs begin.
    """

    file_names: tuple[str, ...]
    sizes: Int[np.ndarray, "i 2"]
    hois: Int[np.ndarray, " k"]
    subject_boxes: Float[np.ndarray, "k 4"]
    object_boxes: Float[np.ndarray, "k 4"]
    pair_ptr: Int[np.ndarray, " p"]


def pairs_to_records(
    pairs: PairContent,
    vocabulary: HICOVocabulary,
    split: Literal["train", "test"],
    *,
    shift: Shift = "ppdm",
    merge_iou: int | float | Literal["ppdm"] | None = "ppdm",
) -> RelationRecords:
    """Records in which pairs of an image share boxes of equal class and coordinates.

    Boxes come in the order of the pairs, the subject first. Every pair stays one relation, so that
    numbers of relations are those of the file. For `shift` and `merge_iou` see `read_annotations`.
    """
    threshold = PPDM_MERGE_IOU[split] if merge_iou == "ppdm" else merge_iou
    if threshold is not None and not 0 < threshold <= 1:
        raise ValueError(f"merge_iou={threshold}: expected a number above 0 and up to 1, or None")
    named_shift = PPDM_SHIFT[split] if shift == "ppdm" else shift
    if named_shift not in SHIFTS:
        raise ValueError(f"shift={shift!r}: expected one of 'ppdm', {', '.join(map(repr, SHIFTS))}")
    relations, object_labels = vocabulary.hois[pairs.hois].T
    # subject and object of a pair lie next to each other: rows 2k and 2k + 1
    boxes = np.stack([pairs.subject_boxes, pairs.object_boxes], axis=1).reshape(-1, 4) - np.array(SHIFTS[named_shift])
    labels = np.stack([np.full_like(object_labels, vocabulary.PERSON), object_labels], axis=1).reshape(-1)
    kept, rows, box_ptr = _share(boxes, labels, pairs.pair_ptr * 2, threshold)
    return RelationRecords(
        image_ids=image_ids(pairs.file_names),
        file_names=pairs.file_names,
        sizes=pairs.sizes,
        boxes=boxes[kept].astype(np.float32),
        labels=labels[kept],
        box_ptr=box_ptr,
        relations=np.concatenate([rows.reshape(-1, 2), relations[:, None]], axis=1),
        relation_ptr=pairs.pair_ptr,
    )


def _share(
    boxes: Float[np.ndarray, "n 4"],
    labels: Int[np.ndarray, " n"],
    ptr: Int[np.ndarray, " p"],
    merge_iou: int | float | None,
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " n"], Int[np.ndarray, " p"]]:
    """Which boxes stay, the row within its image that stands for each box, and where each image begins."""
    coordinates, classes, starts = boxes.tolist(), labels.tolist(), ptr.tolist()
    kept: list[int] = []
    rows: list[int] = []
    new_ptr = np.zeros(len(ptr), np.int64)
    for image, (start, end) in enumerate(itertools.pairwise(starts)):
        known: dict[tuple[int, ...], int] = {}
        first = len(kept)
        for index in range(start, end):
            key = (classes[index], *coordinates[index])
            is_object = (index - start) % 2 == 1
            # two people of one pair may overlap a lot; they stay two boxes unless they are equal
            other = rows[index - 1] if is_object and coordinates[index] != coordinates[index - 1] else None
            row = known.get(key)
            if row is None or row == other:
                row = _overlapping(coordinates, classes, kept[first:], index, merge_iou, excluded=other)
            if row is None:
                row = len(kept) - first
                kept.append(index)
            known[key] = row
            rows.append(row)
        new_ptr[image + 1] = len(kept)
    return np.array(kept, np.int64), np.array(rows, np.int64), new_ptr


def _overlapping(
    boxes: list[list[float]],
    labels: list[int],
    kept: list[int],
    index: int,
    merge_iou: int | float | None,
    *,
    excluded: int | None,
) -> int | None:
    """The first of the kept boxes of the same class whose IoU with box `index` is above `merge_iou`.

    Plain Python: an image has a handful of boxes, for which NumPy takes five times as long.
    """
    if merge_iou is None:
        return None
    x1, y1, x2, y2 = boxes[index]
    for row, other in enumerate(kept):
        if labels[other] != labels[index] or row == excluded:
            continue
        left, top, right, bottom = boxes[other]
        width, height = min(x2, right) - max(x1, left), min(y2, bottom) - max(y1, top)
        if width > 0 and height > 0:
            union = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - width * height
            if width * height > merge_iou * union:
                return row
    return None
