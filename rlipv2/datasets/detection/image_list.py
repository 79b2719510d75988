"""Where each image of Objects365 lies, by its id: `python -m rlipv2.datasets convert objects365`."""

import logging
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

from rlipv2.datasets.detection.layouts import LAYOUTS, Split, find_annotations
from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json, write_json

logger = logging.getLogger(__name__)


def write_image_list(root: str | Path, target: str | Path) -> dict[str, int]:
    """Writes the paths of both splits' images relative to `root` and returns how many are listed and missing.

    Images without a file are left out, as in the official `image_id_to_filepath.json`.

    Raises:
        DatasetNotFoundError: the annotations of a split are not there.
        AnnotationError: a record of an image cannot be used.
    """
    root, listed, missing = Path(root).expanduser(), dict[str, str](), list[str]()
    present: dict[Path, set[str]] = defaultdict(set)
    for split in get_args(Split):
        for image, name in _images(find_annotations(root, split, "objects365")):
            path = Path(LAYOUTS["objects365"].image_path(split, name))
            if path.parent not in present and (root / path.parent).is_dir():
                present[path.parent] = {file.name for file in (root / path.parent).iterdir()}
            if path.name in present[path.parent]:
                listed[str(image)] = path.as_posix()
            else:
                missing.append(path.as_posix())
    if missing:
        logger.warning("%s: %d images have no file, such as %s", root, len(missing), ", ".join(missing[:5]))
    write_json(Path(target), listed)
    return {"listed": len(listed), "missing": len(missing)}


def _images(path: Path) -> list[tuple[int, str]]:
    """(id, file_name) of all images of an annotation file; its annotations are not kept."""
    content = read_json(path, keep=_image_or_list)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise AnnotationError.in_file(path, "no list 'images'", "expected instance annotations in the COCO format")
    for number, image in enumerate(images):
        if not isinstance(image, dict) or type(image.get("id")) is not int:
            raise AnnotationError.in_file(path, f"images[{number}] has no id or no file_name", "download it again")
    return [(image["id"], image["file_name"]) for image in images]


def _image_or_list(record: dict[str, Any]) -> dict[str, Any] | None:
    if "images" in record:
        return {"images": record["images"]}
    if isinstance(record.get("file_name"), str):
        return {"id": record.get("id"), "file_name": record["file_name"]}
    return None
