"""Reading the records of a JSON list one after the other, for files that are too large to be in memory at once."""

import io
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.files import refuse_other_content

Watch = Callable[[memoryview], None]
CHUNK = 1 << 20
LONGEST = 1 << 26
"""Characters of one record; more means that the file is no list of records, or broken in the middle."""


def iterate_records(path: Path, *, watch: Watch | None = None) -> Iterator[Any]:
    """The records of a JSON list in order, of which one at a time is in memory.

    The records before a broken one are given before its error is raised.

    Args:
        path: of the file.
        watch: called with the bytes of each piece that is read, for checksums and progress.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: empty, cut off, broken, no list, or a web page or Git LFS pointer; names the record.
    """
    return _parsed(path, _records, watch)


def iterate_members(
    path: Path, *, watch: Watch | None = None, expected: str = "expected lists by name, as COCO has them"
) -> Iterator[tuple[str, int, Any]]:
    """(key, number, record) of every list in a JSON object in order, of which one record at a time is in memory.

    A list begins with (key, -1, []). Members other than lists come whole, as number -1.

    Args:
        path: of the file.
        watch: as for `iterate_records`.
        expected: what an error says where there is no object.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: as for `iterate_records`; no object.
    """
    return _parsed(path, partial(_members, expected=expected), watch)


def _parsed(path: Path, parse: Callable[[Path, "_Unread"], Iterator[Any]], watch: Watch | None) -> Iterator[Any]:
    try:
        raw = _Watched(path, watch)
    except FileNotFoundError:
        raise DatasetNotFoundError.missing("annotation file", path, "check the path") from None
    with io.TextIOWrapper(io.BufferedReader(raw, CHUNK), encoding="utf-8-sig") as file:
        text = _Unread(file)
        try:
            refuse_other_content(path, text.start())
            yield from parse(path, text)
            if text.symbol():
                wrong = f"not valid JSON (something follows the {'list' if text.closing == ']' else 'object'})"
                raise AnnotationError.in_file(path, wrong, "download or convert it again")
        except UnicodeDecodeError as error:
            raise AnnotationError.in_file(path, f"not text ({error})", "expected a JSON file in UTF-8") from None


def _records(path: Path, text: "_Unread", name: str = "record") -> Iterator[Any]:
    """The records of a list, up to its end; `name` is what errors call them."""
    number = 0
    if text.symbol() != "[":
        raise AnnotationError.in_file(path, "its top level is no list", "expected a list with a record per image")
    text.skip()
    while text.symbol() != "]":
        if number:
            if text.symbol() != ",":
                raise _broken(path, f"{name} {number}", text, "no comma before it")
            text.skip()
        try:
            record = text.value()
        except json.JSONDecodeError as error:
            raise _broken(path, f"{name} {number}", text, error.msg) from None
        yield record
        number += 1
    text.skip()


def _members(path: Path, text: "_Unread", expected: str) -> Iterator[tuple[str, int, Any]]:
    if text.symbol() != "{":
        raise AnnotationError.in_file(path, "its top level is no object", expected)
    text.closing, key, place = "}", "", "its first member"
    text.skip()
    while text.symbol() != "}":
        if key:
            if text.symbol() != ",":
                raise _broken(path, place, text, "no comma before it")
            text.skip()
        try:
            key = text.value()
            if not isinstance(key, str) or text.symbol() != ":":
                raise _broken(path, place, text, "no key and value")
            text.skip()
            place = f"the member after {key!r}"
            if text.symbol() != "[":
                yield key, -1, text.value()
                continue
        except json.JSONDecodeError as error:
            raise _broken(path, place, text, error.msg) from None
        yield key, -1, []
        for number, record in enumerate(_records(path, text, f"{key}: record")):
            yield key, number, record
    text.skip()


def _broken(path: Path, place: str, text: "_Unread", wrong: str) -> AnnotationError:
    if text.cut_off:
        wrong, todo = f"the JSON is cut off in {place}", "download it again and compare the size"
    else:
        wrong, todo = f"not valid JSON at {place} ({wrong})", "download or convert it again"
    return AnnotationError.in_file(path, wrong, todo)


class _Watched(io.FileIO):
    """A file that shows what is read from it."""

    def __init__(self, path: Path, watch: Watch | None) -> None:
        super().__init__(path)
        self._watch = watch

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer) or 0
        if self._watch is not None and count:
            self._watch(memoryview(buffer)[:count])
        return count


class _Unread:
    """The part of a file that is not read yet; a piece of it is in memory."""

    def __init__(self, file: io.TextIOBase) -> None:
        self.file = file
        self.piece = ""
        self.position = 0
        self.closing = "]"
        self.decoder = json.JSONDecoder()

    @property
    def cut_off(self) -> bool:
        """Whether the file ends without the end of its content."""
        return not self.file.read(1) and not self.piece.rstrip().endswith(self.closing)

    def start(self) -> bytes:
        """The first characters that are no white space."""
        self.symbol()
        return self.piece[self.position : self.position + 200].encode()

    def symbol(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self.position < len(self.piece):
                if self.piece[self.position] not in " \t\r\n":
                    return self.piece[self.position]
                self.position += 1
            if not self._more():
                return ""

    def skip(self) -> None:
        """Passes over a character."""
        self.position += 1

    def value(self) -> Any:
        """The next value.

        Raises:
            json.JSONDecodeError: not JSON, cut off, or longer than `LONGEST`.
        """
        self.symbol()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.piece, self.position)
            except json.JSONDecodeError:
                if not self._more():
                    raise
                continue
            if end < len(self.piece) or not self._more():  # a number may go on behind the piece
                self.position = end
                return value

    def _more(self) -> bool:
        rest = self.piece[self.position :]
        # twice as much each time: a long record is parsed a few times, not once per chunk
        added = self.file.read(max(CHUNK, len(rest))) if len(rest) < LONGEST else ""
        self.piece, self.position = rest + added, 0
        return bool(added)
