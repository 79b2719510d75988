"""Datasets on disk as `torch` datasets of `Sample`. Nothing is downloaded."""

from rlipv2.datasets.detection import COCODetection
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError, ImageFileError
from rlipv2.datasets.hico import HICODet, read_annotations

__all__ = ["AnnotationError", "COCODetection", "DatasetNotFoundError", "HICODet", "ImageFileError", "read_annotations"]
