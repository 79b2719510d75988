"""Networks, composed from `rlipv2.layers`; they know tensors and label spaces only."""

from rlipv2.models.detector import RelationDetector
from rlipv2.models.tagger import RelationTagger

__all__ = ["RelationDetector", "RelationTagger"]
