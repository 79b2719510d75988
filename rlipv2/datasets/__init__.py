"""Datasets on disk as `torch` datasets of `Sample`. Nothing is downloaded."""

from rlipv2.datasets.custom import CustomRelations
from rlipv2.datasets.detection import COCODetection
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError, ImageFileError
from rlipv2.datasets.hico import HICODet, read_annotations
from rlipv2.datasets.open_images import OpenImagesSGG
from rlipv2.datasets.scene_graphs import SceneGraphMixture, SceneGraphs
from rlipv2.datasets.vcoco import VCOCO

__all__ = [
    "VCOCO",
    "AnnotationError",
    "COCODetection",
    "CustomRelations",
    "DatasetNotFoundError",
    "HICODet",
    "ImageFileError",
    "OpenImagesSGG",
    "SceneGraphMixture",
    "SceneGraphs",
    "read_annotations",
]
