"""Comparison of nested plain values."""

from collections.abc import Collection
from typing import Any

import numpy as np

from rlipv2.parity.entry import Entry

ATOL = 1e-5


def exact_entry(case: str, name: str, ours: Any, recorded: Any, *, hint: str = "") -> Entry:
    """Whether two nested values are the same: fractions within 1e-5, all else equal, order of lists too."""
    found = difference(ours, recorded)
    distance = _largest(ours, recorded) if found is None else np.nan
    name = name if found is None else f"{name}: {found}{hint}"
    return Entry(case, name, distance, distance, f"{ATOL:g}, else equal", passed=found is None)


def difference(ours: Any, recorded: Any, where: str = "") -> str | None:
    """The first place where two nested values differ, and how; None where they do not."""
    if isinstance(ours, dict) and isinstance(recorded, dict):
        if set(ours) != set(recorded):
            return f"{where or 'keys'}: {_only(ours, recorded)} only here, {_only(recorded, ours)} only recorded"
        found = (difference(ours[key], recorded[key], f"{where}[{key!r}]") for key in recorded)
        return next((some for some in found if some is not None), None)
    if isinstance(ours, list | tuple) and isinstance(recorded, list | tuple):
        found = (difference(a, b, f"{where}[{row}]") for row, (a, b) in enumerate(zip(ours, recorded, strict=False)))
        first = next((some for some in found if some is not None), None)
        if first is None and len(ours) != len(recorded):
            return f"{where} has {len(ours)} entries, recorded {len(recorded)}"
        return first
    if isinstance(ours, float | int) and isinstance(recorded, float | int) and float in (type(ours), type(recorded)):
        return None if abs(ours - recorded) <= ATOL else f"{where} is {ours}, recorded {recorded}"
    return None if ours == recorded else f"{where} is {_shown(ours)}, recorded {_shown(recorded)}"


def _only(a: Collection[Any], b: Collection[Any]) -> list[Any]:
    return [key for key in a if key not in b][:3]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _largest(ours: Any, recorded: Any) -> float:
    """The largest difference of two values that are alike."""
    if isinstance(recorded, dict):
        return max((_largest(ours[key], recorded[key]) for key in recorded), default=0.0)
    if isinstance(recorded, list | tuple):
        return max((_largest(a, b) for a, b in zip(ours, recorded, strict=True)), default=0.0)
    return abs(float(ours) - recorded) if isinstance(recorded, float) else 0.0
