"""Reads the images of V-COCO out of COCO's instance annotations, a file of half a gigabyte, in little memory."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json
from rlipv2.vocabularies import VCOCOVocabulary

FIELDS = ("id", "image_id", "category_id", "bbox", "iscrowd", "area")


@dataclass(frozen=True)
class CocoImage:
    """An image of COCO with its annotations, as dictionaries with `FIELDS`, in the order of the file."""

    path: Path
    file_name: str
    size: tuple[int, int]
    annotations: list[dict[str, Any]]


def read_images(paths: Sequence[Path], wanted: Collection[int], vocabulary: VCOCOVocabulary) -> dict[int, CocoImage]:
    """The wanted images by id; those that none of the files holds are missing from the result.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: no instances file, or an image or annotation that cannot be used; names the record.
    """
    images: dict[int, CocoImage] = {}
    for path in paths:
        content = read_json(path, keep=_keep(wanted))
        if not isinstance(content, dict) or not all(
            isinstance(content.get(k), list) for k in ("images", "annotations")
        ):
            todo = "expected instances_train2014.json, instances_val2014.json or instances_vcoco_all_2014.json"
            raise AnnotationError.in_file(path, "no instance annotations of COCO", todo)
        owned: dict[int, list[dict[str, Any]]] = defaultdict(list)
        seen: set[int] = set()
        for number, annotation in enumerate(content["annotations"]):
            if annotation is not None:
                _check_annotation(path, number, annotation, vocabulary)
                if annotation["id"] in seen:
                    raise _error(path, number, annotation, "id", "the id is used twice", "download the file again")
                seen.add(annotation["id"])
                owned[annotation["image_id"]].append(annotation)
        for number, image in enumerate(content["images"]):
            if isinstance(image, dict) and type(image.get("id")) is int and image["id"] in wanted:
                size = _check_image(path, number, image)
                images.setdefault(image["id"], CocoImage(path, image["file_name"], size, owned[image["id"]]))
    return images


def _keep(wanted: Collection[int]) -> Any:
    """Drops annotations of other images, and segmentations, while the file is parsed."""

    def keep(part: dict[str, Any]) -> Any:
        if "image_id" not in part:
            return part
        image = part["image_id"]
        if isinstance(image, int) and image not in wanted:
            return None
        return {key: part[key] for key in (*FIELDS, "ignore") if key in part}

    return keep


def _check_image(path: Path, number: int, image: dict[str, Any]) -> tuple[int, int]:
    name, size = image.get("file_name"), (image.get("height"), image.get("width"))
    if not isinstance(name, str) or not name:
        raise _image_error(path, number, image, "file_name", name, "no file name")
    if any(type(side) is not int or side < 1 for side in size):
        raise _image_error(path, number, image, "height, width", size, "no size in pixels")
    return size  # type: ignore[return-value]


def _image_error(path: Path, number: int, image: dict[str, Any], field: str, value: Any, wrong: str) -> AnnotationError:
    todo = "download the annotations of COCO 2014 again"
    return AnnotationError.in_record(
        path, number, image["id"], field=f"images.{field}", value=value, wrong=wrong, todo=todo
    )


def _check_annotation(path: Path, number: int, annotation: Any, vocabulary: VCOCOVocabulary) -> None:
    if not isinstance(annotation, dict) or not set(FIELDS) <= annotation.keys():
        missing = [key for key in FIELDS if not isinstance(annotation, dict) or key not in annotation]
        raise _error(path, number, annotation, missing[0], "missing", f"an annotation needs {', '.join(FIELDS)}")
    for field in ("id", "image_id", "category_id", "iscrowd", "ignore"):
        if type(annotation.get(field, 0)) is not int:
            raise _error(path, number, annotation, field, "not an integer", "write it as a plain JSON integer")
    category, rows = annotation["category_id"], vocabulary.coco_rows
    if not (0 <= category < len(rows) and rows[category] >= 0):
        hint = f"expected one of the {len(vocabulary.coco_ids)} COCO ids (1 to 90 with gaps)"
        raise _error(path, number, annotation, "category_id", "unknown class id", hint)
    box = annotation["bbox"]
    if not isinstance(box, list) or len(box) != 4 or any(type(value) not in (int, float) for value in box):
        raise _error(path, number, annotation, "bbox", "not four numbers", "expected [x, y, width, height] in pixels")
    if type(annotation["area"]) not in (int, float) or not np.isfinite([*box, annotation["area"]]).all():
        raise _error(path, number, annotation, "bbox, area", "not finite numbers", "correct this annotation")


def _error(path: Path, number: int, annotation: Any, field: str, wrong: str, todo: str) -> AnnotationError:
    values = annotation if isinstance(annotation, dict) else {}
    value = [values.get(name) for name in field.split(", ")] if ", " in field else values.get(field)
    return AnnotationError.in_record(
        path, number, values.get("image_id", "?"), field=f"annotations.{field}", value=value, wrong=wrong, todo=todo
    )
