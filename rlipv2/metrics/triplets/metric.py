"""Average precision and recall of triplets as a `torchmetrics.Metric`, for any label space."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int, Shaped

from rlipv2.metrics.functional import GroundTruth
from rlipv2.metrics.matching import MatchingMetric, best_of_tensor
from rlipv2.metrics.pairs import TripletClasses
from rlipv2.metrics.triplets.protocol import TripletMatches, TripletProtocol, TripletResult, match_images, summarise
from rlipv2.structures import PairPredictions


class TripletMAP(MatchingMetric[TripletMatches, TripletResult]):
    """Mean average precision per triplet class and per relation, and recall among the best K of an image.

    A detection is correct when both labels, the relation and both boxes (overlap of at least one half) are;
    matching is one to one in order of score; scores of 0 or below are no detections. `compute` gives fractions
    between 0 and 1, NaN if nothing is labelled:

    * `map_triplet`: mean over (subject, relation, object) classes of the area under the precision envelope;
    * `map_relation`: the same over relations, whatever the classes of the boxes;
    * `recall_20`, `recall_50`, `recall_100`: share of all labelled pairs found among the best K triplets;
    * `mean_recall_20`, ...: mean over relations of the share of their labelled pairs.

    Means are over classes with labelled pairs. For the benchmarks use `HICODetMAP`, `OpenImagesSGG`.

    Args:
        num_objects: object classes of the label space.
        num_relations: relations of the label space.
        triplets: rows (subject, relation, object) to average `map_triplet` over, in any order; None for
            all that are labelled.
        top_k: see `TripletProtocol`, as all that follow.
        recall_at: the same.
        match_threshold: the same.
        box_convention: the same.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: triplets that are no table, are out of range, or an option that makes no sense.
    """

    MATCHES = TripletMatches
    STATES: ClassVar[dict[str, torch.dtype]] = {
        "images": torch.int64,
        "keys": torch.int64,
        "scores": torch.float32,
        "correct": torch.bool,
        "labelled_keys": torch.int64,
    }

    def __init__(
        self,
        *,
        num_objects: int,
        num_relations: int,
        triplets: np.ndarray | None = None,
        top_k: int | None = 100,
        recall_at: Sequence[int] = (20, 50, 100),
        match_threshold: float = 0.5,
        box_convention: Literal["continuous", "pixel"] = "continuous",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_objects, num_relations, **kwargs)
        self.table = None if triplets is None else TripletClasses(triplets, num_objects, num_relations)
        self.rules = TripletProtocol(
            top_k=top_k,
            recall_at=tuple(recall_at),
            match_threshold=match_threshold,
            box_convention=box_convention,
        )

    def match_batch(
        self, predictions: Sequence[PairPredictions], truth: GroundTruth, indices: Int[np.ndarray, " b"]
    ) -> TripletMatches:
        """Ranks and matches a batch."""
        (detections,) = self.ranked(
            predictions, lambda pairs, scores: (pairs.best(scores, self.rules.top_k, best_of_tensor),)
        )
        return match_images(detections, truth, self.rules, indices=indices)

    def summarise(self, matches: TripletMatches) -> TripletResult:
        """Figures per class and recall."""
        return summarise(matches, self.num_relations, self.rules.recall_at, self.table)

    def values(self, result: TripletResult) -> dict[str, float]:
        """All means."""
        return result.values()

    def per_class(self) -> dict[str, Shaped[np.ndarray, "..."]]:
        """Arrays over triplet classes and relations, see `TripletResult.arrays`.

        Runs `compute` first and therefore on all processes together.
        """
        return self.result().arrays()
