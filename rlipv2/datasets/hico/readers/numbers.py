"""Moved to `rlipv2.datasets.numbers`."""

from rlipv2.datasets.numbers import *  # noqa: F403
