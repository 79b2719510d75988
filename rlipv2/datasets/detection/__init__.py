"""COCO and Objects365 boxes."""

from rlipv2.datasets.detection.dataset import COCODetection
from rlipv2.datasets.detection.layouts import LAYOUTS, find_annotations
from rlipv2.datasets.detection.reader import read_any_instances, read_instances
from rlipv2.datasets.detection.records import DetectionRecords

__all__ = ["LAYOUTS", "COCODetection", "DetectionRecords", "find_annotations", "read_any_instances", "read_instances"]
