"""A store on disk: complete and checksummed, or not there.

`meta.json` is written last and holds size and SHA-256 of every table, and a digest over itself.
"""

import hashlib
import json
import logging
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from rlipv2.datasets.files import sha256, write_json
from rlipv2.datasets.store.columns import Column, Columns
from rlipv2.datasets.store.location import META
from rlipv2.datasets.store.tables import read_table, write_table

logger = logging.getLogger(__name__)

FORMAT = "rlipv2-index/1"
CHECKED = "checked.json"


class StoreError(ValueError):
    """A store that is not there, or cannot be used; the message names it and tells why."""


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        folder: where it lies.
        content: what its builder told about it: plain values.
        digest: SHA-256 of all that is in it, by way of the checksums of its tables.
        tables: columns by table and name, memory-mapped and read-only.
    """

    folder: Path
    content: dict[str, Any]
    digest: str
    tables: dict[str, dict[str, Column]] = field(repr=False)


class StoreWriter:
    """What a builder fills: tables, in chunks or whole.

    Attributes:
        folder: temporary folder of the store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._scratch = folder / "scratch"
        self._scratch.mkdir()

    def columns(self) -> Columns:
        """Empty columns to fill; large ones go to scratch files."""
        return Columns(self._scratch)

    def write(self, name: str, columns: Mapping[str, Column]) -> None:
        """Writes a table."""
        path = self.folder / f"{name}.arrow"
        write_table(path, columns)
        with path.open("rb+") as file:
            os.fsync(file.fileno())

    def write_all(self, tables: dict[str, dict[str, Column]]) -> None:
        """Writes tables and takes them out of the dictionary: pages of scratch files count as memory while in use."""
        for name in list(tables):
            self.write(name, tables.pop(name))

    def close(self, content: Mapping[str, Any]) -> None:
        """Writes `meta.json`, with which the store is complete."""
        shutil.rmtree(self._scratch)
        tables = {path.name: _described(path) for path in sorted(self.folder.glob("*.arrow"))}
        body = {"format": FORMAT, "tables": tables, "content": dict(content)}
        write_json(self.folder / META, {"digest": _digest(body), **body})
        _note_checked(self.folder, tables)


def open_store(folder: Path, *, digest: str | None = None, verify: bool = False) -> Store:
    """Opens a store.

    Sizes of the tables are compared at every opening. Their checksums are compared where a file was written since this
    was done last (by its change time, which a copy or a restored backup does not keep), and with `verify`.

    Args:
        folder: of the store.
        digest: what it must have: that of the store which another process opened.
        verify: read every table and compare its checksum.

    Raises:
        StoreError: it is not there, of another format, damaged, or not the one of `digest`.
    """
    body = _read_meta(folder)
    if digest is not None and body["digest"] != digest:
        raise StoreError(f"{folder}: the index was built anew while it was in use; start again")
    tables = body["tables"]
    for name, told in tables.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != told["size"]:
            raise StoreError(f"{path}: the index is damaged: {size} bytes, written were {told['size']}")
    if verify or _read_checked(folder) != _states(folder, tables):
        for name, told in tables.items():
            if sha256(folder / name) != told["sha256"]:
                raise StoreError(
                    f"{folder / name}: the index is damaged: its checksum is another one than when written"
                )
        _note_checked(folder, tables)
    columns = {name.removesuffix(".arrow"): read_table(folder / name) for name in tables}
    return Store(folder, body["content"], body["digest"], columns)


def store_at(
    folder: Path,
    *,
    outdated: Callable[[Store], str | None],
    build: Callable[[StoreWriter], Mapping[str, Any]],
    rebuild: bool = False,
) -> Store:
    """The store in a folder, built if it is not there, damaged or outdated.

    Of several processes that ask at once, one builds and the others wait for it. The lock belongs to the process, so
    that a killed one leaves none behind; its temporary folder goes with the next build.

    Args:
        folder: of the store.
        outdated: tells why a store cannot be used any more, or None.
        build: fills a store and returns its `content`.
        rebuild: build in any case.

    Raises:
        PermissionError: it has to be built, but the folder cannot be written.
    """
    if not rebuild:
        store, why = _usable(folder, outdated)
        if store is not None:
            return store
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f"{folder.name}.lock"))
        lock.acquire()
    except OSError as error:
        raise PermissionError(
            f"{folder.parent}: the index of the annotations cannot be written there ({error}); give a folder that can "
            "be written (index=<folder>, data.index=<folder>, build-index --index <folder>)"
        ) from error
    try:
        if not rebuild:
            store, why = _usable(folder, outdated)  # another process may have built it in the meantime
            if store is not None:
                return store
            if folder.exists():
                logger.warning("%s; it is built anew", why)
        return _build(folder, build)
    finally:
        lock.release()


def _usable(folder: Path, outdated: Callable[[Store], str | None]) -> tuple[Store | None, str]:
    try:
        store = open_store(folder)
    except (StoreError, FileNotFoundError) as error:  # the latter while another process puts a new one in its place
        return None, str(error)
    why = outdated(store)
    return (store, "") if why is None else (None, f"{folder}: the index is outdated: {why}")


def _build(folder: Path, build: Callable[[StoreWriter], Mapping[str, Any]]) -> Store:
    host = socket.gethostname()
    for left in folder.parent.glob(f".{folder.name}.{host}.*.part"):
        shutil.rmtree(left, ignore_errors=True)  # of killed builders: the lock is ours
    temporary = folder.with_name(f".{folder.name}.{host}.{uuid.uuid4().hex}.part")
    temporary.mkdir()
    try:
        writer = StoreWriter(temporary)
        writer.close(build(writer))
        if folder.exists():
            old = temporary.with_name(f"{temporary.name[:-5]}.old.part")
            folder.rename(old)  # who has it open keeps its pages
            temporary.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return open_store(folder)


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        body = json.loads((folder / META).read_bytes())
        told = body.pop("digest")
        if body["format"] != FORMAT:
            raise StoreError(f"{folder}: an index of format {body['format']}, this version reads {FORMAT}")
        if told != _digest(body):
            raise StoreError(f"{folder / META}: the index is damaged: its checksum is another one than when written")
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{folder}: no index") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{folder / META}: the index is damaged ({error})") from error
    return body | {"digest": told}


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _described(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": sha256(path)}


def _states(folder: Path, tables: Mapping[str, Any]) -> dict[str, list[int]]:
    """Size, inode and change time of each table."""
    states = {name: (folder / name).stat() for name in tables}
    return {name: [state.st_size, state.st_ino, state.st_ctime_ns] for name, state in states.items()}


def _read_checked(folder: Path) -> Any:
    try:
        return json.loads((folder / CHECKED).read_bytes())
    except (OSError, ValueError):
        return None


def _note_checked(folder: Path, tables: Mapping[str, Any]) -> None:
    try:
        write_json(folder / CHECKED, _states(folder, tables))
    except OSError as error:
        logger.info("%s: not written (%s), checksums are compared at every opening", folder / CHECKED, error)
