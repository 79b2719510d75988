"""What goes wrong in predicted triplets: errors by kind, what fixing each would gain, curves, confused relations.

Names are imported when they are asked for: everything but `DiagnosisMetric` and `diagnose` needs NumPy only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlipv2.metrics.diagnosis.evidence import KINDS as KINDS
    from rlipv2.metrics.diagnosis.evidence import Evidence as Evidence
    from rlipv2.metrics.diagnosis.evidence import judge as judge
    from rlipv2.metrics.diagnosis.metric import DiagnosisMetric as DiagnosisMetric
    from rlipv2.metrics.diagnosis.metric import diagnose as diagnose
    from rlipv2.metrics.diagnosis.result import Diagnosis as Diagnosis
    from rlipv2.metrics.diagnosis.rules import Rules as Rules
    from rlipv2.metrics.diagnosis.summary import summarise as summarise

_MODULES = {
    "KINDS": "evidence",
    "Diagnosis": "result",
    "DiagnosisMetric": "metric",
    "Evidence": "evidence",
    "Rules": "rules",
    "diagnose": "metric",
    "judge": "evidence",
    "summarise": "summary",
}

__all__ = ["KINDS", "Diagnosis", "DiagnosisMetric", "Evidence", "Rules", "diagnose", "judge", "summarise"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
