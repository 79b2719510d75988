"""Where stores lie."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = ".rlipv2-index"
META = "meta.json"


def store_folder(
    root: Path, source: Path, *, index: str | Path | None = None, kind: str, options: Mapping[str, Any]
) -> Path:
    """The folder of a store: named after its annotation file, `kind` and the options that it was read with.

    Args:
        root: of the dataset.
        source: the annotation file.
        index: folder of stores, also of several datasets; by default `.rlipv2-index` in `root`. To be given where
            `root` cannot be written.
        kind: of the content.
        options: what else the content depends on.
    """
    # a dataset may move together with the index in it; one folder may hold the indices of several datasets
    where = str(source.resolve()) if index is not None else os.path.relpath(source.resolve(), root.resolve())
    key = key_of({"kind": kind, "source": where, **options})
    folder = root / FOLDER if index is None else Path(index).expanduser()
    return folder / f"{source.stem[:60]}-{key}"


def key_of(values: Mapping[str, Any]) -> str:
    """A short name that stands for these plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def find_stores(folder: Path) -> list[Path]:
    """The stores in a folder: that of a dataset, or the one given as `index`."""
    inside = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    return sorted(path.parent for path in inside.glob(f"[!.]*/{META}"))
