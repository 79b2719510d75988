"""Giving back the pages of scratch files that were read, while their arrays stay in use."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.ops.texts import TextArray


def map_array(path: Path, dtype: np.dtype[Any], row: tuple[int, ...]) -> np.ndarray:
    """The rows in a file that is not empty, read-only and memory-mapped; `release` knows these arrays."""
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(pages, dtype).reshape(-1, *row)


def release(*columns: Any) -> None:
    """Gives back the pages that were read of columns in scratch files; they come back when they are read again.

    Pages of a mapped file count as memory of the process from when they are read until the mapping goes. Columns in
    memory stay as they are.
    """
    for column in columns:
        for array in (column.data, column.offsets) if isinstance(column, TextArray) else (column,):
            pages = _pages_of(array)
            if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
                pages.madvise(mmap.MADV_DONTNEED)


def _pages_of(array: Any) -> mmap.mmap | None:
    """What an array is a view of, if that is a mapped file."""
    while array is not None and not isinstance(array, mmap.mmap):
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return array
