"""Writing files so that no half of one is ever found. No torch in here: the metric commands start without it."""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def opened_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece, which takes the place of `path` when the block ends.

    It has a temporary name in the same folder until it is whole and renamed then: readers see all of it or nothing.
    Missing folders are made. Several processes may write the same path at once; the last one to finish wins. On any
    failure in the block the old file stays and the temporary one goes.

    Raises:
        OSError: the disk is full, the folder cannot be written, or `path` is a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # file systems end names at 255 bytes: the temporary one may not be longer than they allow where its own is not
    temporary = path.with_name(f".{path.name[:24]}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a whole file, text as UTF-8, see `opened_atomically`.

    Raises:
        OSError: the disk is full, the folder cannot be written, or `path` is a folder.
    """
    with opened_atomically(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_leftovers(folder: Path) -> list[Path]:
    """Removes and returns the temporary files that killed processes of this machine left in a folder.

    Those of running processes stay, and those of other machines, of whose processes nothing is known here.
    """
    removed = []
    for path in sorted(folder.glob(f".*.{socket.gethostname()}.*.part")):
        process = path.name.split(".")[-3]
        if process.isdecimal() and not _runs(int(process)):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
