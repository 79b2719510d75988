"""Detectors as ONNX files for a fixed label space, and a predictor that runs them without torch.

The public names are imported when they are asked for: who only runs an exported file needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlipv2.export.runtime import OnnxRelationPredictor as OnnxRelationPredictor
    from rlipv2.export.writing import export_onnx as export_onnx

_SOURCES = {"OnnxRelationPredictor": "rlipv2.export.runtime", "export_onnx": "rlipv2.export.writing"}
__all__ = ["OnnxRelationPredictor", "export_onnx"]


def __getattr__(name: str) -> Any:
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_SOURCES[name]), name)
