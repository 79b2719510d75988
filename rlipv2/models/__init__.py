"""Networks, composed from `rlipv2.layers`; they know tensors and label spaces only."""

from rlipv2.models.detector import RelationDetector

__all__ = ["RelationDetector"]
