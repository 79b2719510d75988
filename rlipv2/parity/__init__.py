"""Comparison with numbers recorded from the official code: `python -m rlipv2.parity CASE_DIR ...`."""

from rlipv2.parity.entry import Entry

__all__ = ["Entry"]
