"""RLIPv2 (ICCV 2023): relational language-image pre-training and relation detection.

The public names are imported when they are asked for: commands that need NumPy only should start at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlipv2.losses import PairMatcher as PairMatcher
    from rlipv2.losses import RelationCriterion as RelationCriterion
    from rlipv2.models import RelationDetector as RelationDetector
    from rlipv2.predict.predictor import RelationPredictor as RelationPredictor
    from rlipv2.structures import LabelSpace as LabelSpace
    from rlipv2.structures import PairPredictions as PairPredictions
    from rlipv2.structures import Triplets as Triplets
    from rlipv2.vocabularies import load as load_vocabulary

_SOURCES = {
    "LabelSpace": ("rlipv2.structures", "LabelSpace"),
    "PairMatcher": ("rlipv2.losses", "PairMatcher"),
    "PairPredictions": ("rlipv2.structures", "PairPredictions"),
    "RelationCriterion": ("rlipv2.losses", "RelationCriterion"),
    "RelationDetector": ("rlipv2.models", "RelationDetector"),
    "RelationPredictor": ("rlipv2.predict.predictor", "RelationPredictor"),
    "Triplets": ("rlipv2.structures", "Triplets"),
    "load_vocabulary": ("rlipv2.vocabularies", "load"),
}
__all__ = [
    "LabelSpace",
    "PairMatcher",
    "PairPredictions",
    "RelationCriterion",
    "RelationDetector",
    "RelationPredictor",
    "Triplets",
    "load_vocabulary",
]


def __getattr__(name: str) -> Any:
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _SOURCES[name]
    return getattr(import_module(module), attribute)
