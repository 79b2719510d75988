"""Average precision and recall of triplets in NumPy, without the oddities of any benchmark.

A detection may match a labelled pair of the same image, subject class, object class and relation when
both boxes overlap by at least one half. Only scores above 0 are detections. They choose in order of
score: each takes the free labelled pair it overlaps most, so that matching is one to one. Average
precision is the area under the precision envelope.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.metrics.figures import ClassFigures, FlatMatches, class_figures
from rlipv2.metrics.functional import Detections, GroundTruth, LabelledPairs, same_key
from rlipv2.metrics.pairs import TripletClasses, ranks_in_image, triplet_keys, triplets_of
from rlipv2.ops.nms import pixel_iou


@dataclass(frozen=True)
class TripletProtocol:
    """The rules.

    Attributes:
        top_k: triplets kept per image, over all classes together; None for all.
        recall_at: numbers of triplets of an image among which recall is counted, at most `top_k`.
        match_threshold: overlap that both boxes must reach; exactly this much is enough.
        box_convention: "continuous" takes coordinates as they are; "pixel" adds 1 to widths and heights,
            as the official evaluators of HICO-DET and Open Images do.

    Raises:
        ValueError: a number out of range or an unknown convention.
    """

    top_k: int | None = 100
    recall_at: tuple[int, ...] = (20, 50, 100)
    match_threshold: float = 0.5
    box_convention: Literal["continuous", "pixel"] = "continuous"

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k}: expected at least 1")
        if not all(1 <= k <= (k if self.top_k is None else self.top_k) for k in self.recall_at):
            limit = "" if self.top_k is None else f" to top_k={self.top_k}"
            raise ValueError(f"recall_at={list(self.recall_at)}: expected numbers from 1{limit}; change recall_at too")
        if not 0 < self.match_threshold <= 1:
            raise ValueError(f"match_threshold={self.match_threshold}: expected a number above 0, at most 1")
        if self.box_convention not in ("continuous", "pixel"):
            raise ValueError(f"box_convention={self.box_convention!r}: expected 'continuous' or 'pixel'")


@dataclass(frozen=True)
class TripletMatches(FlatMatches):
    """Matched images: flat rows per detection and per labelled pair.

    Attributes:
        images: columns (dataset index, detections, labelled pairs).
        keys: `triplet_keys` of each detection, image by image, best first.
        scores: its score.
        correct: whether it found a labelled pair.
        labelled_keys: `triplet_keys` of each labelled pair.
    """

    keys: Int[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]
    correct: Bool[np.ndarray, " k"]
    labelled_keys: Int[np.ndarray, " h"]

    OWNERS: ClassVar[dict[str, int]] = {"keys": 1, "scores": 1, "correct": 1, "labelled_keys": 2}


def match_images(
    detections: Detections, truth: GroundTruth, protocol: TripletProtocol, *, indices: Int[np.ndarray, " i"]
) -> TripletMatches:
    """Matches the ranked detections of a run of images.

    Args:
        detections: the `top_k` list of each image; `detections.images` counts within this run. Those with a
            score of 0 or below do not count: that is how files tell that nothing is there.
        truth: labels of the same images.
        protocol: the rules.
        indices: dataset index of each image.
    """
    detections = detections.take(detections.scores > 0)
    labelled = LabelledPairs.from_ground_truth(truth)
    keys, labelled_keys = (
        triplet_keys(pairs.subject_labels, pairs.relations, pairs.object_labels) for pairs in (detections, labelled)
    )
    classes = TripletClasses(triplets_of(labelled_keys))
    detected_classes = classes.find(keys)
    rows, columns = same_key(
        (detections.images, detected_classes), (labelled.images, classes.find(labelled_keys)), detected_classes >= 0
    )
    extent = 1.0 if protocol.box_convention == "pixel" else 0.0
    overlaps = np.minimum(
        pixel_iou(detections.subject_boxes[rows], labelled.subject_boxes[columns], extent=extent),
        pixel_iou(detections.object_boxes[rows], labelled.object_boxes[columns], extent=extent),
    )
    close = overlaps >= protocol.match_threshold
    owners = [np.bincount(of.images, minlength=len(truth)) for of in (detections, labelled)]
    return TripletMatches(
        images=np.stack([indices, *owners], axis=1).astype(np.int64),
        keys=keys,
        scores=detections.scores.astype(np.float32),
        correct=greedy_matching(rows[close], columns[close], overlaps[close], len(detections)),
        labelled_keys=labelled_keys,
    )


def greedy_matching(
    rows: Int[np.ndarray, " p"], columns: Int[np.ndarray, " p"], overlaps: Float[np.ndarray, " p"], count: int
) -> Bool[np.ndarray, " k"]:
    """Which of `count` detections get a labelled pair, see `greedy_assignment`."""
    return greedy_assignment(rows, columns, overlaps, count) >= 0


def greedy_assignment(
    rows: Int[np.ndarray, " p"], columns: Int[np.ndarray, " p"], overlaps: Float[np.ndarray, " p"], count: int
) -> Int[np.ndarray, " k"]:
    """The labelled pair of each of `count` detections when each in turn takes the free one it overlaps most; or -1.

    Unlike `best_assignment`, a detection whose best labelled pair is taken goes for the next best. All
    detections are resolved at once that nobody before them can take anything from, then the others.

    Args:
        rows: detections of all (detection, labelled pair) that may match; lower rows choose first.
        columns: the labelled pairs; the lower is taken on a tie.
        overlaps: of each such match.
        count: number of detections.
    """
    order = np.lexsort((columns, -overlaps, rows))
    rows, columns = rows[order], columns[order]
    assigned = np.full(count, -1)
    while len(rows):
        _, first_of_row = np.unique(rows, return_index=True)
        earliest = np.full(columns.max() + 1, count)
        np.minimum.at(earliest, columns, rows)
        settled = first_of_row[earliest[columns[first_of_row]] == rows[first_of_row]]
        assigned[rows[settled]] = columns[settled]
        free = ~np.isin(rows, rows[settled]) & ~np.isin(columns, columns[settled])
        rows, columns = rows[free], columns[free]
    return assigned


@dataclass(frozen=True)
class TripletResult:
    """Figures per class and recall.

    Attributes:
        triplets: the triplet classes, rows (subject, relation, object).
        per_triplet: figures of these rows.
        num_labelled: labelled pairs of these rows.
        per_relation: figures per relation of the label space.
        num_labelled_relations: labelled pairs per relation.
        recall: by K, share of all labelled pairs found among the K best triplets of their image.
        recall_per_relation: the same per relation, NaN where nothing is labelled.
    """

    triplets: Int[np.ndarray, "c 3"]
    per_triplet: ClassFigures
    num_labelled: Int[np.ndarray, " c"]
    per_relation: ClassFigures
    num_labelled_relations: Int[np.ndarray, " r"]
    recall: dict[int, float]
    recall_per_relation: dict[int, Float[np.ndarray, " r"]]

    def values(self) -> dict[str, float]:
        """The means, fractions; NaN if nothing is labelled."""
        values = {"map_triplet": self.per_triplet.mean_ap(), "map_relation": self.per_relation.mean_ap()}
        for k, recall in self.recall.items():
            known = self.recall_per_relation[k][self.num_labelled_relations > 0]
            values[f"recall_{k}"] = recall
            values[f"mean_recall_{k}"] = float(known.mean()) if len(known) else float("nan")
        return values

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name: `triplets`, `triplet_<figure>` over its rows, `relation_<figure>` over the relations."""
        arrays = {"triplets": self.triplets, "triplet_num_labelled": self.num_labelled}
        arrays |= {f"triplet_{name}": values for name, values in vars(self.per_triplet).items()}
        arrays["relation_num_labelled"] = self.num_labelled_relations
        arrays |= {f"relation_{name}": values for name, values in vars(self.per_relation).items()}
        arrays |= {f"relation_recall_{k}": values for k, values in self.recall_per_relation.items()}
        return arrays


def summarise(
    matches: TripletMatches, num_relations: int, recall_at: Sequence[int], classes: TripletClasses | None = None
) -> TripletResult:
    """Figures of all matched images; ties of scores go to the earlier image, then to the better rank.

    Args:
        matches: every image once, see `TripletMatches.unique`.
        num_relations: relations of the label space.
        recall_at: see `TripletProtocol`.
        classes: triplets to average over; None for all that are labelled. Recall and the figures per
            relation are always those of all triplets.
    """
    if classes is None:
        classes = TripletClasses(triplets_of(matches.labelled_keys))
    labelled_classes = classes.find(matches.labelled_keys)
    num_labelled = np.bincount(labelled_classes[labelled_classes >= 0], minlength=len(classes))
    relations, labelled_relations = (triplets_of(keys)[:, 1] for keys in (matches.keys, matches.labelled_keys))
    num_labelled_relations = np.bincount(labelled_relations, minlength=num_relations)
    figures = [
        class_figures(rows, matches.scores, matches.correct, labelled, levels=None)
        for rows, labelled in ((classes.find(matches.keys), num_labelled), (relations, num_labelled_relations))
    ]
    ranks = ranks_in_image(np.repeat(np.arange(len(matches.images)), matches.images[:, 1]))
    recall, recall_per_relation = {}, {}
    for k in recall_at:
        found = np.bincount(relations[matches.correct & (ranks < k)], minlength=num_relations)
        total = num_labelled_relations.sum()
        recall[k] = float(found.sum() / total) if total else float("nan")
        shares = np.full(num_relations, np.nan)
        recall_per_relation[k] = np.divide(found, num_labelled_relations, out=shares, where=num_labelled_relations > 0)
    return TripletResult(
        classes.triplets, figures[0], num_labelled, figures[1], num_labelled_relations, recall, recall_per_relation
    )
