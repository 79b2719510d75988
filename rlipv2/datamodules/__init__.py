"""Lightning data modules: which split of which dataset is loaded, transformed and batched how."""

from rlipv2.datamodules.base import RelationDataModule
from rlipv2.datamodules.collate import collate
from rlipv2.datamodules.custom import CustomDataModule
from rlipv2.datamodules.detection import DetectionDataModule
from rlipv2.datamodules.hico import HICODetDataModule
from rlipv2.datamodules.open_images import OpenImagesDataModule
from rlipv2.datamodules.scene_graphs import SceneGraphDataModule
from rlipv2.datamodules.vcoco import VCOCODataModule

__all__ = [
    "CustomDataModule",
    "DetectionDataModule",
    "HICODetDataModule",
    "OpenImagesDataModule",
    "RelationDataModule",
    "SceneGraphDataModule",
    "VCOCODataModule",
    "collate",
]
