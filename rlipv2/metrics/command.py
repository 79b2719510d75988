"""What the sub-commands of `python -m rlipv2.metrics` share: outputs and option types."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rlipv2.metrics.files import EvaluationFileError
from rlipv2.ops.files import write_atomically

# Predicted fractions may reach beyond the image; no dataset has all its boxes in two pixels.
_LARGEST_FRACTION = 1.5


def check_outputs(*outputs: Path | None, inputs: Sequence[Path]) -> None:
    """Before anything is computed: can these files be written, without writing over one that is read?

    Args:
        outputs: files to write, None for those that nobody asked for.
        inputs: files that the command reads.

    Raises:
        EvaluationFileError: one cannot be written, is an input or comes twice.
    """
    taken = {path.resolve(): "an input of this command" for path in inputs}
    for output in outputs:
        if output is None:
            continue
        if output.is_dir() or not output.absolute().parent.is_dir():
            raise EvaluationFileError(f"{output}: cannot be written there; give a file in a folder that exists")
        if output.resolve() in taken:
            raise EvaluationFileError(
                f"{output}: is {taken[output.resolve()]} and would be overwritten; give another file to write to"
            )
        taken[output.resolve()] = "another output of this command"


def write(path: Path, content: bytes) -> None:
    """Writes a file, see `write_atomically`.

    Raises:
        EvaluationFileError: the disk is full or the folder read-only.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise EvaluationFileError(f"{path}: cannot be written ({error.strerror})") from error


def note_compressed(path: Path, names: Sequence[str]) -> None:
    """Tells on stderr that arrays of an .npz file cannot be memory-mapped; nothing if `names` is empty."""
    if names:
        print(
            f"note: {path}: {', '.join(names)}: compressed, cannot be memory-mapped; unpacked while reading "
            "(slower, numpy.savez stores uncompressed)",
            file=sys.stderr,
        )


def note_normalised(path: Path, largest: float) -> None:
    """Tells on stderr that boxes look like fractions of the image.

    Args:
        path: the file they come from.
        largest: coordinate of all of its boxes; at most 0 where there is none, which tells nothing.
    """
    if 0 < largest <= _LARGEST_FRACTION:
        print(
            f"note: {path}: boxes lie within 0..1 (largest coordinate {largest:.4g}): pixels of the stored image are "
            "expected; multiply them by its width and height",
            file=sys.stderr,
        )


def number_or_all(text: str) -> int | None:
    """A number from 1, or None for `all`."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1, or `all`")
    return int(text)


def not_negative(text: str) -> float:
    """A finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of at least 0")
    return value
