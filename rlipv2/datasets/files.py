"""Reading JSON that was downloaded by hand, and writing it so that no half of a file is ever found."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.ops.files import write_atomically


def read_json(path: Path, *, keep: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The content of a JSON file.

    Args:
        path: of the file.
        keep: what to keep of each JSON object, called from the innermost to the outermost, so that the large
            parts of a large file never are in memory together.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: empty, cut off, a web page or a Git LFS pointer instead of the data.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DatasetNotFoundError.missing("annotation file", path, "check the path") from None
    refuse_other_content(path, content[:200])
    try:
        return json.loads(content, object_hook=keep)
    except UnicodeDecodeError as error:
        raise AnnotationError.in_file(path, f"not text ({error})", "expected a JSON file in UTF-8") from None
    except json.JSONDecodeError as error:
        if not content.rstrip().endswith((b"]", b"}")):
            wrong = f"the JSON is cut off after {len(content):,} bytes"
            raise AnnotationError.in_file(path, wrong, "download it again and compare the size") from None
        raise AnnotationError.in_file(path, f"not valid JSON ({error})", "download or convert it again") from None


def refuse_other_content(path: Path, start: bytes) -> None:
    """Raises where the first bytes of a file show that it holds something else than data.

    Raises:
        AnnotationError: empty, a web page or a Git LFS pointer.
    """
    start = start.lstrip().lower()
    if not start:
        raise AnnotationError.in_file(path, "the file is empty", "download it again")
    if start.startswith(b"version https://git-lfs"):
        raise AnnotationError.in_file(
            path,
            "this is a Git LFS pointer, not the data",
            "run `git lfs pull` where it comes from, then copy it again",
        )
    if start.startswith(b"<"):
        raise AnnotationError.in_file(
            path,
            "this is a web page (HTML or XML), not JSON",
            "open the link in a browser and download the file itself",
        )


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, see `write_atomically`."""
    write_atomically(path, json.dumps(content))


def sha256(path: Path) -> str:
    """Checksum of a file, for the metadata of what was made from it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
