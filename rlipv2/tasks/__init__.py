"""LightningModules: steps, logging and optimiser wiring around networks that know nothing of Lightning."""

from rlipv2.tasks.base import RelationTask
from rlipv2.tasks.detection import RelationDetectionTask

__all__ = ["RelationDetectionTask", "RelationTask"]
