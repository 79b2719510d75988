"""The growing files of a run: predictions as JSON lines, errors, settings; safe to kill and to start again.

An image counts as done when its line is complete; files with pictures are written before the line. A line that was cut
off by the end of a process goes at the next start. No torch in here.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

from filelock import FileLock, Timeout

from rlipv2.ops.files import remove_leftovers, write_atomically
from rlipv2.predict.names import DONE_VIDEOS, DRAWN, ERRORS, GALLERY, GRAPHS, PAGE, PREDICTIONS, RUN

FILES, FOLDERS = (PREDICTIONS, ERRORS, DONE_VIDEOS, PAGE), (DRAWN, GRAPHS, GALLERY)
FORMAT = "rlipv2-predict/1"


class ResultsError(ValueError):
    """The folder of results cannot be used: other settings, another run that writes there, damaged or foreign files."""


class Key(NamedTuple):
    """What one line is about: an image, or a frame of a video."""

    image: str
    frame: int | None = None


class Results:
    """A folder of results, open for writing by one process; a context manager.

    Opening it reads which images are done and cuts what was half written. Images that failed are not done: they are
    tried again, and `errors.jsonl` begins anew.

    Args:
        folder: made if it is not there.
        settings: everything that the predictions depend on, plain values; they must be those the folder was begun with.
        overwrite: remove the results that are there instead.

    Raises:
        ResultsError: begun with other settings, in use by another process, damaged, or files of somebody else that
            would be overwritten.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ResultsError(f"{folder}: another run is writing here; wait for it or choose another --out") from None
        try:
            self._check(settings, overwrite)
            for place, _, _ in os.walk(folder):
                remove_leftovers(Path(place))
            self.done = self._recover()
            self.videos = {line["image"]: line for line in read_lines(folder / DONE_VIDEOS)}
            self.settings = json.loads(json.dumps(settings))
            self._files = {name: self._opened(name) for name in (PREDICTIONS, ERRORS, DONE_VIDEOS)}
            self._files[ERRORS].truncate(0)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        self._lock.release()

    def _check(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        path = self.folder / RUN
        if not path.exists():
            there = [name for name in (*FILES, *FOLDERS) if self._has(name)]
            if there:
                raise ResultsError(
                    f"{self.folder}: holds {', '.join(there)} but no {RUN}, so not results of this command; "
                    "choose another --out"
                )
            write_run(self.folder, {"settings": settings})
            return
        before = read_run(self.folder)["settings"]
        if overwrite:
            self._clear()
            write_run(self.folder, {"settings": settings})
            return
        changed = differences(before, json.loads(json.dumps(settings)))
        if changed:
            raise ResultsError(
                f"{self.folder}: holds results of other settings: {'; '.join(changed)}. Choose another --out, go back "
                "to these settings, or remove the results with --overwrite"
            )

    def _has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def _clear(self) -> None:
        """Removes all results, and last what tells that they are ours: if killed here, the next start goes on."""
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        for name in FOLDERS:
            if self._has(name):
                shutil.rmtree(self.folder / name)
        (self.folder / RUN).unlink()

    def _opened(self, name: str) -> BinaryIO:
        return (self.folder / name).open("ab")

    def _recover(self) -> set[Key]:
        """What is done, after half a line at the end of a file was cut."""
        for name in (PREDICTIONS, DONE_VIDEOS):
            cut_half_line(self.folder / name)
        done = set()
        for line in read_lines(self.folder / PREDICTIONS):
            key = Key(line["image"], line.get("frame"))
            if key in done:
                raise ResultsError(f"{self.folder / PREDICTIONS}: {key.image} is there twice; use --overwrite")
            done.add(key)
        return done

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Appends predictions; each needs `image`, and `frame` for a frame of a video."""
        lines = list(lines)
        self._append(PREDICTIONS, lines)
        self.done.update(Key(line["image"], line.get("frame")) for line in lines)

    def add_error(self, name: str, error: str) -> None:
        """Notes that an image could not be used, and why."""
        self._append(ERRORS, [{"image": name, "error": error}])

    def add_video(self, line: Mapping[str, Any]) -> None:
        """Notes that all frames of a video are done."""
        self._append(DONE_VIDEOS, [line])
        self.videos[line["image"]] = dict(line)

    def _append(self, name: str, lines: Iterable[Mapping[str, Any]]) -> None:
        content = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        file = self._files[name]
        file.write(content.encode())
        file.flush()
        os.fsync(file.fileno())

    def frames(self, video: str) -> dict[int, dict[str, Any]]:
        """The lines of a video that are there, by frame."""
        if not any(key.image == video for key in self.done):
            return {}
        lines = read_lines(self.folder / PREDICTIONS)
        return {line["frame"]: line for line in lines if line["image"] == video and "frame" in line}

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes settings and summary to `run.json`."""
        write_run(self.folder, {"settings": self.settings, "summary": summary})


def write_run(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes `run.json`."""
    write_atomically(folder / RUN, json.dumps({"format": FORMAT, **content}, indent=1) + "\n")


def read_run(folder: Path) -> dict[str, Any]:
    """The content of `run.json`.

    Raises:
        ResultsError: not of this command, or of another version of it.
    """
    path = folder / RUN
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        if content["format"] == FORMAT and isinstance(content["settings"], dict):
            return content
    except (ValueError, KeyError, TypeError):
        pass
    raise ResultsError(f"{path}: expected a JSON object with format={FORMAT!r} and settings; choose another --out")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in a file of JSON lines, none if there is no such file.

    Raises:
        ResultsError: a line that is no JSON object with `image`.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                content = json.loads(line)
                content["image"]
            except (ValueError, KeyError, TypeError):
                raise ResultsError(
                    f"{path}: line {number}: expected a JSON object with 'image', got {line[:40]!r}; the file is "
                    "damaged: remove this line, or start anew with --overwrite"
                ) from None
            yield content


def cut_half_line(path: Path) -> int:
    """Cuts what follows the last line end, left by a process that was killed; returns how many bytes went."""
    if not path.exists():
        return 0
    with path.open("rb+") as file:
        size = position = file.seek(0, os.SEEK_END)
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            place = file.read(position - start).rfind(b"\n")
            if place >= 0:
                position = start + place + 1
                break
            position = start
        file.truncate(position)
    return size - position


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two sets of settings, in words."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name}: {_shown(before.get(name))} there, {_shown(after.get(name))} now" for name in names]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return (
        text
        if len(text) <= 70
        else f"{text[:60]}… ({len(value)} in all)"
        if isinstance(value, list)
        else text[:69] + "…"
    )
