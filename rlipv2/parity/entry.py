"""One line of a comparison with recorded numbers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Entry:
    """How far one array is from its recorded values.

    Attributes:
        case: name of the recorded case.
        name: what was compared, or why nothing was.
        max_abs: largest absolute difference; NaN where shapes differ or nothing was compared.
        max_rel: largest difference relative to the recorded value.
        tolerance: bound in words.
        passed: whether every value is inside the bound; true for a skipped entry.
        skipped: nothing was compared; `name` tells why.
    """

    case: str
    name: str
    max_abs: float
    max_rel: float
    tolerance: str
    passed: bool
    skipped: bool = False

    @classmethod
    def compare(
        cls, case: str, name: str, ours: np.ndarray | float, recorded: np.ndarray | float, *, atol: float, rtol: float
    ) -> "Entry":
        """Compares value by value with |ours - recorded| <= atol + rtol * |recorded|; NaN fails."""
        tolerance = f"{atol:g} + {rtol:g} relative" if rtol and atol else f"{rtol:g} relative" if rtol else f"{atol:g}"
        a, b = np.asarray(ours, np.float64), np.asarray(recorded, np.float64)
        if a.shape != b.shape:
            return cls(case, f"{name}: shape {a.shape}, recorded {b.shape}", np.nan, np.nan, tolerance, passed=False)
        if not a.size:
            return cls(case, name, 0.0, 0.0, tolerance, passed=True)
        difference = np.abs(a - b)
        # A recorded 0 has no relative difference: it counts as 0 if met exactly, else as infinite.
        relative = np.divide(difference, np.abs(b), out=np.where(difference > 0, np.inf, 0.0), where=b != 0)
        passed = bool((difference <= atol + rtol * np.abs(b)).all())
        return cls(case, name, float(difference.max()), float(relative.max()), tolerance, passed)

    @classmethod
    def skip(cls, case: str, reason: str) -> "Entry":
        """An entry that tells why a case is not compared."""
        return cls(case, f"skipped: {reason}", np.nan, np.nan, "-", passed=True, skipped=True)
