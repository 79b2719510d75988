"""Official checkpoints: their key names, what they hold, and the conversion to weight folders."""

from rlipv2.checkpoints.official.convert import ConversionReport, convert_state, official_view
from rlipv2.checkpoints.official.detection import convert_backbone, convert_detection, family_of
from rlipv2.checkpoints.official.folders import convert_checkpoint, convert_file
from rlipv2.checkpoints.official.infer import infer_config
from rlipv2.checkpoints.official.keys import Place, place, rename
from rlipv2.checkpoints.official.read import read_official

__all__ = [
    "ConversionReport",
    "Place",
    "convert_backbone",
    "convert_checkpoint",
    "convert_detection",
    "convert_file",
    "convert_state",
    "family_of",
    "infer_config",
    "official_view",
    "place",
    "read_official",
    "rename",
]
