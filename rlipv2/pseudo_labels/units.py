"""Work units: what a stage made of a fixed slice of the images, on disk, with a record that it is complete.

A unit of a stage is a data file, a file of errors if there were any, and, written last, a done-record with their
checksums. It is complete if the record is there, whole, of the settings asked for, and the files have the checksums.
Files are written under temporary names and renamed, and a unit's content depends on the images, the settings and the
seed only. So any number of processes may work on a folder, and none has to tell others what it is doing.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from rlipv2.ops.files import remove_leftovers, write_atomically
from rlipv2.pseudo_labels.batches import ImageFailure
from rlipv2.pseudo_labels.unit_rows import json_lines, read_tags, tags_bytes

FOLDERS = {"caption": "captions", "parse": "graphs", "candidates": "candidates", "tag": "tags"}
"""The folder of each stage that works in units, in their order."""
BEFORE = dict(zip(list(FOLDERS)[1:], list(FOLDERS), strict=False))
"""The stage whose units each stage reads."""
FORMAT = 1
PACKAGES = ("rlipv2", "torch", "transformers", "numpy", "pyarrow", "pillow")


class UnitError(ValueError):
    """A unit that cannot be used; the message names its file."""


@dataclass(frozen=True)
class UnitResult:
    """What a stage made of a unit.

    Attributes:
        rows: one per image that has something, in the order of the images: mappings for JSON, or (image id, `Tags`).
        failures: of images, in the order of the images.
        counts: how often something worth telling happened, "captions" for example.
    """

    rows: Sequence[Any]
    failures: Sequence[ImageFailure] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DoneRecord:
    """What is told about a complete unit.

    Attributes:
        unit: its number.
        images: images in its slice.
        rows: rows of the data file.
        failures: images that failed, by kind.
        counts: see `UnitResult`.
        digest: checksum of the data file.
        seconds: that it took; not compared with anything.
    """

    unit: int
    images: int
    rows: int
    failures: dict[str, int]
    counts: dict[str, int]
    digest: str
    seconds: float


@dataclass(frozen=True)
class StageFolder:
    """The units of one stage.

    Args:
        out: folder of the run.
        stage: "caption", "parse", "candidates" or "tag".
        settings: hash of all settings that its content depends on; see `Plan.chain`.
    """

    out: Path
    stage: str
    settings: str

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.out / FOLDERS[self.stage]

    def data(self, unit: int) -> Path:
        """The file of rows of a unit."""
        return self.folder / f"unit_{unit:06d}.{'parquet' if self.stage == 'tag' else 'jsonl'}"

    def errors(self, unit: int) -> Path:
        """The file of failures of a unit; there is none without failures."""
        return self.folder / f"unit_{unit:06d}.errors.jsonl"

    def done(self, unit: int) -> Path:
        """The done-record of a unit."""
        return self.folder / f"unit_{unit:06d}.done.json"

    def prepare(self) -> None:
        """Makes the folder, and removes what killed processes of this machine left in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)

    def problem(self, unit: int) -> str | None:
        """Why a unit is not complete, in words; None where it is."""
        try:
            self.record(unit)
        except UnitError as error:
            return str(error)
        return None

    def record(self, unit: int) -> DoneRecord:
        """The record of a complete unit, whose files were read and compared.

        Raises:
            UnitError: it is not complete.
        """
        body = _read_done(self.done(unit))
        if body["settings"] != self.settings:
            raise UnitError(f"{self.done(unit)}: made with other settings")
        self._check_inputs(unit, body)
        for name, told in body["files"].items():
            if _digest_of(self.folder / name) != told:
                raise UnitError(f"{self.folder / name}: not what its done-record tells, or gone")
        digest = body["files"][self.data(unit).name]
        return DoneRecord(unit, body["images"], body["rows"], body["failures"], body["counts"], digest, body["seconds"])

    def write(
        self, unit: int, result: UnitResult, *, images: int, made_from: str | None = None, seconds: float = 0.0
    ) -> None:
        """Writes a unit, its done-record last.

        Args:
            unit: its number.
            result: what to write.
            images: in its slice.
            made_from: checksum of the unit of the stage before, as `read` gave it; None where nothing was read.
            seconds: that it took.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        content = tags_bytes(result.rows) if self.stage == "tag" else json_lines(result.rows)
        files = {self.data(unit): content}
        if result.failures:
            files[self.errors(unit)] = json_lines([vars(failure) for failure in result.failures])
        else:
            self.errors(unit).unlink(missing_ok=True)
        for path, data in files.items():
            write_atomically(path, data)
        body = {
            "format": FORMAT,
            "stage": self.stage,
            "unit": unit,
            "images": images,
            "rows": len(result.rows),
            "failures": count_kinds(result.failures),
            "counts": dict(result.counts),
            "files": {path.name: hashlib.sha256(data).hexdigest() for path, data in files.items()},
            "settings": self.settings,
            "made_from": made_from,
            "versions": versions(),
            "seconds": round(seconds, 3),
        }
        write_atomically(self.done(unit), json.dumps(body | {"digest": _body_digest(body)}, indent=1) + "\n")

    def rows(self, unit: int) -> list[Any]:
        """The rows of a complete unit: mappings, or for tags (image id, `Tags`) of the images that have any.

        Raises:
            UnitError: its data file is not what the done-record tells.
        """
        return self.read(unit)[0]

    def read(self, unit: int) -> tuple[list[Any], str]:
        """The rows of a complete unit, and the checksum of the very bytes that they were read from.

        Raises:
            UnitError: its data file is not what the done-record tells.
        """
        path = self.data(unit)
        told = _read_done(self.done(unit))["files"].get(path.name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise UnitError(f"{path}: gone; run its stage again") from None
        found = hashlib.sha256(content).hexdigest()
        if found != told:
            raise UnitError(f"{path}: not what its done-record tells; run its stage again")
        rows = read_tags(content) if self.stage == "tag" else [json.loads(line) for line in content.splitlines()]
        return rows, found

    def failures(self, unit: int) -> list[ImageFailure]:
        """The images of a unit that failed."""
        path = self.errors(unit)
        if path.name not in _read_done(self.done(unit))["files"]:
            return []
        return [ImageFailure(**json.loads(line)) for line in path.read_bytes().splitlines()]

    def _check_inputs(self, unit: int, body: Mapping[str, Any]) -> None:
        """Refuses a unit where one that it was made from, or one that this was made from, is another one by now."""
        after = self
        while after.stage in BEFORE:
            before = StageFolder(self.out, BEFORE[after.stage], "")
            try:
                body_before = _read_done(before.done(unit))
            except UnitError:
                return  # nothing to compare with
            if body["made_from"] not in (None, body_before["files"][before.data(unit).name]):
                raise UnitError(f"{after.done(unit)}: made from another {before.stage} unit than the one that is there")
            after, body = before, body_before


def failures_of(folder: StageFolder, unit: int) -> list[ImageFailure]:
    """The failures of a unit; none where its record is gone."""
    try:
        return folder.failures(unit)
    except UnitError:
        return []


def count_kinds(failures: Iterable[ImageFailure]) -> dict[str, int]:
    """How many failures there are of each kind, sorted by kind."""
    counts: dict[str, int] = {}
    for failure in failures:
        counts[failure.kind] = counts.get(failure.kind, 0) + 1
    return dict(sorted(counts.items()))


def assigned(units: int, *, part: int, parts: int) -> Iterator[int]:
    """The units of one of several workers: those whose number modulo `parts` is `part`."""
    yield from range(part, units, parts)


def unit_seed(seed: int, stage: str, unit: int, number: int = 0) -> int:
    """A seed (63 bits) of the run, the stage, the unit and the place in the unit; whoever works on it gets the same."""
    text = f"{seed}/{stage}/{unit}/{number}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8]) >> 1


def versions() -> dict[str, str]:
    """Versions of the packages that content may depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def _read_done(path: Path) -> dict[str, Any]:
    try:
        body: dict[str, Any] = json.loads(path.read_bytes())
        told = body.pop("digest")
        if body["format"] != FORMAT or told != _body_digest(body):
            raise UnitError(f"{path}: damaged, or of another version")
    except FileNotFoundError:
        raise UnitError(f"{path}: not there") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UnitError(f"{path}: damaged ({error})") from error
    return body


def _body_digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _digest_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
