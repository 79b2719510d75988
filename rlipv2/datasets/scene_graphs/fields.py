"""The values of scene-graph records as arrays, every one of them checked."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float, Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.numbers import Locator, integers
from rlipv2.structures import LabelSpace

BOX_FIELDS = ("x", "y", "w", "h")
OBJECT_FIELDS = ("object_id", *BOX_FIELDS, "names")
RELATION_FIELDS = ("predicate", "subject_id", "object_id")


def columns(
    content: Sequence[Any], path: Path, first: int
) -> tuple[list[Any], dict[str, list[Any]], dict[str, list[Any]]]:
    """Image ids, and every field of all objects and relations, end to end.

    Args:
        content: some records.
        path: the annotation file.
        first: number of the first of these records in the file.

    Raises:
        AnnotationError: a record that is not built as described.
    """
    try:
        ids = [record["image_id"] for record in content]
        parts = [list(itertools.chain.from_iterable(r[part] for r in content)) for part in ("objects", "relationships")]
        objects = {name: [row[name] for row in parts[0]] for name in OBJECT_FIELDS}
        relations = {name: [row[name] for row in parts[1]] for name in RELATION_FIELDS}
        relations["confidence"] = [row.get("confidence") for row in parts[1]]
    except (KeyError, TypeError, AttributeError):
        _raise_for_structure(content, path, first)
    lists = {type(record[part]) for record in content for part in ("objects", "relationships")}
    if lists != {list} or not {type(image) for image in ids} <= {int, str}:
        _raise_for_structure(content, path, first)
    return ids, objects, relations


def boxes_xywh(objects: dict[str, list[Any]], where: Locator) -> Float[np.ndarray, "n 4"]:
    """Rows x y w h."""
    stacked = []
    for name in BOX_FIELDS:
        values, field = objects[name], f"objects[].{name}"
        if not set(map(type, values)) <= {int, float}:
            bad = np.array([type(value) not in (int, float) for value in values], bool)
            where.check(bad, values, field=field, wrong="not a number", todo="expected pixels, without quotes")
        column = np.array(values, np.float64)
        where.check(~np.isfinite(column), values, field=field, wrong="not finite", todo="correct or remove this box")
        stacked.append(column)
    return np.stack(stacked, axis=1)


def names_of(
    rows: dict[str, list[Any]], key: str, where: Locator, field: str, numbers: dict[str, int], lower_case: bool
) -> Int[np.ndarray, " n"]:
    """The number of each name; -1 for blank names. New names are added to `numbers`."""
    values = rows[key]
    if not set(map(type, values)) <= {str}:
        todo = "expected one name"
        if any(isinstance(value, list) for value in values):
            todo += "; lists are those of the original scene_graphs.json: use the preprocessed file of RLIP"
        bad = np.array([not isinstance(value, str) for value in values], bool)
        where.check(bad, values, field=field, wrong="not a text", todo=todo)
    if lower_case:
        values = [value.lower() for value in values]
    background = np.array([value == LabelSpace.NO_OBJECT for value in values], bool)
    if key == "names":
        todo = "this text stands for the background: rename or remove the object"
        where.check(background, values, field=field, wrong="reserved name", todo=todo)
    labels = [numbers.setdefault(value, len(numbers)) if value.strip() else -1 for value in values]
    return np.array(labels, np.int32)


def confidences_of(relations: dict[str, list[Any]], where: Locator) -> Float[np.ndarray, " h"]:
    """Of relations, from 0 to 1; infinite where a record tells none."""
    values, field = relations["confidence"], "relationships[].confidence"
    bad = np.array([value is not None and type(value) not in (int, float) for value in values], bool)
    where.check(bad, values, field=field, wrong="not a number", todo="expected 0 to 1, or no such field")
    # float64: the cut at 0.20 is exact
    numbers = np.array([np.inf if value is None else value for value in values], np.float64)
    told = np.array([value is not None for value in values], bool)
    outside = told & ~((numbers >= 0) & (numbers <= 1))
    where.check(outside, values, field=field, wrong="out of range", todo="expected 0 to 1, or no such field")
    return numbers


def joined_rows(
    objects: dict[str, list[Any]], relations: dict[str, list[Any]], box_rows: Locator, relation_rows: Locator
) -> Int[np.ndarray, "h 2"]:
    """(subject, object) of each relation as rows of all objects; -1 where the record has no such object."""
    ids = integers(objects["object_id"], box_rows, "objects[].object_id")
    ends = [integers(relations[name], relation_rows, f"relationships[].{name}") for name in ("subject_id", "object_id")]
    columns = ([], [])  # type: tuple[list[int], list[int]]
    for image in range(len(box_rows.ptr) - 1):
        start, stop = box_rows.ptr[image : image + 2].tolist()
        rows = {number: start + row for row, number in enumerate(ids[start:stop].tolist())}
        part = slice(*relation_rows.ptr[image : image + 2].tolist())
        for column, values in zip(columns, ends, strict=True):
            column.extend(rows.get(number, -1) for number in values[part].tolist())
    return np.array(columns, np.int64).T.reshape(-1, 2)


def _raise_for_structure(content: Iterable[Any], path: Path, first: int) -> NoReturn:
    """Finds the record that is not built as described and raises its error."""
    for number, record in enumerate(content, start=first):
        image = record.get("image_id", "?") if isinstance(record, dict) else "?"

        def fail(field: str, value: Any, wrong: str, *, number: int = number, image: Any = image) -> NoReturn:
            todo = "expected a scene graph: image_id, objects, relationships"
            raise AnnotationError.in_record(path, number, image, field=field, value=value, wrong=wrong, todo=todo)

        if not isinstance(record, dict):
            fail("record", record, "not an object")
        if type(image) not in (int, str) or image == "?":
            fail("image_id", record.get("image_id"), "missing, or neither a number nor a text")
        for part, needed in (("objects", OBJECT_FIELDS), ("relationships", RELATION_FIELDS)):
            rows = record.get(part)
            if not isinstance(rows, list):
                fail(part, rows, "missing or not a list")
            for index, row in enumerate(rows):
                missing = [key for key in needed if not isinstance(row, dict) or key not in row]
                if missing:
                    fail(f"{part}[{index}]", row, f"without {', '.join(missing)}")
    raise AnnotationError.in_file(path, "not built as a list of scene graphs", "expected one record per image")
