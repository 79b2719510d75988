"""Weights on disk: our weight folders, and the official checkpoints they are converted from."""

from rlipv2.checkpoints.folder import (
    build_detector,
    build_network,
    download_weights,
    load_network,
    load_weights,
    read_partial,
    read_state,
    save_partial_weights,
    save_weights,
)
from rlipv2.checkpoints.settings import default_settings, read_settings, write_settings

__all__ = [
    "build_detector",
    "build_network",
    "default_settings",
    "download_weights",
    "load_network",
    "load_weights",
    "read_partial",
    "read_settings",
    "read_state",
    "save_partial_weights",
    "save_weights",
    "write_settings",
]
