"""Open Images scene-graph figures as a `torchmetrics.Metric`."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from rlipv2.metrics.functional import Detections, GroundTruth
from rlipv2.metrics.matching import MatchingMetric, best_of_tensor
from rlipv2.metrics.open_images.protocol import (
    OpenImagesMatches,
    OpenImagesProtocol,
    literature_candidates,
    match_images,
    official_candidates,
)
from rlipv2.metrics.open_images.report import per_class_arrays
from rlipv2.metrics.open_images.summary import (
    LiteratureResult,
    OfficialResult,
    summarise_literature,
    summarise_official,
)
from rlipv2.metrics.pairs import PairArrays, TripletClasses
from rlipv2.structures import PairPredictions

_MEANS = {"mAP": "map", "wmAP": "wmap", "mean max recall": "mean_max_recall", "max recall": "max_recall"}
_KINDS = {"RelD": "rel", "PhrD": "phr"}
_OFFICIAL = {
    **{
        f"{theirs}@{k} ({kind})": f"rlipv2/{ours}_{short}_{k}"
        for kind, short in _KINDS.items()
        for k in (50, 100)
        for theirs, ours in _MEANS.items()
    },
    "score_wtd (mAP)": "rlipv2/score_wtd_map",
    "score_wtd (wmAP)": "rlipv2/score_wtd",
}
_LITERATURE = {
    "mAP_rel": "pysgg/map_rel",
    "wmAP_rel": "pysgg/wmap_rel",
    "mAP_phr": "pysgg/map_phr",
    "wmAP_phr": "pysgg/wmap_phr",
    "R50": "pysgg/recall_50",
    "R100": "pysgg/recall_100",
    "score_wtd": "pysgg/score_wtd",
}


Results = tuple[OfficialResult, LiteratureResult]


class OpenImagesSGG(MatchingMetric[OpenImagesMatches, Results]):
    """The Open Images scene-graph figures of RLIPv2 and those of the literature, on the same predictions.

    The two protocols must not be mixed in a table: one averages over triplet classes, the other over
    relations. `compute` gives fractions between 0 and 1, NaN if nothing is labelled:

    * `rlipv2/...`: the official RLIPv2 evaluation. `score_wtd` = 0.2 `max_recall_rel_50` + 0.4
      `wmap_rel_100` + 0.4 `wmap_phr_100` is the published score, its parts are the other published
      columns; `score_wtd_map` is the same of plain means; `map`, `wmap` (weighted by frequency),
      `mean_max_recall` and `max_recall` exist for `rel` (both boxes) and `phr` (the box around both), among
      the best 50 and 100 triplets of an image. With `phrase_index_bug` a recall of phrases can exceed 1.
    * `pysgg/...`: the evaluation of PySGG: `map_rel`, `wmap_rel`, `map_phr`, `wmap_phr`, `recall_50`,
      `recall_100`, `score_wtd`. No option below touches them.

    Predictions are those of `postprocess(mode="scene_graph")`: relation times subject times object score.

    Args:
        triplets: rows (subject, relation, object) of all labelled triplets of the split; a row may come
            again. Phrase figures of one image depend on which triplets the others have.
        num_objects: object classes of the label space.
        num_relations: relations of the label space.
        nms: see `OpenImagesProtocol`, as all that follow.
        nms_threshold: the same.
        nms_alpha: the same.
        nms_beta: the same.
        phrase_nms_threshold: the same.
        phrase_index_bug: the same.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: triplets that are no table, are out of range, or an option that makes no sense.
    """

    MATCHES = OpenImagesMatches
    STATES: ClassVar[dict[str, torch.dtype]] = {
        "images": torch.int64,
        "classes": torch.int32,
        "scores": torch.float32,
        "flags": torch.uint8,
        "relations": torch.int32,
        "relation_scores": torch.float32,
        "relation_flags": torch.uint8,
        "labelled_classes": torch.int32,
        "found_at": torch.int32,
    }

    def __init__(
        self,
        *,
        triplets: np.ndarray,
        num_objects: int,
        num_relations: int,
        nms: bool = True,
        nms_threshold: float = 0.7,
        nms_alpha: float = 1.0,
        nms_beta: float = 0.5,
        phrase_nms_threshold: float = 0.5,
        phrase_index_bug: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_objects, num_relations, **kwargs)
        self.table = TripletClasses(triplets, num_objects, num_relations)
        self.rules = OpenImagesProtocol(
            nms=nms,
            nms_threshold=nms_threshold,
            nms_alpha=nms_alpha,
            nms_beta=nms_beta,
            phrase_nms_threshold=phrase_nms_threshold,
            phrase_index_bug=phrase_index_bug,
        )

    def match_batch(
        self, predictions: Sequence[PairPredictions], truth: GroundTruth, indices: Int[np.ndarray, " b"]
    ) -> OpenImagesMatches:
        """Ranks and matches a batch by both protocols."""
        official, literature = self.ranked(predictions, _candidates)
        return match_images(official, literature, truth, self.table, self.rules, indices=indices)

    def summarise(self, matches: OpenImagesMatches) -> Results:
        """The figures of both protocols."""
        return (
            summarise_official(matches, len(self.table), self.rules),
            summarise_literature(matches, self.table, self.num_relations),
        )

    def values(self, result: Results) -> dict[str, float]:
        """All means under the names of this class."""
        official, literature = result
        values = {_OFFICIAL[name]: value for name, value in official.values().items()}
        return values | {_LITERATURE[name]: value for name, value in literature.values().items()}

    def per_class(self) -> dict[str, Shaped[np.ndarray, "..."]]:
        """Arrays over the triplet classes (`rlipv2/...`, rows of `triplets`) and over the relations (`pysgg/...`).

        Runs `compute` first and therefore on all processes together.
        """
        official, literature = self.result()
        return per_class_arrays({"rlipv2": official}, literature, self.table)

    def counts(self) -> dict[str, int]:
        """Official true positives and detections at K = 100.

        Runs `compute` first and therefore on all processes together.
        """
        return self.result()[0].counts()


def _candidates(pairs: PairArrays, scores: Float[Tensor, "b q r"]) -> tuple[Detections, Detections]:
    return official_candidates(pairs, scores, best_of_tensor), literature_candidates(pairs, scores, best_of_tensor)
