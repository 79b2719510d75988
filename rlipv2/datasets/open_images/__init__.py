"""Open Images v6 for scene graph generation: the dataset, readers of its annotation formats, check."""

from rlipv2.datasets.open_images.dataset import OpenImagesSGG
from rlipv2.datasets.open_images.names import read_label_space

__all__ = ["OpenImagesSGG", "read_label_space"]
