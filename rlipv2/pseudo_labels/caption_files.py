"""Captions that exist already: files of the official captioner, or captions of COCO."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.json_stream import Watch, iterate_members
from rlipv2.pseudo_labels.by_image import RecordsByImage, image_id_of

MEMBERS_OF_COCO = {"annotations", "images", "info", "licenses", "type", "categories"}


class CaptionFile(RecordsByImage):
    """The captions in a file, by image.

    Args:
        path: JSON, either `{"<image id>": [caption, ...], ...}` as the official captioner writes it, or captions of
            COCO, `{"annotations": [{"image_id": ..., "caption": ...}, ...], ...}`.
        index: see `RecordsByImage`.
    """

    def __init__(self, path: str | Path, *, index: str | Path | None = None) -> None:
        super().__init__(path, _captions, kind="captions", index=index)

    def captions_of(self, image_ids: Sequence[int]) -> list[list[str]]:
        """The captions of each image in file order; none for an image that the file does not list."""
        return self.records_of(image_ids)


def _captions(path: Path, watch: Watch) -> Iterator[tuple[int, str]]:
    """(image id, caption) of a file of either form."""
    of_coco = False
    for key, number, record in iterate_members(path, watch=watch):
        if key in MEMBERS_OF_COCO:  # others are image ids
            of_coco |= key == "annotations"
            if key == "annotations" and number >= 0:
                yield _of_coco(path, number, record)
            continue
        image = image_id_of(key)
        if image is None:
            if of_coco:
                continue
            todo = 'expected {"<image id>": [caption, ...]}, or captions of COCO'
            raise AnnotationError.in_file(path, f"{key!r} is no image id", todo)
        if number < 0 and record != []:
            todo = "expected a list of captions"
            raise AnnotationError.in_record(path, 0, key, field="captions", value=record, wrong="no list", todo=todo)
        if number >= 0:
            yield image, _text(path, number, key, record)


def _of_coco(path: Path, number: int, record: Any) -> tuple[int, str]:
    image = record.get("image_id") if isinstance(record, dict) else None
    if type(image) is not int:
        wrong, todo = "no integer", "every caption needs the id of its image"
        raise AnnotationError.in_record(path, number, image, field="image_id", value=image, wrong=wrong, todo=todo)
    return image, _text(path, number, image, record.get("caption"))


def _text(path: Path, number: int, image: object, caption: Any) -> str:
    if not isinstance(caption, str):
        wrong, todo = "no text", "write every caption as a JSON string"
        raise AnnotationError.in_record(path, number, image, field="caption", value=caption, wrong=wrong, todo=todo)
    return caption.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be stored
