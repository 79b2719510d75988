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
        self._names: dict[str, np.ndarray] = {}

    def missing(self, files: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """True for files that are not there."""
        rows: dict[str, list[int]] = {}
        names = []
        for row, file in enumerate(files):
            folder, _, name = file.rpartition("/")
            rows.setdefault(folder, []).append(row)
            names.append(os.fsencode(name))
        result = np.ones(len(names), bool)
        for folder, those in rows.items():
            if folder not in self._names:
                self.folders[folder] = folder_time(self.root / folder)
                self._names[folder] = _listed(self.root / folder)
            result[those] = ~_among([names[row] for row in those], self._names[folder])
        return result


def _listed(folder: Path) -> np.ndarray:
    """The names in a folder in order, as bytes in one array: as Python objects those of Objects365 take 200 MB."""
    names = os.listdir(os.fsencode(folder)) if folder.is_dir() else []
    return np.sort(np.array(names, "S") if names else np.zeros(0, "S1"))


def _among(names: Sequence[bytes], listed: np.ndarray) -> Bool[np.ndarray, " n"]:
    if not len(listed):
        return np.zeros(len(names), bool)
    asked = np.array(names, "S")
    places = np.minimum(np.searchsorted(listed, asked), len(listed) - 1)
    return np.asarray(listed[places] == asked)


def outdated_view(view: Store, base: Store, root: Path) -> str | None:
    """Why a view of a store, with what `ImageListing.folders` was as "folders", cannot be used any more, or None."""
    if view.content["of"] != base.digest:
        return "the annotations changed"
    changed = [name for name, time in view.content["folders"].items() if folder_time(root / name) != time]
    return f"images came to or went from {root / changed[0]}" if changed else None


def folder_time(path: Path) -> int | None:
    """When a file last came to or went from a folder; None where there is no folder."""
    return path.stat().st_mtime_ns if path.is_dir() else None
