"""HICO-DET: the dataset, readers of its annotation formats, subsets, check and conversion."""

from rlipv2.datasets.hico.dataset import HICODet
from rlipv2.datasets.hico.readers import read_annotations

__all__ = ["HICODet", "read_annotations"]
