"""Official evaluation protocols: as `torchmetrics.Metric` and as `python -m rlipv2.metrics`.

Names are imported when they are asked for: evaluating a file needs NumPy only, and importing torch and
torchmetrics would take several times as long as the evaluation.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlipv2.metrics.coco.metric import COCODetectionAP as COCODetectionAP
    from rlipv2.metrics.hico.metric import HICODetMAP as HICODetMAP
    from rlipv2.metrics.open_images.metric import OpenImagesSGG as OpenImagesSGG
    from rlipv2.metrics.tagging.metric import TaggingAccuracy as TaggingAccuracy
    from rlipv2.metrics.triplets.metric import TripletMAP as TripletMAP
    from rlipv2.metrics.vcoco.metric import VCOCORoleAP as VCOCORoleAP

_MODULES = {
    "COCODetectionAP": "rlipv2.metrics.coco.metric",
    "HICODetMAP": "rlipv2.metrics.hico.metric",
    "OpenImagesSGG": "rlipv2.metrics.open_images.metric",
    "TaggingAccuracy": "rlipv2.metrics.tagging.metric",
    "TripletMAP": "rlipv2.metrics.triplets.metric",
    "VCOCORoleAP": "rlipv2.metrics.vcoco.metric",
}

__all__ = ["COCODetectionAP", "HICODetMAP", "OpenImagesSGG", "TaggingAccuracy", "TripletMAP", "VCOCORoleAP"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
