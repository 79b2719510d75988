"""Suppression of doubled pairs, and the box overlap in whole pixels that it shares with the metrics.

NumPy, not torch: both run on the few ranked rows of many images at once, and the command line of the
metrics would otherwise spend more time on importing torch than on the evaluation.
"""

import numpy as np
from jaxtyping import Bool, Float, Int


def pixel_iou(
    a_xyxy: Float[np.ndarray, "k 4"],
    b_xyxy: Float[np.ndarray, "k 4"],
    *,
    extent: float = 1.0,
    touching: bool = True,
) -> Float[np.ndarray, " k"]:
    """Overlap of row i of `a_xyxy` with row i of `b_xyxy`, corners being pixels that belong to the box.

    Evaluated in the precision of the boxes, in the order of operations of the official evaluator
    (datasets/hico_eval.py), so that float32 boxes give its overlaps bit by bit.

    Args:
        a_xyxy: x1 y1 x2 y2 in pixels.
        b_xyxy: the same.
        extent: added to every width and height: 1 counts pixels, 0 takes coordinates as continuous.
        touching: False gives 0 where the boxes have no more than one row or column of pixels in common,
            as the official matching does; its suppression does not.
    """
    one = a_xyxy.dtype.type(extent)
    a_area = (a_xyxy[:, 2] - a_xyxy[:, 0] + one) * (a_xyxy[:, 3] - a_xyxy[:, 1] + one)
    b_area = (b_xyxy[:, 2] - b_xyxy[:, 0] + one) * (b_xyxy[:, 3] - b_xyxy[:, 1] + one)
    low = np.maximum(a_xyxy[:, :2], b_xyxy[:, :2])
    high = np.minimum(a_xyxy[:, 2:], b_xyxy[:, 2:])
    size = np.maximum(high - low + one, 0)
    if not touching:
        size = np.where(high > low, size, 0)
    common = size[:, 0] * size[:, 1]
    total = a_area + b_area - common
    # Boxes without any area (only possible with `extent=0`) overlap with nothing.
    return np.divide(common, total, out=np.zeros_like(common), where=total > 0)


def pairs_within_groups(groups: Int[np.ndarray, " k"]) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]:
    """All (earlier row, later row) with the same number in `groups`; empty for empty input.

    >>> [rows.tolist() for rows in pairs_within_groups(np.array([7, 5, 7, 7]))]
    [[0, 0, 2], [2, 3, 3]]
    """
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order], append=np.iinfo(np.int64).max)) + 1
    sizes = np.diff(ends, prepend=0)
    positions = np.arange(len(groups))
    following = np.repeat(ends, sizes) - positions - 1
    first = np.repeat(positions + 1 - (np.cumsum(following) - following), following)
    return np.repeat(order, following), order[first + np.arange(len(first))]


def suppress(earlier: Int[np.ndarray, " p"], later: Int[np.ndarray, " p"], count: int) -> Bool[np.ndarray, " k"]:
    """Which of `count` rows stay when every row that stays removes the rows it overlaps with.

    The greedy rule, resolved for all chains at once: a row that nothing can remove any more removes its
    partners, removed rows lose their say, and so on until no pair is left.

    Args:
        earlier: row that would remove.
        later: row that would be removed, ranked behind its partner.
        count: number of rows.
    """
    keep = np.ones(count, bool)
    while len(earlier):
        threatened = np.zeros(count, bool)
        threatened[later] = True
        settled = ~threatened[earlier]
        keep[later[settled]] = False
        open_pairs = ~settled & keep[earlier] & keep[later]
        earlier, later = earlier[open_pairs], later[open_pairs]
    return keep


def pairwise_nms(
    groups: Int[np.ndarray, " k"],
    subject_boxes: Float[np.ndarray, "k 4"],
    object_boxes: Float[np.ndarray, "k 4"],
    *,
    threshold: float = 0.7,
    alpha: float = 1.0,
    beta: float = 0.5,
) -> Bool[np.ndarray, " k"]:
    """Which detections stay after removing pairs that repeat a better pair of their group.

    A pair goes where `subject_iou ** alpha * object_iou ** beta > threshold` with a pair that stays.
    Official: datasets/hico_eval.py and oi_sgg_eval.py, `pairwise_nms`; defaults are those of main.py.

    Args:
        groups: one number per (image, subject class, object class, relation).
        subject_boxes: x1 y1 x2 y2 in pixels; rows of a group in descending order of score.
        object_boxes: the same.
        threshold: overlap above which a pair is removed.
        alpha: weight of the subjects, must not be negative.
        beta: weight of the objects, must not be negative.
    """
    if alpha < 0 or beta < 0:
        raise ValueError(f"alpha={alpha}, beta={beta}: exponents of the suppression must not be negative")
    earlier, later = pairs_within_groups(groups)
    # Overlaps are at most 1, so that either factor alone must already pass the threshold.
    subjects = pixel_iou(subject_boxes[earlier], subject_boxes[later]) ** np.float32(alpha)
    close = subjects > threshold
    earlier, later, subjects = earlier[close], later[close], subjects[close]
    objects = pixel_iou(object_boxes[earlier], object_boxes[later]) ** np.float32(beta)
    close = subjects * objects > threshold
    return suppress(earlier[close], later[close], len(groups))
