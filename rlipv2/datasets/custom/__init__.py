"""A user's own data: one JSON file per split; reader, writer, check and conversion from COCO-style files."""

from rlipv2.datasets.custom.dataset import CustomRelations
from rlipv2.datasets.custom.names import read_label_space
from rlipv2.datasets.custom.read import read_custom
from rlipv2.datasets.custom.write import write_custom

__all__ = ["CustomRelations", "read_custom", "read_label_space", "write_custom"]
