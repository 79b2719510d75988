"""Which state of an annotation file a store was built from."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.files import sha256, write_json
from rlipv2.datasets.store.folder import Store

logger = logging.getLogger(__name__)

SEEN = "seen.json"


@dataclass(frozen=True)
class Source:
    """A file as it was when it was read.

    A file of the same size and modification time (to the nanosecond) counts as unchanged without being read, as `make`
    and `git` have it. One of the same size and another time is unchanged if its content is: a copy, or a download of
    the same release, builds nothing anew.
    """

    size: int
    modified_ns: int
    sha256: str = ""

    @classmethod
    def of(cls, path: Path) -> "Source":
        """Size and time of a file; the content is not read.

        Raises:
            DatasetNotFoundError: no such file.
        """
        try:
            status = path.stat()
        except FileNotFoundError:
            raise DatasetNotFoundError.missing("annotation file", path, "check the path") from None
        return cls(status.st_size, status.st_mtime_ns)

    @classmethod
    def from_meta(cls, meta: dict[str, Any]) -> "Source":
        """What `to_meta` gave."""
        return cls(int(meta["size"]), int(meta["modified_ns"]), str(meta["sha256"]))

    def to_meta(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def same_state(self, other: "Source") -> bool:
        """Whether size and time are the same."""
        return (self.size, self.modified_ns) == (other.size, other.modified_ns)

    def same_content(self, path: Path) -> bool:
        """Whether the file has this content now; reads it if its size is the same."""
        return Source.of(path).size == self.size and sha256(path) == self.sha256

    def finished(self, path: Path, checksum: str) -> "Source":
        """The same state with the checksum of what was read.

        Raises:
            AnnotationError: the file changed while it was read.
        """
        if not self.same_state(Source.of(path)):
            raise AnnotationError.in_file(path, "the file changed while it was read", "start again when it is written")
        return replace(self, sha256=checksum)


def outdated_sources(store: Store, files: Mapping[str, Path]) -> str | None:
    """Why a store does not hold what is in these files now; None where it does.

    Raises:
        DatasetNotFoundError: one of the files is not there.
    """
    told = store.content["sources"]
    if told.keys() != files.keys():
        return f"it was made from {', '.join(told)}, not {', '.join(files)}"
    seen = _read_seen(store)
    for name, path in files.items():
        source, now = Source.from_meta(told[name]), Source.of(path)
        if source.same_state(now) or seen.get(name) == [now.size, now.modified_ns]:
            continue
        if not source.same_content(path):
            return f"{path} changed"
        seen[name] = [now.size, now.modified_ns]
        _note_seen(store, seen)
    return None


def _read_seen(store: Store) -> dict[str, Any]:
    """States of the files, other than that when they were read, in which they had the same content."""
    try:
        return dict(json.loads((store.folder / SEEN).read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def _note_seen(store: Store, seen: Mapping[str, Any]) -> None:
    try:
        write_json(store.folder / SEEN, seen)
    except OSError as error:
        logger.info("%s: not written (%s), the annotations are compared at every opening", store.folder / SEEN, error)
