"""Bringing the rows of long columns into the order of what they belong to, with bounded memory."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.store.columns import Columns, ends
from rlipv2.datasets.store.pages import release

ROWS = 1_000_000
"""Rows of a column that are in memory at once."""


class Grouping:
    """An order of rows: by owner, and among the rows of one owner as they are.

    A column is dealt out to one scratch file per range of owners, in which there are about `ROWS` rows, and every range
    is sorted by itself (distribution sort); rows that are in order already are left where they are.

    Args:
        owners: of each row, from 0.
        count: number of owners.
        new_columns: makes empty columns.

    Attributes:
        ptr: where the rows of each owner begin, and where the last ones end.
    """

    def __init__(self, owners: Int[np.ndarray, " n"], count: int, new_columns: Callable[[], Columns]) -> None:
        self._owners, self._new_columns = owners, new_columns
        counts, last, self._in_order = np.zeros(count, np.int64), 0, True
        for part in chunks(owners):
            counts += np.bincount(part, minlength=count)
            self._in_order &= bool(part[0] >= last and (part[1:] >= part[:-1]).all())
            last = part[-1]
        self.ptr = ends(counts)
        cuts = np.searchsorted(self.ptr, np.arange(ROWS, len(owners), ROWS), side="right") - 1
        self._first_owners = np.unique(np.concatenate([[0], cuts]))
        self._orders: list[Any] = [] if self._in_order else self._sorted_ranges()

    def ordered(self, column: Any) -> Any:
        """The rows of a column, an array, in this order."""
        if self._in_order:
            return column
        ranges, target = self._dealt(column), self._new_columns()
        for values, order in zip(ranges.arrays().values(), self._orders, strict=True):
            target.append(column=values[order])
            release(values, order)
        ranges.discard()
        return target.arrays()["column"]

    def _sorted_ranges(self) -> list[Any]:
        """The order of the rows of each range of owners."""
        ranges, orders = self._dealt(self._owners), self._new_columns()
        for name, owners in ranges.arrays().items():
            # as many columns as ranges: none may wait in memory until it is long
            orders.append(**{name: np.argsort(owners, kind="stable").astype(np.int32)}).spill()
            release(owners)
        ranges.discard()
        return list(orders.arrays().values())

    def _dealt(self, column: Any) -> Columns:
        """One column per range of owners, of the rows that belong there, as they follow each other."""
        ranges = self._new_columns()
        for owners, values in zip(chunks(self._owners), chunks(column), strict=True):
            place = (np.searchsorted(self._first_owners, owners, side="right") - 1).astype(np.int32)
            by_place = values[np.argsort(place, kind="stable")]
            cuts = np.cumsum(np.bincount(place, minlength=len(self._first_owners)))[:-1]
            ranges.append(**{str(row): rows for row, rows in enumerate(np.split(by_place, cuts))}).spill()
        return ranges


def chunks(column: Any) -> Iterator[np.ndarray]:
    """The rows of an array, at most `ROWS` at a time; their pages are given back in between."""
    for start in range(0, len(column), ROWS):
        yield column[start : start + ROWS]
        release(column)
