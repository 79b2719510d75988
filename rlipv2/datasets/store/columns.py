"""Columns that grow chunk by chunk, in memory or, once they are large, in scratch files."""

import uuid
from pathlib import Path
from typing import Any, Self

import numpy as np

from rlipv2.datasets.store.pages import map_array
from rlipv2.ops.texts import TextArray

SPILL_BYTES = 16 << 20
Column = Any  # np.ndarray or TextArray; readers know which of their columns is which


class Columns:
    """Named columns of one length, to which chunks are appended.

    Args:
        scratch: folder for columns of more than `SPILL_BYTES`; None keeps everything in memory.
    """

    def __init__(self, scratch: Path | None = None) -> None:
        self._scratch, self._key = scratch, uuid.uuid4().hex
        self._parts: dict[str, _Growing] = {}
        self._texts: dict[str, tuple[_Growing, _Growing]] = {}

    def append(self, **columns: np.ndarray | list[str]) -> Self:
        """Appends rows to every column; type and width of a column are those of its first chunk."""
        for name, values in columns.items():
            if isinstance(values, np.ndarray):
                self._parts.setdefault(name, _Growing(self._path(name))).append(values)
                continue
            encoded = [value.encode() for value in values]
            data, lengths = self._texts.setdefault(
                name, (_Growing(self._path(f"{name}.data")), _Growing(self._path(f"{name}.lengths")))
            )
            data.append(np.frombuffer(b"".join(encoded), np.uint8))
            lengths.append(np.array([len(value) for value in encoded], np.int64))
        return self

    def spill(self) -> None:
        """Writes what is in memory to the scratch files, if there is a folder for them; for many columns at once."""
        if self._scratch is not None:
            for part in self._all():
                part.spill()

    def discard(self) -> None:
        """Removes the scratch files; arrays that are in use keep theirs as long as they live."""
        for part in self._all():
            part.discard()

    def arrays(self) -> dict[str, Column]:
        """All columns; those in scratch files are memory-mapped."""
        texts = {name: TextArray(data.array(), ends(lengths.array())) for name, (data, lengths) in self._texts.items()}
        return {name: part.array() for name, part in self._parts.items()} | texts

    def _all(self) -> "list[_Growing]":
        return [*self._parts.values(), *(part for pair in self._texts.values() for part in pair)]

    def _path(self, name: str) -> Path | None:
        return None if self._scratch is None else self._scratch / f"{self._key}-{name}.scratch"


def ends(lengths: np.ndarray) -> np.ndarray:
    """Where each of the parts of these lengths begins in a flat array, and where the last one ends."""
    result = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=result[1:])
    return result


class _Growing:
    """One array of growing length."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._chunks: list[np.ndarray] = []
        self._held = 0
        self._written = False

    def append(self, values: np.ndarray) -> None:
        # later chunks are empty or of the first one's type; its width must survive where all are empty
        # a copy: a slice would keep the file mapped that it is of
        self._chunks.append(np.array(values, self._chunks[0].dtype if self._chunks else None))
        self._held += values.nbytes
        if self._path is not None and self._held > SPILL_BYTES:
            self.spill()

    def array(self) -> np.ndarray:
        first = self._chunks[0]
        if not self._written:
            return np.concatenate(self._chunks)
        self.spill()
        assert self._path is not None
        return map_array(self._path, first.dtype, first.shape[1:])

    def spill(self) -> None:
        if self._held:
            assert self._path is not None
            with self._path.open("ab") as file:
                for chunk in self._chunks:
                    chunk.tofile(file)
            self._chunks, self._held, self._written = [self._chunks[0][:0].copy()], 0, True

    def discard(self) -> None:
        if self._written and self._path is not None:
            self._path.unlink()
