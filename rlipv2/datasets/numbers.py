"""Checked conversion of the values in annotation files to arrays, and the helpers for their errors."""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.datasets.errors import AnnotationError

# a file in which boxes are x, y, w, h shows far more negative sizes than annotation noise does
MIXUP_SHARE, MIXUP_COUNT = 0.05, 10


class Locator:
    """Turns the position of a value in a flat array into an error that names record and image.

    Args:
        path: the annotation file.
        file_names: what the image of each record is called.
        ptr: where the values of each record begin, and where the last ones end.
        first: number of the first of these records in the file.
    """

    def __init__(self, path: Path, file_names: Sequence[str], ptr: Int[np.ndarray, " p"], first: int = 0) -> None:
        self.path = path
        self.first = first
        self.file_names = file_names
        self.ptr = ptr

    def record(self, row: int) -> int:
        """The record that owns flat row `row`."""
        return int(np.searchsorted(self.ptr, row, side="right")) - 1

    def error(self, row: int, *, field: str, value: Any, wrong: str, todo: str, more: int = 0) -> AnnotationError:
        """The error for flat row `row`; `[]` in `field` becomes the row's position in its record."""
        record = self.record(row)
        field = field.replace("[]", f"[{row - int(self.ptr[record])}]")
        return AnnotationError.in_record(
            self.path,
            self.first + record,
            self.file_names[record],
            field=field,
            value=value,
            wrong=wrong,
            todo=todo,
            more=more,
        )

    def check(
        self, bad: Bool[np.ndarray, " n"], values: Sequence[Any] | np.ndarray, *, field: str, wrong: str, todo: str
    ) -> None:
        """Raises the error for the first true row of `bad`, if there is one."""
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            value = values[row]
            value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
            raise self.error(row, field=field, value=value, wrong=wrong, todo=todo, more=int(bad.sum()) - 1)


def integers(values: Sequence[Any], where: Locator, field: str) -> Int[np.ndarray, " n"]:
    """Integers as an array; strings, booleans, fractions and nulls are errors."""
    if not set(map(type, values)) <= {int}:
        where.check(
            np.array([type(value) is not int for value in values]),
            values,
            field=field,
            wrong="not an integer",
            todo="write it as a plain JSON integer, without quotes",
        )
    return np.array(values, dtype=np.int64)


def box_array(boxes: Sequence[Any], where: Locator, field: str) -> Float[np.ndarray, "n 4"]:
    """Boxes x1 y1 x2 y2 as an array; anything but four finite numbers is an error."""

    def check(is_bad: Callable[[Any], bool], wrong: str) -> None:
        bad = np.array([is_bad(box) for box in boxes], dtype=bool)
        where.check(bad, boxes, field=field, wrong=wrong, todo="expected [x1, y1, x2, y2] in pixels, as numbers")

    if not (set(map(type, boxes)) <= {list} and set(map(len, boxes)) <= {4}):
        check(lambda box: not isinstance(box, list) or len(box) != 4, "not a list of four numbers")
    flat = list(chain.from_iterable(boxes))
    if not set(map(type, flat)) <= {int, float}:
        check(lambda box: not set(map(type, box)) <= {int, float}, "not four numbers")
    array = np.array(flat, dtype=np.float64).reshape(-1, 4)
    infinite = np.asarray((~np.isfinite(array)).any(axis=1))
    where.check(infinite, boxes, field=field, wrong="not finite", todo="correct or remove this box")
    check_not_xywh(array, where, field)
    return array


def check_not_xywh(boxes: Float[np.ndarray, "n 4"], where: Locator, field: str) -> None:
    """Raises where so many boxes end before they begin that they must be x, y, width, height."""
    negative = np.asarray((boxes[:, 2:] < boxes[:, :2]).any(axis=1))
    if negative.sum() >= MIXUP_COUNT and negative.mean() > MIXUP_SHARE:
        where.check(
            negative,
            boxes,
            field=field,
            wrong="x2 < x1 or y2 < y1",
            todo="this looks like x, y, width, height; expected x1, y1, x2, y2",
        )


def pointers(lengths: Iterable[int]) -> Int[np.ndarray, " p"]:
    """Where each record begins in a flat array, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(list(lengths))]).astype(np.int64)


def image_ids(file_names: Sequence[str]) -> Int[np.ndarray, " i"]:
    """The number at the end of each file name, or 1, 2, 3, ... where one has none or two names share one.

    >>> image_ids(["HICO_test2015_00000006.jpg", "HICO_test2015_00000017.jpg"])
    array([ 6, 17])
    """
    matches = [re.search(r"(\d{1,18})\.[^.]*$", name) for name in file_names]
    numbers = np.array([int(match.group(1)) if match else -1 for match in matches], dtype=np.int64)
    unambiguous = len(set(numbers.tolist())) == len(set(file_names)) and (numbers >= 0).all()
    if unambiguous:
        return numbers
    order = {name: number for number, name in enumerate(dict.fromkeys(file_names), start=1)}
    return np.array([order[name] for name in file_names], dtype=np.int64)
