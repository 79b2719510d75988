"""A progress bar, in terminals, over the bytes of a large file."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

LARGE = 16 << 20


@dataclass
class Reading:
    """What has been read of a file so far; its `watch` is for `rlipv2.datasets.json_stream`."""

    hash: Any = field(default_factory=hashlib.sha256)
    bar: Progress | None = None

    def watch(self, piece: memoryview) -> None:
        """Counts a piece."""
        self.hash.update(piece)
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], advance=len(piece))

    @property
    def sha256(self) -> str:
        """Checksum of all pieces."""
        return str(self.hash.hexdigest())


@contextmanager
def reading(path: Path) -> Iterator[Reading]:
    """Counts what is read of a file and shows it, where someone watches a terminal and the file is large."""
    size, console = path.stat().st_size, Console(stderr=True)
    if size < LARGE or not console.is_terminal:
        yield Reading()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        bar.add_task(f"index of {path.name[:50]}", total=size)
        yield Reading(bar=bar)
