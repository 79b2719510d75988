"""Official evaluation protocols: as `torchmetrics.Metric` and as `python -m rlipv2.metrics`.

Names are imported when they are asked for: evaluating a file needs NumPy only, and importing torch and
torchmetrics would take several times as long as the evaluation.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlipv2.metrics.hico.metric import HICODetMAP as HICODetMAP

__all__ = ["HICODetMAP"]


def __getattr__(name: str) -> Any:
    if name == "HICODetMAP":
        from rlipv2.metrics.hico.metric import HICODetMAP

        return HICODetMAP
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
