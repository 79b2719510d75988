"""The values of instance annotations as arrays, every one of them checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.store.columns import Columns
from rlipv2.datasets.store.grouping import chunks
from rlipv2.vocabularies import ObjectVocabulary


def declared_vocabulary(categories: Sequence[Any], path: Path) -> ObjectVocabulary:
    """The classes that a file declares itself."""
    for number, category in enumerate(categories):
        if not isinstance(category, Mapping) or type(category.get("id")) is not int or category["id"] < 0:
            raise AnnotationError.in_file(path, f"categories[{number}] has no id", "expected a number from 0")
    ids = [category["id"] for category in categories]
    if len(set(ids)) != len(ids):
        raise AnnotationError.in_file(path, "categories: an id is listed twice", "list every class once")
    names = tuple(str(category.get("name", category["id"])) for category in categories)
    return ObjectVocabulary(names=names, category_ids=np.array(ids, np.int64), raw_names=names)


def check_categories(categories: Sequence[Any], path: Path, vocabulary: ObjectVocabulary) -> None:
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


def image_ids(images: Sequence[Any], path: Path, first: int) -> Int[np.ndarray, " i"]:
    """The id of each image; `first`, here and below, is the number of the first of these records in the file."""
    for number, image in enumerate(images):
        if not isinstance(image, Mapping) or type(image.get("id")) is not int:
            raise _image_error(image, first + number, path, "id", "no integer", "expected a unique number per image")
    return np.array([image["id"] for image in images], np.int64)


def texts(images: Sequence[Mapping[str, Any]], field: str, path: Path, first: int) -> list[str]:
    """A text of each image."""
    values = [image.get(field) for image in images]
    for number, value in enumerate(values):
        if not isinstance(value, str) or not value:
            todo = "expected the name of the image file"
            raise _image_error(images[number], first + number, path, field, "no file name", todo)
    return values  # type: ignore[return-value]


def sizes(images: Sequence[Mapping[str, Any]], field: str, path: Path, first: int) -> Int[np.ndarray, " i"]:
    """Height or width of each image."""
    values = [image.get(field) for image in images]
    for number, value in enumerate(values):
        if type(value) is not int or value < 1:
            todo = "expected a whole number from 1"
            raise _image_error(images[number], first + number, path, field, "no size in pixels", todo)
    return np.array(values, np.int64)


def _image_error(image: Any, number: int, path: Path, field: str, wrong: str, todo: str) -> AnnotationError:
    image = image if isinstance(image, Mapping) else {}
    return AnnotationError.in_record(
        path, number, image.get("id"), field=f"images.{field}", value=image.get(field), wrong=wrong, todo=todo
    )


def image_numbers(annotations: Sequence[Any], path: Path, first: int) -> Int[np.ndarray, " n"]:
    """The id of the image of each annotation."""
    bad = np.array([not isinstance(a, Mapping) or type(a.get("image_id")) is not int for a in annotations], bool)
    check(bad, annotations, path, first, "image_id", "no integer", "every annotation needs the id of its image")
    return np.array([annotation["image_id"] for annotation in annotations], np.int64)


def owners_of(numbers: Any, image_ids: Any, path: Path, columns: Columns) -> Int[np.ndarray, " n"]:
    """Position of each annotation's image, in a column of its own; image ids must be unique."""
    order = np.argsort(image_ids, kind="stable").astype(np.int32)
    in_order = image_ids[order]
    doubled = np.flatnonzero(in_order[1:] == in_order[:-1])
    if len(doubled):
        number = int(order[doubled + 1].min())
        image = {"id": int(image_ids[number])}
        raise _image_error(image, number, path, "id", "the image is listed twice", "list every image once")
    columns.append(owners=order[:0])
    first = 0
    for part in chunks(numbers):
        places = np.minimum(np.searchsorted(in_order, part), len(in_order) - 1)
        unknown = in_order[places] != part if len(in_order) else np.ones(len(part), bool)
        if unknown.any():
            row = int(np.flatnonzero(unknown)[0])
            found = {"image_id": int(part[row])}
            wrong, todo = "no such image in this file", "correct or remove it"
            raise _annotation_error(found, first + row, path, "image_id", wrong, todo)
        columns.append(owners=order[places])
        first += len(part)
    return columns.arrays()["owners"]


def category_ids(annotations: Sequence[Any], path: Path, first: int) -> Int[np.ndarray, " n"]:
    """The category id of each annotation, known or not."""
    ids = [annotation.get("category_id") for annotation in annotations]
    bad = np.array([type(number) is not int for number in ids], bool)
    wrong, todo = "no category id of this dataset", "write the ids of the release"
    check(bad, annotations, path, first, "category_id", wrong, todo)
    return np.array(ids, np.int64)


def labels_of(
    ids: Any,
    owners: Int[np.ndarray, " n"],
    image_ids: Any,
    vocabulary: ObjectVocabulary,
    *,
    path: Path,
    columns: Columns,
) -> Int[np.ndarray, " n"]:
    """Rows of the vocabulary of category ids, in a column of their own."""
    order = np.argsort(vocabulary.category_ids).astype(np.int32)
    known = np.asarray(vocabulary.category_ids)[order]
    columns.append(labels=order[:0])
    number, first, unknown = -1, 0, 0
    for part in chunks(ids):
        places = np.minimum(np.searchsorted(known, part), len(known) - 1)
        bad = np.flatnonzero(known[places] != part)
        if len(bad) and not unknown:
            number = first + int(bad[0])
        unknown += len(bad)
        first += len(part)
        columns.append(labels=order[places])
    if unknown:
        found = {"image_id": int(image_ids[owners[number]]), "category_id": int(ids[number])}
        contiguous = bool((ids == 0).any() and ids.max() < len(vocabulary))
        hint = ": these look like rows from 0, not the ids of the release" if contiguous else ""
        wrong, todo = f"no category id of this dataset{hint}", "write the ids of the release"
        raise _annotation_error(found, number, path, "category_id", wrong, todo, more=unknown - 1)
    return columns.arrays()["labels"]


def boxes_xywh(annotations: Sequence[Any], path: Path, first: int) -> np.ndarray:
    """Rows x y w h."""
    boxes = [annotation.get("bbox") for annotation in annotations]
    if not all(type(box) is list and len(box) == 4 and {*map(type, box)} <= {int, float} for box in boxes):
        bad = [not (type(box) is list and len(box) == 4 and {*map(type, box)} <= {int, float}) for box in boxes]
        todo = "expected [x, y, width, height] in pixels, as numbers"
        check(np.array(bad), annotations, path, first, "bbox", "not four numbers", todo)
    array = np.array(boxes, np.float64).reshape(-1, 4)
    infinite = np.asarray((~np.isfinite(array)).any(axis=1))
    check(infinite, annotations, path, first, "bbox", "not finite", "correct or remove this box")
    return array


def numbers(annotations: Sequence[Any], field: str, path: Path, first: int, *, default: np.ndarray) -> np.ndarray:
    """Numbers from 0 under a field; those of `default` where an annotation lacks it."""
    values = [annotation.get(field) for annotation in annotations]
    bad = np.array([value is not None and type(value) not in (int, float) for value in values], dtype=bool)
    check(bad, annotations, path, first, field, "not a number", "write it as a plain JSON number")
    array = np.array([np.nan if value is None else value for value in values], np.float64)
    missing = np.array([value is None for value in values], dtype=bool)
    array = np.where(missing, default, array)
    wrong = ~np.isfinite(array) | ((array < 0) & ~missing)
    check(wrong, annotations, path, first, field, "not a number from 0", "correct this annotation")
    return array


def check(
    bad: Bool[np.ndarray, " n"],
    annotations: Sequence[Any],
    path: Path,
    first: int,
    field: str,
    wrong: str,
    todo: str,
) -> None:
    """Raises the error for the first annotation where `bad` is true; records count through `annotations`."""
    if bad.any():
        number = int(np.flatnonzero(bad)[0])
        more = int(bad.sum()) - 1
        raise _annotation_error(annotations[number], first + number, path, field, wrong, todo, more=more)


def _annotation_error(
    found: Any, number: int, path: Path, field: str, wrong: str, todo: str, *, more: int = 0
) -> AnnotationError:
    found = found if isinstance(found, Mapping) else {}
    return AnnotationError.in_record(
        path,
        number,
        found.get("image_id"),
        field=f"annotations.{field}",
        value=found.get(field),
        wrong=wrong,
        todo=todo,
        more=more,
    )
