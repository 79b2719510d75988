"""Errors about what a user has on disk: each names the file, what is wrong and what to do."""

from pathlib import Path
from typing import Any


class DatasetNotFoundError(FileNotFoundError):
    """A dataset, or a part of it, is not where it was looked for; the message tells what to put where.

    Nothing is downloaded by this package.
    """

    @classmethod
    def missing(cls, what: str, path: Path, todo: str) -> "DatasetNotFoundError":
        """The error for one file or folder that is not there."""
        return cls(f"{path}: {what} not found; {todo}")


class AnnotationError(ValueError):
    """An annotation file that cannot be used as it is."""

    @classmethod
    def in_record(
        cls, file: Path, record: int, image: object, *, field: str, value: Any, wrong: str, todo: str, more: int = 0
    ) -> "AnnotationError":
        """The error for a value of one record; `record` counts from 0, `more` are further records alike."""
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        also = f" (and {more} more like it)" if more else ""
        return cls(f"{file}: record {record} (image {image}): {field}={shown}: {wrong}{also}; {todo}")

    @classmethod
    def in_file(cls, file: Path, wrong: str, todo: str) -> "AnnotationError":
        """The error for a whole file."""
        return cls(f"{file}: {wrong}; {todo}")


class ImageFileError(ValueError):
    """An image file that cannot be decoded; the message begins with its path."""

    @classmethod
    def at(cls, path: Path, wrong: str, todo: str) -> "ImageFileError":
        """The error for one image file."""
        return cls(f"{path}: {wrong}; {todo}")
