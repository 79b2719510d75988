"""Checks that prediction and ground-truth files of all protocols share; errors name file, record and advice."""

from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Int, Num, Shaped

from rlipv2.metrics.files import ArrayFile, EvaluationFileError

_KINDS = {"f": "floats", "iu": "whole numbers", "fiu": "numbers", "b": "booleans", "biu": "booleans or whole numbers"}
Layout = dict[str, tuple[str, tuple[str | int, ...]]]
"""Per array: kinds of NumPy types it may have, and its shape, where a letter stands for any length."""


def check_layout(file: ArrayFile, expected: Layout, sizes: dict[str, int] | None = None) -> dict[str, int]:
    """Compares names, types and shapes; letters of a shape must agree between arrays and are returned.

    Args:
        file: an open archive.
        expected: the arrays it must hold.
        sizes: letters that are known already.

    Raises:
        EvaluationFileError: an array is missing or of another type or shape.
    """
    sizes = dict(sizes or {})
    for name, (kinds, shape) in expected.items():
        if name not in file:
            raise EvaluationFileError(
                f"{file.path}: no array {name!r}; expected {sorted(expected)}, the file holds {file.names}"
            )
        if file.dtype(name).kind not in kinds:
            raise EvaluationFileError(f"{file.path}: {name}: type {file.dtype(name)}; expected {_KINDS[kinds]}")
        found = file.shape(name)
        matches = len(found) == len(shape) and all(
            size == (sizes.setdefault(letter, size) if isinstance(letter, str) else letter)
            for size, letter in zip(found, shape, strict=True)
        )
        if not matches:
            known = {letter: size for letter, size in sizes.items() if letter in shape}
            told = f" with {', '.join(f'{k} = {v}' for k, v in known.items())} from the other arrays" if known else ""
            wanted = ", ".join(str(letter) for letter in shape)
            raise EvaluationFileError(f"{file.path}: {name}: shape {found}; expected ({wanted}){told}")
    return sizes


def find_images(
    path: Path, image_ids: Int[np.ndarray, " n"], wanted: Int[np.ndarray, " i"], truth_path: Path
) -> Int[np.ndarray, " n"]:
    """Position of each predicted image among the images to predict.

    Args:
        path: the prediction file, for errors.
        image_ids: of its records.
        wanted: numbers of all images of the ground truth.
        truth_path: the ground-truth file, for errors.

    Raises:
        EvaluationFileError: an image is unknown, repeated or missing.
    """
    doubled = first_repeat(image_ids)
    if doubled is not None:
        number = int(image_ids[doubled])
        fail(path, doubled, number, "image_id", number, "the image comes twice", "write every image once")
    order = np.argsort(wanted)
    positions = order[np.minimum(np.searchsorted(wanted[order], image_ids), len(order) - 1)]
    for row in np.flatnonzero(wanted[positions] != image_ids)[:1]:
        number = int(image_ids[row])
        problem = f"no such image among the {len(order)} of {truth_path}"
        fail(path, int(row), number, "image_id", number, problem, "evaluate with the ground truth of this split")
    missing = np.setdiff1d(wanted, image_ids)
    if len(missing):
        raise EvaluationFileError(
            f"{path}: no predictions for {len(missing)} of {len(order)} images of {truth_path}, "
            f"the first of them {missing[:5].tolist()}; predict every image "
            "(scores and boxes of 0 where nothing is found)"
        )
    return positions


def first_repeat(values: Shaped[np.ndarray, " n"]) -> int | None:
    """Row of the first value that came before; None if there is none.

    >>> first_repeat(np.array([4, 7, 7, 4]))
    2
    """
    order = np.argsort(values, kind="stable")
    repeats = order[1:][values[order][1:] == values[order][:-1]]
    return int(repeats.min()) if len(repeats) else None


def first_not_finite(values: Shaped[np.ndarray, "..."]) -> Int[np.ndarray, " d"] | None:
    """Indices of the first inf or NaN; None if there is none."""
    # The sum tells in one pass whether to look closer; finite values may still overflow it.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(values.sum())
    if suspicious and not np.isfinite(values).all():
        return np.argwhere(~np.isfinite(values))[0]
    return None


INVERTED = ("expected x1 y1 x2 y2 with x2 >= x1 and y2 >= y1; is this x, y, w, h?", "write the corners of the box")
"""What is wrong with a box that `first_inverted` finds, and what to do."""


def first_inverted(boxes: Num[np.ndarray, "... 4"], slack: float = 0.0) -> Int[np.ndarray, " d"] | None:
    """Indices of the first box that ends before it starts; None if there is none.

    Args:
        boxes: x1 y1 x2 y2.
        slack: pixels by which it may: rounding of predicted boxes.

    >>> first_inverted(np.array([[5, 5, 5, 5], [30, 40, 10, 50]]))
    array([1])
    """
    inverted = (boxes[..., 2:] < boxes[..., :2] - slack).any(axis=-1)
    return np.argwhere(inverted)[0] if inverted.any() else None


def largest_coordinate(boxes: Num[np.ndarray, "... 4"]) -> float:
    """The largest coordinate, 0 if there is no box."""
    return float(boxes.max(initial=0))


def fail(path: Path, record: int, image: int, field: str, value: object, problem: str, advice: str) -> NoReturn:
    """Ends the reading of a file.

    Raises:
        EvaluationFileError: always.
    """
    raise EvaluationFileError(f"{path}: record {record} (image {image}): {field}={value}: {problem}; {advice}")
