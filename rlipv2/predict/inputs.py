"""What the predict command looks at: image files, videos, folders of them, patterns. No torch in here."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

IMAGES = frozenset(
    f".{name}"
    for name in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"),
        *("ppm", "pgm", "pbm", "pnm", "tga", "avif", "heic", "heif", "jp2"),
    )
)
"""What counts as an image in a folder; a file that is named itself may have any extension."""
VIDEOS = frozenset(
    f".{name}"
    for name in (
        *("mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg"),
        *("wmv", "flv", "ts", "m2ts", "3gp", "ogv"),
    )
)
RESULT_FOLDERS = ("drawn", "graphs", "gallery")
"""What a run writes pictures to."""


class InputError(ValueError):
    """An argument that names nothing to look at."""


@dataclass(frozen=True)
class Source:
    """A file to predict on.

    Attributes:
        path: of the file.
        name: its path from `Inputs.root`, with forward slashes: what results call it.
    """

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether the file is a video, by its extension."""
        return self.path.suffix.lower() in VIDEOS


@dataclass(frozen=True)
class Inputs:
    """All files of a run in a fixed order.

    Attributes:
        root: the folder that names are relative to.
        sources: sorted by name, each file once.
        left_out: files in the folders that are neither images nor videos.
    """

    root: Path
    sources: tuple[Source, ...]
    left_out: int = 0

    @property
    def images(self) -> tuple[Source, ...]:
        """Those that are no videos."""
        return tuple(source for source in self.sources if not source.is_video)

    @property
    def videos(self) -> tuple[Source, ...]:
        """Those that are."""
        return tuple(source for source in self.sources if source.is_video)


def find_inputs(arguments: Sequence[str], *, recursive: bool = False, skip: Path | None = None) -> Inputs:
    """The files that arguments stand for: files, folders, and patterns with `*`, `?`, `[...]` and `**`.

    Names are relative to the folder given, or to the deepest folder that holds everything if there are several
    arguments. Links to folders are not followed. A file that an argument names is taken whatever it is called.

    Args:
        arguments: as typed; something that exists is never taken for a pattern.
        recursive: whether folders are searched with all folders in them. Hidden ones never are.
        skip: the folder of the results, which may lie among the images or be theirs: its pictures are not looked at.

    Raises:
        InputError: nothing of that name, a pattern that matches nothing, or no image or video at all.
    """
    found: dict[Path, None] = {}
    roots, left_out = [], 0
    skipped = {_absolute(skip / name) for name in RESULT_FOLDERS} if skip is not None else set()
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            kept, others = _of_folder(path, recursive=recursive, skipped=skipped)
            left_out += others
            if not kept:
                raise InputError(f"{argument}: {_nothing_in(path, others, recursive=recursive)}")
        elif path.exists():
            kept, path = [path], path.parent
        else:
            kept = _of_pattern(argument, skipped)
            path = _fixed_part(argument)
        roots.append(_absolute(path))
        found.update(dict.fromkeys(map(_absolute, kept)))
    root = Path(os.path.commonpath(roots))
    sources = (Source(path, path.relative_to(root).as_posix()) for path in found)
    return Inputs(root, tuple(sorted(sources, key=lambda source: source.name)), left_out)


def _absolute(path: Path) -> Path:
    """Without `..`, so that one file has one name; links stay as they are: their names are what users know."""
    return Path(os.path.abspath(path))


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in IMAGES | VIDEOS


def _of_folder(folder: Path, *, recursive: bool, skipped: set[Path]) -> tuple[list[Path], int]:
    """Images and videos of a folder, and how many other files there are."""
    kept: list[Path] = []
    others = 0
    for place, folders, files in os.walk(folder):
        below = [name for name in folders if not name.startswith(".") and _absolute(Path(place, name)) not in skipped]
        folders[:] = sorted(below) if recursive else []
        paths = [Path(place, name) for name in files if not name.startswith(".")]
        known = [path for path in paths if _is_known(path)]
        kept += known
        others += len(paths) - len(known)
    return kept, others


def _nothing_in(folder: Path, others: int, *, recursive: bool) -> str:
    wrong = f"no image or video in this folder ({others} other files)"
    if not recursive and any(path.is_dir() for path in folder.iterdir()):
        return f"{wrong}; --recursive looks into the folders in it too"
    return wrong


def _of_pattern(pattern: str, skipped: set[Path]) -> list[Path]:
    if not glob.has_magic(pattern):
        raise InputError(f"{pattern}: no such file or folder")
    matches: Iterable[Path] = (Path(match) for match in glob.glob(pattern, recursive=True))
    kept = [
        path
        for path in matches
        if path.is_file() and _is_known(path) and not skipped.intersection(_absolute(path).parents)
    ]
    if not kept:
        raise InputError(f"{pattern}: no image or video matches this pattern")
    return kept


def _fixed_part(pattern: str) -> Path:
    """The folder that a pattern starts from."""
    parts = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)
