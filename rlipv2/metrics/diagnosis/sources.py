"""What a diagnosis takes from each metric: its ranked detections, the labels it counts, its rules."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torchmetrics import Metric

from rlipv2.metrics.diagnosis.rules import Rules
from rlipv2.metrics.functional import Detections, GroundTruth, recall_levels
from rlipv2.metrics.hico.metric import HICODetMAP
from rlipv2.metrics.hico.protocol import suppressed
from rlipv2.metrics.matching import best_of_tensor
from rlipv2.metrics.open_images.metric import OpenImagesSGG
from rlipv2.metrics.open_images.protocol import kept_pairs, official_candidates
from rlipv2.metrics.triplets.metric import TripletMAP
from rlipv2.metrics.vcoco.in_training import best_entries
from rlipv2.metrics.vcoco.metric import VCOCORoleAP
from rlipv2.structures import Annotation, PairPredictions, RelationRecords


class Source(Protocol):
    """The detections and labels of a batch that a metric counts, and its rules."""

    rules: Rules

    def read(
        self, predictions: Sequence[PairPredictions], annotations: Sequence[Annotation]
    ) -> tuple[Detections, GroundTruth]:
        """Ranked detections, image by image, and the labels of the same images."""


def source_of(metric: Metric) -> Source:
    """What to take from a metric.

    Raises:
        TypeError: a metric that counts no triplets.
    """
    for kind, source in _SOURCES.items():
        if isinstance(metric, kind):
            return source(metric)
    names = ", ".join(kind.__name__ for kind in _SOURCES)
    raise TypeError(f"no diagnosis of {type(metric).__name__}; expected one of {names}")


def can_diagnose(metric: Metric) -> bool:
    """Whether `source_of` knows the metric."""
    return isinstance(metric, tuple(_SOURCES))


class HICOSource:
    """The best 100 of each image without doubles, by the rules of the official RLIPv2 evaluator."""

    def __init__(self, metric: HICODetMAP) -> None:
        self.metric, options = metric, metric.rules
        hois = metric.table.hois
        self.rules = Rules(
            protocol="HICO-DET, rules of the official RLIPv2 evaluator",
            figure=("" if metric.protocol == "rlipv2" else "rlipv2/") + "map_full",
            levels=recall_levels(options.recall_levels),
            classes=np.stack([np.full(len(hois), metric.person), *hois.T], axis=1),
            threshold=options.match_threshold,
            extent=1.0 if options.box_convention == "pixel" else 0.0,
            touching=False,
            second_choice=False,
            empty_images=options.empty_images,
            groups={"rare": metric.rare} | ({} if metric.unseen is None else {"unseen": metric.unseen}),
        )

    def read(
        self, predictions: Sequence[PairPredictions], annotations: Sequence[Annotation]
    ) -> tuple[Detections, GroundTruth]:
        """Detections and labels of the classes; others count for nothing."""
        table, person = self.metric.table, self.metric.person
        detections = suppressed(self.metric.ranked(predictions), table, self.metric.rules)
        known = table.class_ids[detections.relations, detections.object_labels] >= 0
        detections = detections.take(known & (detections.subject_labels == person))
        records = RelationRecords.from_annotations(annotations)
        images = np.repeat(np.arange(len(records)), np.diff(records.relation_ptr))
        subjects, objects = (records.labels[records.box_ptr[images] + records.relations[:, k]] for k in (0, 1))
        known = (table.classes(records.relations[:, 2], objects) >= 0) & (subjects == person)
        return detections, _truth(records.keep_relations(known))


class TripletSource:
    """The best 100 of each image with a score above 0, by the rules of `TripletMAP`."""

    def __init__(self, metric: TripletMAP) -> None:
        self.metric, options = metric, metric.rules
        self.rules = Rules(
            protocol="average precision of triplets (no benchmark's)",
            figure="map_triplet",
            classes=None if metric.table is None else metric.table.triplets,
            threshold=options.match_threshold,
            extent=1.0 if options.box_convention == "pixel" else 0.0,
        )

    def read(
        self, predictions: Sequence[PairPredictions], annotations: Sequence[Annotation]
    ) -> tuple[Detections, GroundTruth]:
        """All detections and labels."""
        (detections,) = self.metric.ranked(
            predictions, lambda pairs, scores: (pairs.best(scores, self.metric.rules.top_k, best_of_tensor),)
        )
        return detections.take(detections.scores > 0), _truth(RelationRecords.from_annotations(annotations))


class OpenImagesSource:
    """The best 100 of each image without doubles, by the official rules for relations (both boxes)."""

    def __init__(self, metric: OpenImagesSGG) -> None:
        self.metric = metric
        self.rules = Rules(
            protocol="Open Images, rules of the official RLIPv2 evaluator for relations (both boxes)",
            figure="rlipv2/wmap_rel_100",
            levels=recall_levels("float"),
            classes=metric.table.triplets,
            extent=1.0,
            touching=False,
            second_choice=False,
            weighted=True,
            empty_images="drop",
        )

    def read(
        self, predictions: Sequence[PairPredictions], annotations: Sequence[Annotation]
    ) -> tuple[Detections, GroundTruth]:
        """All candidates and labels."""
        (candidates,) = self.metric.ranked(
            predictions, lambda pairs, scores: (official_candidates(pairs, scores, best_of_tensor),)
        )
        return (
            candidates.take(kept_pairs(candidates, self.metric.rules)),
            _truth(RelationRecords.from_annotations(annotations)),
        )


class VCOCOSource:
    """The best 100 entries of each image, by the rules of the figure that official training prints.

    The published role AP ranks all pairs under every action and skips persons without annotation, so that its false
    positives have no single fault; it stands beside the diagnosis, not in it.
    """

    def __init__(self, metric: VCOCORoleAP) -> None:
        self.metric, options = metric, metric.rules
        verbs = np.arange(len(metric.table.verbs))
        nothing = np.zeros_like(verbs)
        self.rules = Rules(
            protocol="V-COCO, rules of the official in-training figure (not the published role AP)",
            figure="in_training/map_all",
            levels=recall_levels(options.recall_levels),
            classes=np.stack([nothing, verbs, nothing], axis=1),
            by_relation=True,
            threshold=options.match_threshold,
            extent=1.0,
            touching=False,
            second_choice=False,
        )

    def read(
        self, predictions: Sequence[PairPredictions], annotations: Sequence[Annotation]
    ) -> tuple[Detections, GroundTruth]:
        """The best entries, and the labelled pairs of the metric's ground truth."""
        positions = self.metric.truth.find(np.array([annotation.image_id for annotation in annotations], np.int64))
        pairs = self.metric.pairs(predictions)
        rows, verbs = best_entries(pairs, len(positions), self.metric.rules.top_k)
        detections = Detections(
            images=pairs.images[rows],
            subject_boxes=pairs.subject_boxes[rows],
            object_boxes=pairs.object_boxes[rows],
            subject_labels=torch.cat([each.subject_labels for each in predictions]).cpu().numpy()[rows],
            object_labels=pairs.object_labels[rows],
            relations=verbs,
            scores=pairs.scores[rows, verbs],
        )
        return detections, self.metric.truth.pairs.select(positions)


def _truth(records: RelationRecords) -> GroundTruth:
    return GroundTruth(records.boxes, records.labels, records.box_ptr, records.relations, records.relation_ptr)


_SOURCES: dict[type[Metric], Callable[[Any], Source]] = {
    HICODetMAP: HICOSource,
    OpenImagesSGG: OpenImagesSource,
    TripletMAP: TripletSource,
    VCOCORoleAP: VCOCOSource,
}
