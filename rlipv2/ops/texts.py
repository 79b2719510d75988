"""Many texts without a Python object for each. No torch in here."""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from jaxtyping import Int, UInt8


class TextArray(Sequence[str]):
    """Texts as UTF-8 bytes end to end; text i is `data[offsets[i]:offsets[i + 1]]`, decoded when it is asked for.

    Loader workers copy the pages of Python objects that they read, since reading counts references; they share arrays.

    Args:
        data: the bytes of all texts.
        offsets: where each text begins, and where the last one ends.
        rows: which texts these are, in which order; None for all.
    """

    def __init__(
        self, data: UInt8[np.ndarray, " c"], offsets: Int[np.ndarray, " p"], rows: Int[np.ndarray, " n"] | None = None
    ) -> None:
        self.data, self.offsets, self.rows = data, offsets, rows

    @classmethod
    def of(cls, texts: Sequence[str]) -> "TextArray":
        """The same texts packed.

        >>> list(TextArray.of(["man", "", "Bäume"]).take([2, 0]))
        ['Bäume', 'man']
        """
        encoded = [text.encode() for text in texts]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1 if self.rows is None else len(self.rows)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> "TextArray": ...

    def __getitem__(self, index: int | slice) -> "str | TextArray":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = range(len(self))[index] if self.rows is None else int(self.rows[index])
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes().decode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and not isinstance(other, str) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(repr(text) for text in self[:3])
        return f"TextArray([{shown}{', ...' if len(self) > 3 else ''}], {len(self)} texts)"

    def take(self, indices: Any) -> "TextArray":
        """The texts at these positions, in that order; the bytes are shared."""
        indices = np.asarray(indices, np.int64)
        return TextArray(self.data, self.offsets, indices if self.rows is None else self.rows[indices])

    def packed(self) -> "TextArray":
        """The same texts with only their own bytes."""
        return self if self.rows is None else TextArray.of(list(self))
