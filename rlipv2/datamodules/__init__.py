"""Lightning data modules: which split of which dataset is loaded, transformed and batched how."""

from rlipv2.datamodules.base import RelationDataModule
from rlipv2.datamodules.collate import collate
from rlipv2.datamodules.hico import HICODetDataModule

__all__ = ["HICODetDataModule", "RelationDataModule", "collate"]
