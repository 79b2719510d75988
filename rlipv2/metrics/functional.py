"""Ranking, matching and average precision of triplets, on flat NumPy arrays of many images at once.

No class names and no torch in here; `rlipv2.metrics.hico.protocol` puts the steps together. Letters in
shapes: i images, q pairs predicted, r relations, k ranked detections, h pairs labelled, c classes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from rlipv2.ops.nms import pixel_iou


class TripletTable:
    """The classes of a metric: which (relation, object) combinations count, and under which number.

    Args:
        hois: rows (relation, object), one per class; the subject class is the same for all.
        num_relations: columns of the scores; by default the largest relation + 1.
        num_objects: object classes a prediction may name; by default the largest object + 1.

    Raises:
        ValueError: not a table of two columns, a row twice, or numbers out of range.
    """

    def __init__(self, hois: np.ndarray, num_relations: int | None = None, num_objects: int | None = None) -> None:
        hois = np.asarray(hois)
        if hois.ndim != 2 or hois.shape[1] != 2 or not len(hois) or hois.dtype.kind not in "iu":
            raise ValueError(f"expected whole numbers of shape (classes, 2), got {hois.dtype} {hois.shape}")
        self.hois = hois.astype(np.int64)
        self.num_relations = num_relations or int(hois[:, 0].max()) + 1
        self.num_objects = num_objects or int(hois[:, 1].max()) + 1
        if hois.min() < 0 or (self.hois >= (self.num_relations, self.num_objects)).any():
            raise ValueError(f"relations must lie in 0..{self.num_relations - 1}, objects in 0..{self.num_objects - 1}")
        if len(np.unique(self.hois, axis=0)) != len(hois):
            raise ValueError("a combination is listed twice")
        self.class_ids = np.full((self.num_relations, self.num_objects), -1, np.int64)
        self.class_ids[self.hois[:, 0], self.hois[:, 1]] = np.arange(len(hois))
        counts = np.bincount(self.hois[:, 1], minlength=self.num_objects)
        used = np.arange(counts.max()) < counts[:, None]
        # Per object its relations in ascending order, filled up with relation 0 and a penalty of -inf.
        self.relations: Int[np.ndarray, "o w"] = np.zeros(used.shape, np.int64)
        self.relations[used] = self.hois[np.lexsort((self.hois[:, 0], self.hois[:, 1])), 0]
        self.penalty = np.where(used, 0, -np.inf).astype(np.float32)

    def __len__(self) -> int:
        return len(self.hois)

    def classes(self, relations: Int[np.ndarray, " k"], objects: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
        """Class of each (relation, object), -1 where it is none."""
        known = (relations >= 0) & (relations < self.num_relations) & (objects >= 0) & (objects < self.num_objects)
        return np.where(known, self.class_ids[np.where(known, relations, 0), np.where(known, objects, 0)], -1)


@dataclass(frozen=True)
class Detections:
    """Ranked triplets of a run of images: image by image, best first, boxes x1 y1 x2 y2 in pixels."""

    images: Int[np.ndarray, " k"]
    subject_boxes: Float[np.ndarray, "k 4"]
    object_boxes: Float[np.ndarray, "k 4"]
    subject_labels: Int[np.ndarray, " k"]
    object_labels: Int[np.ndarray, " k"]
    relations: Int[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: Shaped[np.ndarray, " j"]) -> "Detections":
        """Those where `rows` is true, or with the numbers `rows`."""
        return type(self)(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True)
class GroundTruth:
    """Labels of a run of images in flat arrays, laid out like `rlipv2.structures.RelationRecords`.

    Image i owns `boxes[box_ptr[i]:box_ptr[i + 1]]` and `relations[relation_ptr[i]:relation_ptr[i + 1]]`;
    relations are (subject box, object box, relation), boxes counted within the image.
    """

    boxes: Float[np.ndarray, "n 4"]
    labels: Int[np.ndarray, " n"]
    box_ptr: Int[np.ndarray, " p"]
    relations: Int[np.ndarray, "h 3"]
    relation_ptr: Int[np.ndarray, " p"]

    def __len__(self) -> int:
        return len(self.box_ptr) - 1

    def select(self, images: Int[np.ndarray, " j"]) -> "GroundTruth":
        """The images with these positions, in this order."""
        boxes, box_ptr = _select_rows(self.box_ptr, images)
        relations, relation_ptr = _select_rows(self.relation_ptr, images)
        return type(self)(self.boxes[boxes], self.labels[boxes], box_ptr, self.relations[relations], relation_ptr)

    def slice(self, start: int, stop: int) -> "GroundTruth":
        """The images from `start` up to `stop`, without copying."""
        boxes = slice(self.box_ptr[start], self.box_ptr[stop])
        relations = slice(self.relation_ptr[start], self.relation_ptr[stop])
        return type(self)(
            self.boxes[boxes],
            self.labels[boxes],
            self.box_ptr[start : stop + 1] - self.box_ptr[start],
            self.relations[relations],
            self.relation_ptr[start : stop + 1] - self.relation_ptr[start],
        )


@dataclass(frozen=True)
class LabelledPairs:
    """The relations of a run of images with the boxes and classes they point at."""

    images: Int[np.ndarray, " h"]
    subject_boxes: Float[np.ndarray, "h 4"]
    object_boxes: Float[np.ndarray, "h 4"]
    subject_labels: Int[np.ndarray, " h"]
    object_labels: Int[np.ndarray, " h"]
    relations: Int[np.ndarray, " h"]

    @classmethod
    def from_ground_truth(cls, truth: GroundTruth) -> "LabelledPairs":
        """One row per relation, in annotation order."""
        images = np.repeat(np.arange(len(truth)), np.diff(truth.relation_ptr))
        subjects = truth.box_ptr[images] + truth.relations[:, 0]
        objects = truth.box_ptr[images] + truth.relations[:, 1]
        return cls(
            images=images,
            subject_boxes=truth.boxes[subjects].astype(np.float32),
            object_boxes=truth.boxes[objects].astype(np.float32),
            subject_labels=truth.labels[subjects].astype(np.int64),
            object_labels=truth.labels[objects].astype(np.int64),
            relations=truth.relations[:, 2].astype(np.int64),
        )

    def take(self, rows: Shaped[np.ndarray, " j"]) -> "LabelledPairs":
        """Those where `rows` is true, or with the numbers `rows`."""
        return type(self)(**{name: values[rows] for name, values in vars(self).items()})


def _select_rows(
    ptr: Int[np.ndarray, " p"], images: Int[np.ndarray, " j"]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " s"]]:
    lengths = np.diff(ptr)[images]
    new_ptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.repeat(ptr[:-1][images] - new_ptr[:-1], lengths) + np.arange(new_ptr[-1]), new_ptr


def best_columns(values: Float[np.ndarray, "i n"], k: int) -> Int[np.ndarray, "i k"]:
    """The columns of the k largest values of every row, largest first; ties go to the lower column.

    >>> best_columns(np.array([[1.0, 3.0, 2.0, 3.0, 3.0]]), 2).tolist()
    [[1, 3]]
    """
    num_rows, num_columns = values.shape
    if k < num_columns:
        bounds = np.partition(values, num_columns - k, axis=1)[:, num_columns - k, None]
        picked = values >= bounds
        crowded = np.flatnonzero(np.count_nonzero(picked, axis=1) > k)
        above, ties = values[crowded] > bounds[crowded], values[crowded] == bounds[crowded]
        wanted = k - np.count_nonzero(above, axis=1)
        picked[crowded] = above | (ties & (np.cumsum(ties, axis=1) <= wanted[:, None]))
        columns = (np.flatnonzero(picked).reshape(num_rows, k)) % num_columns
        values = np.take_along_axis(values, columns, axis=1)
        return np.take_along_axis(columns, np.argsort(-values, axis=1, kind="stable"), axis=1)
    return np.argsort(-values, axis=1, kind="stable")


def rank(
    scores: Float[np.ndarray, "i q r"], object_labels: Int[np.ndarray, "i q"], table: TripletTable, k: int | None
) -> tuple[Int[np.ndarray, "i k"], Float[np.ndarray, "i k"]]:
    """The k best (pair, relation) entries of every image as pair * r + relation, and their scores, best first.

    Entries whose (relation, object) is no class of `table` score 0, as the official evaluator multiplies
    them with a mask, and can still fill the list. Ties go to the lower pair, then to the lower relation.
    With fewer than k entries all of them are returned. `k=None` returns all entries that are a class;
    rows are filled up with scores of -inf.
    """
    num_images, num_pairs, num_relations = scores.shape
    width = num_pairs * table.relations.shape[1]
    limit = width if k is None else min(k, num_pairs * num_relations)
    entries = np.zeros((num_images, limit), np.int64)
    best = np.zeros((num_images, limit), scores.dtype)
    sure = np.full(num_images, k is None)
    if limit <= width:
        # About one entry in 16 is a class: rank only those. Where the k-th of them is above 0, no
        # masked entry can be among the best.
        positions = np.arange(num_pairs)[:, None] * num_relations + table.relations[object_labels]
        positions = positions.reshape(num_images, width)
        starts = np.arange(num_images)[:, None] * (num_pairs * num_relations)
        values = np.take(scores.reshape(-1), positions + starts)
        values += table.penalty[object_labels].reshape(num_images, width)
        columns = best_columns(values, limit)
        entries, best = np.take_along_axis(positions, columns, axis=1), np.take_along_axis(values, columns, axis=1)
        sure |= (best > 0).all(axis=1)
    if not sure.all():
        masked = scores[~sure] * (table.class_ids.T >= 0)[object_labels[~sure]]
        masked = masked.reshape(len(masked), num_pairs * num_relations)
        entries[~sure] = columns = best_columns(masked, limit)
        best[~sure] = np.take_along_axis(masked, columns, axis=1)
    return entries, best


def ranked_detections(
    scores: Float[np.ndarray, "i q r"],
    table: TripletTable,
    k: int | None,
    *,
    subject_labels: Int[np.ndarray, "i q"],
    object_labels: Int[np.ndarray, "i q"],
    subject_boxes: Float[np.ndarray, "i q 4"],
    object_boxes: Float[np.ndarray, "i q 4"],
) -> Detections:
    """The k best triplets of every image with their boxes and labels; see `rank`."""
    entries, best = rank(scores, object_labels, table, k)
    return gather_detections(
        entries,
        best,
        scores.shape[2],
        subject_labels=subject_labels,
        object_labels=object_labels,
        subject_boxes=subject_boxes,
        object_boxes=object_boxes,
    )


def gather_detections(
    entries: Int[np.ndarray, "i k"],
    scores: Float[np.ndarray, "i k"],
    num_relations: int,
    *,
    subject_labels: Int[np.ndarray, "i q"],
    object_labels: Int[np.ndarray, "i q"],
    subject_boxes: Float[np.ndarray, "i q 4"],
    object_boxes: Float[np.ndarray, "i q 4"],
) -> Detections:
    """The triplets `entries` (pair * num_relations + relation) with their boxes and labels.

    Entries with a score of -inf are left out.
    """
    images, columns = np.nonzero(scores > -np.inf)
    chosen, num_pairs = entries[images, columns], object_labels.shape[1]
    rows = images * num_pairs + chosen // max(num_relations, 1)
    return Detections(
        images=images,
        subject_boxes=subject_boxes.reshape(-1, 4)[rows],
        object_boxes=object_boxes.reshape(-1, 4)[rows],
        subject_labels=subject_labels.reshape(-1)[rows],
        object_labels=object_labels.reshape(-1)[rows],
        relations=chosen % max(num_relations, 1),
        scores=scores[images, columns],
    )


def match_pairs(
    detections: Detections,
    labelled: LabelledPairs,
    *,
    detection_classes: Int[np.ndarray, " k"],
    labelled_classes: Int[np.ndarray, " h"],
    threshold: float = 0.5,
    extent: float = 1.0,
    touching: bool = False,
) -> Bool[np.ndarray, " k"]:
    """Which detections are true positives.

    A labelled pair of the same image and class is a candidate when both boxes overlap by at least
    `threshold`. The detection goes to the candidate with the largest of the smaller overlaps, the first
    in annotation order on a tie. If a better detection already has it, the detection is false: there is
    no falling back to the second candidate. Official: datasets/hico_eval.py, `compute_fptp`.

    Args:
        detections: in descending order of score within an image.
        labelled: in annotation order.
        detection_classes: class of each detection, -1 for none.
        labelled_classes: class of each labelled pair.
        threshold: smallest overlap of subjects and of objects.
        extent: see `pixel_iou`.
        touching: see `pixel_iou`.
    """
    rows, columns = same_key(
        (detections.images, detection_classes), (labelled.images, labelled_classes), detection_classes >= 0
    )
    overlaps = pixel_iou(
        detections.subject_boxes[rows], labelled.subject_boxes[columns], extent=extent, touching=touching
    )
    close = overlaps >= threshold
    rows, columns, overlaps = rows[close], columns[close], overlaps[close]
    objects = pixel_iou(detections.object_boxes[rows], labelled.object_boxes[columns], extent=extent, touching=touching)
    close = objects >= threshold
    rows, columns, overlaps = rows[close], columns[close], np.minimum(overlaps, objects)[close]
    return best_assignment(rows, columns, overlaps, len(detections))


def best_assignment(
    rows: Int[np.ndarray, " p"], columns: Int[np.ndarray, " p"], overlaps: Float[np.ndarray, " p"], count: int
) -> Bool[np.ndarray, " k"]:
    """Which of `count` detections are true positives, given all (detection, labelled pair) that may match.

    See `match_pairs`: the largest overlap decides, then the first in annotation order, without a second choice.

    Args:
        rows: the detections, in descending order of score within an image.
        columns: the labelled pairs, in annotation order.
        overlaps: of each such match.
        count: number of detections.
    """
    return found_pairs(rows, columns, overlaps, count) >= 0


def found_pairs(
    rows: Int[np.ndarray, " p"], columns: Int[np.ndarray, " p"], overlaps: Float[np.ndarray, " p"], count: int
) -> Int[np.ndarray, " k"]:
    """The labelled pair of each of `count` detections that is a true positive by `best_assignment`, else -1."""
    chosen_rows, chosen_columns = best_candidates(rows, columns, overlaps)
    # Rows ascend by score within an image, so the first row of every labelled pair is its best detection.
    _, winners = np.unique(chosen_columns, return_index=True)
    found = np.full(count, -1)
    found[chosen_rows[winners]] = chosen_columns[winners]
    return found


def best_candidates(
    rows: Int[np.ndarray, " p"], columns: Int[np.ndarray, " p"], overlaps: Float[np.ndarray, " p"]
) -> tuple[Int[np.ndarray, " j"], Int[np.ndarray, " j"]]:
    """Every detection among `rows` once, ascending, with the one of `columns` that overlaps most, the first on a tie.

    >>> best_candidates(np.array([4, 4, 2]), np.array([0, 1, 1]), np.array([0.6, 0.8, 0.7]))
    (array([2, 4]), array([1, 1]))
    """
    order = np.lexsort((columns, -overlaps, rows))
    chosen_rows, first = np.unique(rows[order], return_index=True)
    return chosen_rows, columns[order][first]


def same_key(
    left: tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]],
    right: tuple[Int[np.ndarray, " h"], Int[np.ndarray, " h"]],
    usable: Bool[np.ndarray, " k"],
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]:
    """All (left row, right row) with equal (image, class), left rows ascending; only `usable` left rows."""
    num_classes = 1 + max(left[1].max(initial=0), right[1].max(initial=0))
    rows = np.flatnonzero(usable)
    left_keys, right_keys = left[0][rows] * num_classes + left[1][rows], right[0] * num_classes + right[1]
    order = np.argsort(right_keys, kind="stable")
    start = np.searchsorted(right_keys[order], left_keys, side="left")
    count = np.searchsorted(right_keys[order], left_keys, side="right") - start
    first = np.repeat(start - (np.cumsum(count) - count), count)
    return np.repeat(rows, count), order[first + np.arange(len(first))]


def recall_levels(kind: str) -> Float[np.ndarray, " 11"] | None:
    """The recalls at which precision is read; None stands for the whole area under the envelope.

    "float" are the products `i * 0.1` of the official evaluator: 3, 6 and 7 tenths come out one unit in
    the last place too large, so that a recall of exactly 3/10, 6/10 or 7/10 misses its level. "decimal"
    are the numbers meant.

    Raises:
        ValueError: another name than float, decimal or area.
    """
    if kind == "area":
        return None
    if kind not in ("float", "decimal"):
        raise ValueError(f"recall_levels={kind!r}: expected 'float', 'decimal' or 'area'")
    return np.arange(11) * 0.1 if kind == "float" else np.arange(11) / 10


def average_precision(
    positive: Bool[np.ndarray, " k"], num_labelled: int, levels: Float[np.ndarray, " t"] | None
) -> float:
    """Average precision of one class: mean over `levels` of the best precision at that recall or a higher one.

    Args:
        positive: true positives among the detections of the class, best first; may be empty (gives 0).
        num_labelled: labelled pairs of the class, at least 1.
        levels: see `recall_levels`; None gives the area under the monotone envelope.

    >>> value = average_precision(np.array([True, False, True]), 2, recall_levels("decimal"))
    >>> round(value, 6)  # 6 levels at 1, 5 at 2/3
    0.848485
    """
    ranks = np.flatnonzero(positive)
    hits = np.arange(1, len(ranks) + 1)
    # Precision falls between true positives, so that only they can set the envelope.
    envelope = np.maximum.accumulate((hits / (ranks + 1))[::-1])[::-1]
    if levels is None:
        return float(envelope.sum() / num_labelled)
    reached = np.searchsorted(hits / num_labelled, levels, side="left")
    return float(envelope[reached[reached < len(ranks)]].sum() / len(levels))
