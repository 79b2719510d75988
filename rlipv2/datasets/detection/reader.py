"""Reads instance annotations in the COCO format into flat arrays, and names every record it cannot use."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from rlipv2.datasets.detection.records import DetectionRecords
from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json
from rlipv2.vocabularies import ObjectVocabulary


def read_instances(
    path: str | Path, vocabulary: ObjectVocabulary, *, image_path: Callable[[str], str] = str
) -> DetectionRecords:
    """The records of an instances file: all images in file order, all boxes, crowds and boxes without area too.

    Categories are mapped by id, never by their position: those of Objects365 are not in order. A missing
    `iscrowd` means 0, a missing `area` width times height. The whole file is parsed at once, which takes
    about five times its size in memory for a moment.

    Args:
        path: JSON with `images`, `annotations` and `categories`.
        vocabulary: the classes; names in the file are compared with it.
        image_path: `file_name` of a record to the path relative to the root of the dataset.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
    """
    path = Path(path)
    content = _read(path)
    _check_categories(content["categories"], path, vocabulary)
    return _to_records(content, path, vocabulary, image_path)


def read_any_instances(path: str | Path) -> tuple[DetectionRecords, ObjectVocabulary]:
    """The records of an instances file with the classes that it declares itself, whatever dataset it is of.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
    """
    path = Path(path)
    content = _read(path)
    categories = content["categories"]
    for number, category in enumerate(categories):
        if not isinstance(category, Mapping) or type(category.get("id")) is not int or category["id"] < 0:
            raise AnnotationError.in_file(path, f"categories[{number}] has no id", "expected a number from 0")
    ids = [category["id"] for category in categories]
    if len(set(ids)) != len(ids):
        raise AnnotationError.in_file(path, "categories: an id is listed twice", "list every class once")
    names = tuple(str(category.get("name", category["id"])) for category in categories)
    vocabulary = ObjectVocabulary(names=names, category_ids=np.array(ids, np.int64), raw_names=names)
    return _to_records(content, path, vocabulary, str), vocabulary


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise AnnotationError.in_file(path, f"no list {key!r}", "expected instance annotations in the COCO format")
    return dict(content)


def _to_records(
    content: dict[str, Any], path: Path, vocabulary: ObjectVocabulary, image_path: Callable[[str], str]
) -> DetectionRecords:
    images, annotations = content["images"], content["annotations"]
    image_ids = _image_ids(images, path)
    owners = _owners(annotations, image_ids, path)
    order = np.argsort(owners, kind="stable")  # keeps the order of the file within an image, as COCO's tools do
    boxes = _boxes(annotations, path)
    area = _numbers(annotations, "area", path, default=boxes[:, 2:].prod(axis=1))
    crowd = _numbers(annotations, "iscrowd", path, default=np.zeros(len(boxes)))
    _check(~np.isin(crowd, (0, 1)), annotations, path, "iscrowd", "neither 0 nor 1", "correct this annotation")
    names = [image_path(str(name)) for name in _texts(images, "file_name", path)]
    return DetectionRecords(
        image_ids=image_ids,
        file_names=np.array([name.encode() for name in names], dtype=np.bytes_),
        sizes=np.stack([_sizes(images, "height", path), _sizes(images, "width", path)], axis=1),
        boxes=boxes[order],
        labels=_labels(annotations, path, vocabulary)[order],
        areas=area[order],
        crowd=crowd[order] == 1,
        box_ptr=np.searchsorted(owners[order], np.arange(len(images) + 1)).astype(np.int64),
    )


def _check_categories(categories: Sequence[Any], path: Path, vocabulary: ObjectVocabulary) -> None:
    """Ids and names of the file must be those of the vocabulary; capitals and spaces around do not count."""
    for number, category in enumerate(categories):
        if not isinstance(category, Mapping) or not {"id", "name"} <= category.keys():
            raise AnnotationError.in_file(path, f"categories[{number}] has no id and name", "expected both")
        row = vocabulary.rows.get(category["id"]) if type(category["id"]) is int else None
        known = () if row is None else (vocabulary.names[row], vocabulary.raw_names[row])
        if str(category["name"]).strip().lower() not in {name.strip().lower() for name in known}:
            expected = f"this id is {known[0]!r}" if known else "no class of the vocabulary has this id"
            raise AnnotationError.in_file(
                path,
                f"categories[{number}]: id={category['id']!r}, name={category['name']!r}: {expected}",
                "is this the file of another dataset? give the vocabulary that belongs to it",
            )


def _image_ids(images: Sequence[Any], path: Path) -> Int[np.ndarray, " i"]:
    for number, image in enumerate(images):
        if not isinstance(image, Mapping) or type(image.get("id")) is not int:
            raise _image_error(images, number, path, "id", "no integer", "expected a unique number per image")
    ids = np.array([image["id"] for image in images], np.int64)
    unique, first = np.unique(ids, return_index=True)
    if len(unique) != len(ids):
        number = int(np.setdiff1d(np.arange(len(ids)), first)[0])
        raise _image_error(images, number, path, "id", "the image is listed twice", "list every image once")
    return ids


def _texts(images: Sequence[Mapping[str, Any]], field: str, path: Path) -> list[str]:
    values = [image.get(field) for image in images]
    for number, value in enumerate(values):
        if not isinstance(value, str) or not value:
            raise _image_error(images, number, path, field, "no file name", "expected the name of the image file")
    return values  # type: ignore[return-value]


def _sizes(images: Sequence[Mapping[str, Any]], field: str, path: Path) -> Int[np.ndarray, " i"]:
    values = [image.get(field) for image in images]
    for number, value in enumerate(values):
        if type(value) is not int or value < 1:
            raise _image_error(images, number, path, field, "no size in pixels", "expected a whole number from 1")
    return np.array(values, np.int64)


def _image_error(images: Sequence[Any], number: int, path: Path, field: str, wrong: str, todo: str) -> AnnotationError:
    image = images[number] if isinstance(images[number], Mapping) else {}
    return AnnotationError.in_record(
        path, number, image.get("id"), field=f"images.{field}", value=image.get(field), wrong=wrong, todo=todo
    )


def _owners(annotations: Sequence[Any], image_ids: Int[np.ndarray, " i"], path: Path) -> Int[np.ndarray, " n"]:
    """Position of each annotation's image."""
    rows = {int(number): row for row, number in enumerate(image_ids)}
    try:
        owners = np.array([rows.get(annotation["image_id"], -1) for annotation in annotations], np.int64)
    except (TypeError, KeyError, AttributeError):
        bad = np.array([not isinstance(a, Mapping) or type(a.get("image_id")) is not int for a in annotations])
        _check(bad, annotations, path, "image_id", "no integer", "every annotation needs the id of its image")
        raise
    _check(owners < 0, annotations, path, "image_id", "no such image in this file", "correct or remove it")
    return owners


def _labels(annotations: Sequence[Any], path: Path, vocabulary: ObjectVocabulary) -> Int[np.ndarray, " n"]:
    ids = [annotation.get("category_id") for annotation in annotations]
    labels = np.array([vocabulary.rows.get(number, -1) if type(number) is int else -1 for number in ids], np.int64)
    if (labels < 0).any():
        numbers = {number for number in ids if type(number) is int}
        contiguous = 0 in numbers and max(numbers) < len(vocabulary)
        hint = ": these look like rows from 0, not the ids of the release" if contiguous else ""
        wrong = f"no category id of this dataset{hint}"
        _check(labels < 0, annotations, path, "category_id", wrong, "write the ids of the release")
    return labels


def _boxes(annotations: Sequence[Any], path: Path) -> np.ndarray:
    boxes = [annotation.get("bbox") for annotation in annotations]
    if not all(type(box) is list and len(box) == 4 and {*map(type, box)} <= {int, float} for box in boxes):
        bad = [not (type(box) is list and len(box) == 4 and {*map(type, box)} <= {int, float}) for box in boxes]
        todo = "expected [x, y, width, height] in pixels, as numbers"
        _check(np.array(bad), annotations, path, "bbox", "not four numbers", todo)
    array = np.array(boxes, np.float64).reshape(-1, 4)
    infinite = np.asarray((~np.isfinite(array)).any(axis=1))
    _check(infinite, annotations, path, "bbox", "not finite", "correct or remove this box")
    return array


def _numbers(annotations: Sequence[Any], field: str, path: Path, *, default: np.ndarray) -> np.ndarray:
    """Numbers from 0 under a field; those of `default` where an annotation lacks it."""
    values = [annotation.get(field) for annotation in annotations]
    bad = np.array([value is not None and type(value) not in (int, float) for value in values], dtype=bool)
    _check(bad, annotations, path, field, "not a number", "write it as a plain JSON number")
    array = np.array([np.nan if value is None else value for value in values], np.float64)
    missing = np.array([value is None for value in values], dtype=bool)
    array = np.where(missing, default, array)
    wrong = ~np.isfinite(array) | ((array < 0) & ~missing)
    _check(wrong, annotations, path, field, "not a number from 0", "correct this annotation")
    return array


def _check(
    bad: Bool[np.ndarray, " n"], annotations: Sequence[Any], path: Path, field: str, wrong: str, todo: str
) -> None:
    """Raises the error for the first annotation where `bad` is true; records count through `annotations`."""
    if bad.any():
        number = int(np.flatnonzero(bad)[0])
        found = annotations[number] if isinstance(annotations[number], Mapping) else {}
        raise AnnotationError.in_record(
            path,
            number,
            found.get("image_id"),
            field=f"annotations.{field}",
            value=found.get(field),
            wrong=wrong,
            todo=todo,
            more=int(bad.sum()) - 1,
        )
