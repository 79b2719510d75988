"""The page about a test: figures, average precision per class, errors by kind, curves, images."""

from rlipv2.callbacks.report.images import Example, Examples
from rlipv2.callbacks.report.write import Run, write_report

__all__ = ["Example", "Examples", "Run", "write_report"]
