"""Folders that exist completely or not at all."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: no lock, the rename below still lets only one writer win
    fcntl = None  # type: ignore[assignment]

SETTINGS_FILE = "microworld.json"


def read_settings(root: Path) -> dict[str, Any] | None:
    """The content of the settings file of a finished folder, None where there is no folder (or an empty one).

    Raises:
        FileExistsError: the folder holds something that is no micro-world.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        content = json.loads((root / SETTINGS_FILE).read_text(encoding="utf-8"))
        if not isinstance(content["settings"], dict):
            raise TypeError("settings is no mapping")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileExistsError(
            f"{root}: exists, but its {SETTINGS_FILE} cannot be read ({error!r}), so it is no finished micro-world; "
            "move the folder away or choose another one"
        ) from error
    return content


def _reusable(root: Path, settings: Mapping[str, Any]) -> bool:
    """Whether `root` is what is asked for; False where there is nothing, or the same from an older generator."""
    content = read_settings(root)
    if content is None:
        return False
    found = content["settings"]
    same_version = found.get("version") == settings["version"]
    # An older generator may not have known all of the settings.
    compared = {*found, *settings} if same_version else (found.keys() & settings.keys()) - {"version"}
    changed = {key: (found.get(key), settings.get(key)) for key in compared if found.get(key) != settings.get(key)}
    if changed:
        listing = ", ".join(f"{key}: {old} there, {new} asked for" for key, (old, new) in sorted(changed.items()))
        raise FileExistsError(
            f"{root}: holds a micro-world with other settings ({listing}); delete it or choose another folder"
        )
    return same_version


def build_once(
    root: Path, settings: Mapping[str, Any], write: Callable[[Path], Mapping[str, Any]], version: str
) -> bool:
    """Makes the folder `root` by `write(temporary folder)` unless it is there with equal settings and version.

    `write` returns what is stored next to the settings. The temporary folder lies next to `root` and is renamed at
    the very end; what another version wrote with equal settings is deleted then. Processes that start together wait
    for one lock file, also next to `root`; where the file system has no locks the first rename wins and the others
    take its result.

    Returns:
        Whether anything was written.

    Raises:
        FileExistsError: `root` holds something else, or a micro-world with other settings.
    """
    settings = {**settings, "version": version}
    root = Path(root)
    if _reusable(root, settings):
        return False
    root.parent.mkdir(parents=True, exist_ok=True)
    with _locked(root.parent / f".{root.name}.lock") as alone:
        if _reusable(root, settings):
            return False
        prefix = f".{root.name}.part-"
        if alone:  # what is left here belongs to a writer that was killed
            for leftover in root.parent.glob(f"{prefix}*"):
                shutil.rmtree(leftover, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=prefix, dir=root.parent))
        try:
            part.chmod(0o755)
            extra = write(part)
            text = json.dumps({"settings": settings, **extra}, indent=1, sort_keys=True)
            (part / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")
            return _rename(part, root, settings)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _rename(part: Path, root: Path, settings: Mapping[str, Any]) -> bool:
    outdated = part.with_name(f"{part.name}-outdated")
    try:
        if root.is_dir() and any(root.iterdir()) and not _reusable(root, settings):
            root.rename(outdated)
        part.rename(root)
    except OSError:
        if not _reusable(root, settings):
            raise
        return False
    finally:
        shutil.rmtree(outdated, ignore_errors=True)
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Waits for the lock on `path`; gives False where the platform or the file system has no locks."""
    with open(path, "a", encoding="utf-8") as file:
        alone = fcntl is not None
        if alone:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:
                alone = False
        yield alone
