"""LightningModules: steps, logging and optimiser wiring around networks that know nothing of Lightning."""

from rlipv2.tasks.base import RelationTask
from rlipv2.tasks.captioning import CaptioningTask
from rlipv2.tasks.detection import RelationDetectionTask
from rlipv2.tasks.object_detection import ObjectDetectionTask
from rlipv2.tasks.pair_tagging import PairTaggingTask
from rlipv2.tasks.tagging import RelationTaggingTask

__all__ = [
    "CaptioningTask",
    "ObjectDetectionTask",
    "PairTaggingTask",
    "RelationDetectionTask",
    "RelationTaggingTask",
    "RelationTask",
]
