"""Comparison with numbers recorded from the official code: `python -m rlipv2.parity CASE ...`."""

from rlipv2.parity.entry import Entry

__all__ = ["Entry"]
