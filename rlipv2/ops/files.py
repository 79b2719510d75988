"""Writing files so that no half of one is ever found. No torch in here: the metric commands start without it."""

import os
import uuid
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file under a temporary name in the same folder and renames it: readers see all of it or nothing.

    Missing folders are made, text is written as UTF-8. Several processes may write the same path at
    once; the last one to finish wins. On any failure the old file stays and the temporary one goes.

    Raises:
        OSError: the disk is full, the folder cannot be written, or `path` is a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
