"""Reads back what an offline run of W&B has written: the records of its `.wandb` file.

The file is a log of LevelDB: a header, then blocks of 32 KiB with pieces of records (checksum, length, kind, bytes).
"""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK, PIECE_HEADER, FILE_HEADER = 32768, 7, 7
WHOLE, FIRST, LAST = 1, 2, 4  # kinds of pieces; 3 lies in the middle


def records(file: Path) -> Iterator[Any]:
    """The protobuf records of a file, in order."""
    content, place, parts = file.read_bytes(), FILE_HEADER, b""
    assert content[:4] == b":W&B"
    while place + PIECE_HEADER <= len(content):
        left = BLOCK - place % BLOCK
        if left < PIECE_HEADER:
            place += left  # nothing fits any more
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + PIECE_HEADER])
        piece = content[place + PIECE_HEADER : place + PIECE_HEADER + length]
        place += PIECE_HEADER + length
        parts = piece if kind in (WHOLE, FIRST) else parts + piece
        if kind in (WHOLE, LAST) and parts:
            yield wandb_internal_pb2.Record.FromString(parts)


def items(message: Any) -> dict[str, Any]:
    """The values of a history row, a summary or a configuration, by their key with slashes or dots."""
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in message}


class OfflineRun:
    """What lies in the folder of an offline run.

    Attributes:
        run: as it was announced: name, group, tags, ...
        config: of the run.
        rows: of the history.
        metrics: what `define_metric` told, by name or pattern.
        summary: as it stands in the end.
        artifacts: that were logged.
        exit_code: of the run; None if it has not been finished.
    """

    def __init__(self, folder: Path) -> None:
        (file,) = folder.glob("run-*.wandb")
        self.folder = folder
        self.config: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.metrics: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.artifacts: list[Any] = []
        self.exit_code: int | None = None
        for record in records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.run = record.run
                self.config |= items(record.run.config.update)
            elif kind == "config":
                self.config |= items(record.config.update)
            elif kind == "history":
                self.rows.append(items(record.history.item))
            elif kind == "summary":
                self.summary |= items(record.summary.update)
            elif kind == "metric":
                self.metrics[record.metric.name or record.metric.glob_name] = record.metric
            elif kind == "artifact":
                self.artifacts.append(record.artifact)
            elif kind == "exit":
                self.exit_code = record.exit.exit_code

    def column(self, name: str) -> list[Any]:
        """All values of the history under a name."""
        return [row[name] for row in self.rows if name in row]

    def media(self, value: dict[str, Any]) -> Path:
        """The file that a media value of the history points to."""
        return self.folder / "files" / value["path"]


def offline_runs(folder: Path, *, seconds: float = 60) -> list[OfflineRun]:
    """The offline runs below a folder of output, oldest first.

    The process of W&B that writes them may still be busy when a run has been finished: waits for the last record.
    """
    deadline = time.monotonic() + seconds
    while True:
        runs = [OfflineRun(path) for path in sorted(folder.rglob("wandb/offline-run-*")) if path.is_dir()]
        if all(run.exit_code is not None for run in runs) or time.monotonic() > deadline:
            return runs
        time.sleep(0.2)
