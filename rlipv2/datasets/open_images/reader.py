"""Reader of both annotation formats of Open Images v6 (scene graphs), all values checked.

`vrd`: a list of records with `img_fn` (no extension), `img_size` [width, height], `bbox` [[x1, y1, x2, y2]],
`det_labels` and `rel` [[subject, object, relation]]. `rlipv2` (official: convert_OI_annotations.py): `file_name`,
`annotations` [{bbox, category_id}] and `rel_annotations` [{subject_id, object_id, category_id}]. All ids count from 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rlipv2.datasets import numbers
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.files import read_json
from rlipv2.datasets.numbers import Locator
from rlipv2.datasets.open_images.files import README, Categories, Kind
from rlipv2.structures import RelationRecords

LISTS: dict[Kind, tuple[str, ...]] = {
    "vrd": ("bbox", "det_labels", "rel"),
    "rlipv2": ("annotations", "rel_annotations"),
}
NAMES: dict[Kind, str] = {"vrd": "img_fn", "rlipv2": "file_name"}
BOX_FIELDS, RELATION_FIELDS = ("bbox", "category_id"), ("subject_id", "object_id", "category_id")


@dataclass(frozen=True)
class Columns:
    """What both formats hold, one entry per image and still unchecked, and what the fields are called in errors."""

    file_names: tuple[str, ...]
    sizes: list[Any] | None
    boxes: list[list[Any]]
    labels: list[list[Any]]
    relations: list[list[Any]]
    box_field: str
    label_field: str
    relation_field: str


def read(path: Path, categories: Categories) -> RelationRecords:
    """The records of an annotation file, whose format is told from its content.

    All records in file order, nothing dropped: a relation may refer to a box that does not exist. Labels are rows
    of `categories`, image ids the positions in the file.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: a field is missing or has the wrong type, or an id does not exist; names the record.
    """
    if not path.is_file():
        raise DatasetNotFoundError.missing("annotation file", path, f"see {README}")
    content = read_json(path)
    if not isinstance(content, list) or not content:
        todo = "expected vrd-*-anno.json (img_fn, bbox, det_labels, rel) or OI_SGG_*.json (file_name, rel_annotations)"
        raise AnnotationError.in_file(path, "not a list of records, or an empty one", todo)
    kind: Kind = "vrd" if isinstance(content[0], dict) and "img_fn" in content[0] else "rlipv2"
    _require_fields(content, path, kind)
    columns = _vrd(content, path) if kind == "vrd" else _rlipv2(content, path)
    box_rows = Locator(path, columns.file_names, numbers.pointers(map(len, columns.boxes)))
    relation_rows = Locator(path, columns.file_names, numbers.pointers(map(len, columns.relations)))
    labels = numbers.integers(list(chain.from_iterable(columns.labels)), box_rows, columns.label_field)
    _check_ids(labels, box_rows, columns.label_field, len(categories.objects), categories.path)
    return RelationRecords(
        image_ids=np.arange(len(content)),
        file_names=columns.file_names,
        sizes=_sizes(columns, path),
        boxes=numbers.box_array(list(chain.from_iterable(columns.boxes)), box_rows, columns.box_field).astype(
            np.float32
        ),
        labels=labels,
        box_ptr=box_rows.ptr,
        relations=_relations(columns, relation_rows, categories),
        relation_ptr=relation_rows.ptr,
    )


def _vrd(content: list[Any], path: Path) -> Columns:
    file_names = tuple(f"{record['img_fn']}.jpg" for record in content)
    images = Locator(path, file_names, np.arange(len(content) + 1))
    lengths = [(len(record["bbox"]), len(record["det_labels"])) for record in content]
    images.check(
        np.array([boxes != labels for boxes, labels in lengths]),
        lengths,
        field="(boxes, det_labels)",
        wrong="lengths differ",
        todo="expected one label for each box",
    )
    return Columns(
        file_names=file_names,
        sizes=[record.get("img_size") for record in content],
        boxes=[record["bbox"] for record in content],
        labels=[record["det_labels"] for record in content],
        relations=[record["rel"] for record in content],
        box_field="bbox[]",
        label_field="det_labels[]",
        relation_field="rel[]",
    )


def _rlipv2(content: list[Any], path: Path) -> Columns:
    file_names = tuple(record["file_name"] for record in content)
    for field, needed in (("annotations", BOX_FIELDS), ("rel_annotations", RELATION_FIELDS)):
        rows = Locator(path, file_names, numbers.pointers(len(record[field]) for record in content))
        entries = list(chain.from_iterable(record[field] for record in content))
        rows.check(
            np.array(
                [not isinstance(entry, dict) or any(key not in entry for key in needed) for entry in entries], bool
            ),
            entries,
            field=f"{field}[]",
            wrong="not an entry of this list",
            todo=f"expected {', '.join(needed)}",
        )
    return Columns(
        file_names=file_names,
        sizes=None,
        boxes=[[box["bbox"] for box in record["annotations"]] for record in content],
        labels=[[box["category_id"] for box in record["annotations"]] for record in content],
        relations=[[[row[key] for key in RELATION_FIELDS] for row in record["rel_annotations"]] for record in content],
        box_field="annotations[].bbox",
        label_field="annotations[].category_id",
        relation_field="rel_annotations[]",
    )


def _require_fields(content: Sequence[Any], path: Path, kind: Kind) -> None:
    for number, record in enumerate(content):
        name = record.get(NAMES[kind]) if isinstance(record, dict) else None
        bad = (
            "record"
            if not isinstance(record, dict)
            else NAMES[kind]
            if not isinstance(name, str) or not name
            else next((field for field in LISTS[kind] if not isinstance(record.get(field), list)), None)
        )
        if bad is not None:
            raise AnnotationError.in_record(
                path,
                number,
                name or "?",
                field=bad,
                value=record.get(bad) if isinstance(record, dict) else record,
                wrong="missing, or of another type",
                todo=f"expected a name {NAMES[kind]} and the lists {', '.join(LISTS[kind])}",
            )


def _sizes(columns: Columns, path: Path) -> Int[np.ndarray, "i 2"]:
    """(height, width) per image, (0, 0) where the file has no sizes."""
    if columns.sizes is None:
        return np.zeros((len(columns.file_names), 2), np.int64)
    images = Locator(path, columns.file_names, np.arange(len(columns.file_names) + 1))
    images.check(
        np.array(
            [
                not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size))
                for size in columns.sizes
            ]
        ),
        columns.sizes,
        field="img_size",
        wrong="not an image size",
        todo="expected [width, height] in pixels",
    )
    return np.array(columns.sizes, np.int64)[:, ::-1].copy()


def _relations(columns: Columns, where: Locator, categories: Categories) -> Int[np.ndarray, "h 3"]:
    rows = list(chain.from_iterable(columns.relations))
    field, todo = columns.relation_field, "expected subject box, object box, relation, counted from 0"
    where.check(
        np.array([not isinstance(row, list) or len(row) != 3 for row in rows], bool),
        rows,
        field=field,
        wrong="not three numbers",
        todo=todo,
    )
    relations = np.stack(
        [numbers.integers(column, where, field) for column in (zip(*rows, strict=True) if rows else [()] * 3)], axis=1
    )
    negative = np.asarray((relations[:, :2] < 0).any(axis=1))
    where.check(negative, relations, field=field, wrong="not a box of the image", todo=todo)
    _check_ids(relations[:, 2], where, f"{field}.relation", len(categories.relations), categories.path)
    return relations


def _check_ids(ids: Int[np.ndarray, " n"], where: Locator, field: str, count: int, names: Path) -> None:
    todo = f"expected 0..{count - 1}, as many as {names.name} has names"
    if ids.size and ids.min() >= 1 and ids.max() == count:
        todo += "; ids of this file seem to count from 1: subtract 1 from all of them"
    where.check((ids < 0) | (ids >= count), ids, field=field, wrong="unknown class id", todo=todo)
