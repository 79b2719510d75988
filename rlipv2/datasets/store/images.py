"""Which image files of a dataset are there, found with one listing per folder."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from rlipv2.datasets.store.folder import Store


class ImageListing:
    """Looks for files below a folder.

    Attributes:
        folders: modification time of every folder that was listed, in nanoseconds; None where there is none. It changes
            when a file comes or goes, so that equal times stand for an equal listing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders: dict[str, int | None] = {}
        self._names: dict[str, frozenset[str]] = {}

    def missing(self, files: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """True for files that are not there."""
        parts = [file.rpartition("/")[::2] for file in files]
        for folder in {folder for folder, _ in parts} - self._names.keys():
            self.folders[folder] = folder_time(self.root / folder)
            there = self.folders[folder] is not None
            self._names[folder] = frozenset(os.listdir(self.root / folder)) if there else frozenset()
        return np.array([name not in self._names[folder] for folder, name in parts], bool)


def outdated_view(view: Store, base: Store, root: Path) -> str | None:
    """Why a view of a store, with what `ImageListing.folders` was as "folders", cannot be used any more, or None."""
    if view.content["of"] != base.digest:
        return "the annotations changed"
    changed = [name for name, time in view.content["folders"].items() if folder_time(root / name) != time]
    return f"images came to or went from {root / changed[0]}" if changed else None


def folder_time(path: Path) -> int | None:
    """When a file last came to or went from a folder; None where there is no folder."""
    return path.stat().st_mtime_ns if path.is_dir() else None
