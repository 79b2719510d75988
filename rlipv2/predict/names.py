"""What the files in a folder of results are called. No torch in here."""

from pathlib import PurePosixPath

from rlipv2.predict.inputs import IMAGES, RESULT_FOLDERS, VIDEOS

PREDICTIONS, ERRORS, DONE_VIDEOS, RUN, PAGE = (
    "predictions.jsonl",
    "errors.jsonl",
    "videos.jsonl",
    "run.json",
    "index.html",
)
DRAWN, GRAPHS, GALLERY = RESULT_FOLDERS
THUMBNAILS, COPIES, DETAILS = f"{GALLERY}/thumbnails", f"{GALLERY}/pictures", f"{GALLERY}/details"
MARK = ".file"
"""Stands between the name of a file without a known extension and that of its picture."""


def picture_name(name: str) -> str:
    """The name of the JPEG file that belongs to an image or video; different names give different ones.

    Those of JPEG files stay; others get `.jpg` after their extension, and so does what would look like that.
    """
    return _output_name(name, (".jpg", ".jpeg"))


def video_name(name: str) -> str:
    """The name of the drawn mp4 of a video, made in the same way."""
    return _output_name(name, (".mp4",))


def _output_name(name: str, endings: tuple[str, ...]) -> str:
    path, known = PurePosixPath(name), IMAGES | VIDEOS
    if path.suffix.lower() not in known:
        return f"{name}{MARK}{endings[0]}"
    plain = path.suffix.lower() in endings and PurePosixPath(path.stem).suffix.lower() not in known | {MARK}
    return name if plain else f"{name}{endings[0]}"
