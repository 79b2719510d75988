"""Assignment of predictions to targets, and the losses of training."""

from rlipv2.losses.criterion import LOSS_WEIGHTS, RelationCriterion, weighted_sum
from rlipv2.losses.denoising import DenoisingLoss
from rlipv2.losses.dense import DenseLoss
from rlipv2.losses.detection import DETECTION_WEIGHTS, BoxMatcher, DetectionCriterion
from rlipv2.losses.matcher import PairMatcher
from rlipv2.losses.pseudo_relations import PseudoRelations
from rlipv2.losses.tagger import TaggerCriterion

__all__ = [
    "DETECTION_WEIGHTS",
    "LOSS_WEIGHTS",
    "BoxMatcher",
    "DenoisingLoss",
    "DenseLoss",
    "DetectionCriterion",
    "PairMatcher",
    "PseudoRelations",
    "RelationCriterion",
    "TaggerCriterion",
    "weighted_sum",
]
