"""Reader of HOIA lists, `trainval_vcoco.json` and `test_vcoco.json`.

A record: `file_name`; `annotations`, each a `bbox` [x1, y1, x2, y2] from 0 and a `category_id` (COCO, 1 to 90 with
gaps); `hoi_annotation`, each `subject_id` and `object_id` (rows of `annotations` from 0, an object of -1 is none) and
a `category_id` (verb, 0 to 28).

The files that `python -m rlipv2.datasets convert vcoco` writes tell more, which other code bases skip: `image_id`,
`width`, `height` and `people` (rows of the people that were annotated) per record; `id`, `bbox_xywh`, `iscrowd`,
`area` and `ignore` per annotation.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Int

from rlipv2.datasets import numbers
from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json
from rlipv2.datasets.numbers import Locator
from rlipv2.datasets.vcoco.content import Instances, VCOCOContent
from rlipv2.vocabularies import VCOCOVocabulary

HOI_FIELDS = ("subject_id", "object_id", "category_id")
RECORD_FIELDS, BOX_FIELDS = ("image_id", "width", "height", "people"), ("id", "bbox_xywh", "iscrowd", "area")


def read(path: Path, vocabulary: VCOCOVocabulary) -> VCOCOContent:
    """The content of a HOIA list, every value checked.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: no HOIA list, or a record of it cannot be used; names the record.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise AnnotationError.in_file(path, "no list of records", "expected trainval_vcoco.json or test_vcoco.json")
    if isinstance(content[0], dict) and "action_name" in content[0]:
        todo = "name the folder and set annotations: release, which reads it together with COCO's instances"
        raise AnnotationError.in_file(path, "this is an action file of the release", todo)
    for number, record in enumerate(content):
        _check_structure(path, number, record)
    names = [record["file_name"] for record in content]
    boxes = [box for record in content for box in record["annotations"]]
    hois = [hoi for record in content for hoi in record["hoi_annotation"]]
    box_rows = Locator(path, names, numbers.pointers(len(record["annotations"]) for record in content))
    hoi_rows = Locator(path, names, numbers.pointers(len(record["hoi_annotation"]) for record in content))
    categories = numbers.integers([box["category_id"] for box in boxes], box_rows, "annotations[].category_id")
    _check_categories(categories, box_rows, vocabulary)
    relations = _relations(hois, hoi_rows, np.diff(box_rows.ptr), vocabulary)
    extended = "people" in content[0]
    records = Locator(path, names, np.arange(len(content) + 1))
    return VCOCOContent(
        path=path,
        image_ids=_column(content, "image_id", records) if extended else numbers.image_ids(names),
        file_names=tuple(names),
        sizes=np.stack([_column(content, "height", records), _column(content, "width", records)], axis=1)
        if extended
        else np.zeros((len(content), 2), np.int64),
        boxes_xyxy=numbers.box_array([box["bbox"] for box in boxes], box_rows, "annotations[].bbox"),
        categories=categories,
        box_ptr=box_rows.ptr,
        relations=relations,
        relation_ptr=hoi_rows.ptr,
        instances=_instances(content, boxes, box_rows, records) if extended else None,
    )


def _check_structure(path: Path, number: int, record: Any) -> None:
    """Raises the error of a record that is not built as described."""

    def fail(field: str, value: Any, wrong: str) -> NoReturn:
        image = record.get("file_name", "?") if isinstance(record, dict) else "?"
        todo = "expected a HOIA record of V-COCO: file_name, annotations, hoi_annotation"
        raise AnnotationError.in_record(path, number, image, field=field, value=value, wrong=wrong, todo=todo)

    if not isinstance(record, dict):
        fail("record", record, "not an object")
    if not isinstance(record.get("file_name"), str) or not record["file_name"]:
        fail("file_name", record.get("file_name"), "missing or not a name")
    extended = any(field in record for field in RECORD_FIELDS)
    if extended:
        missing = [field for field in RECORD_FIELDS if field not in record]
        if missing:
            fail(missing[0], None, f"missing, although {next(f for f in RECORD_FIELDS if f in record)} is there")
    for rows, needed in (
        ("annotations", ("bbox", "category_id", *(BOX_FIELDS if extended else ()))),
        ("hoi_annotation", HOI_FIELDS),
    ):
        if not isinstance(record.get(rows), list):
            fail(rows, record.get(rows), "missing or not a list")
        for index, row in enumerate(record[rows]):
            if not isinstance(row, dict) or not set(needed) <= row.keys():
                absent = [key for key in needed if not isinstance(row, dict) or key not in row]
                fail(f"{rows}[{index}]", row, f"without {', '.join(absent)}")


def _column(content: Sequence[dict[str, Any]], field: str, where: Locator) -> Int[np.ndarray, " i"]:
    values = numbers.integers([record.get(field) for record in content], where, field)
    where.check(values < 1, values, field=field, wrong="not a number from 1", todo="convert the release again")
    return values


def _check_categories(categories: Int[np.ndarray, " n"], where: Locator, vocabulary: VCOCOVocabulary) -> None:
    rows = vocabulary.coco_rows
    inside = (categories >= 0) & (categories < len(rows))
    unknown = ~inside | (rows[np.where(inside, categories, 0)] < 0)
    hint = f"expected one of the {len(vocabulary.coco_ids)} COCO ids (1 to 90 with gaps)"
    if categories.size and categories.min() >= 0 and categories.max() < len(vocabulary.coco_ids):
        hint += "; all ids of this file lie in 0..79: are they contiguous class numbers?"
    where.check(unknown, categories, field="annotations[].category_id", wrong="unknown class id", todo=hint)


def _relations(
    hois: Sequence[dict[str, Any]], where: Locator, num_boxes: Int[np.ndarray, " i"], vocabulary: VCOCOVocabulary
) -> Int[np.ndarray, "h 3"]:
    relations = np.stack(
        [numbers.integers([hoi[f] for hoi in hois], where, f"hoi_annotation[].{f}") for f in HOI_FIELDS], axis=1
    )
    limits = np.repeat(num_boxes, np.diff(where.ptr))
    for column, field, lowest in ((0, "subject_id", 0), (1, "object_id", -1)):
        rows = relations[:, column]
        allowed = "rows count from 0" if lowest == 0 else "rows count from 0, and -1 stands for no object"
        bad = (rows < lowest) | (rows >= limits)
        field = f"hoi_annotation[].{field}"
        where.check(bad, rows, field=field, wrong="not a row of annotations", todo=allowed)
    verbs, count = relations[:, 2], len(vocabulary.verbs)
    hint = f"expected 0..{count - 1}"
    if verbs.size and verbs.min() == 1 and verbs.max() == count:
        hint += "; ids of this file seem to count from 1: subtract 1 from all of them"
    field = "hoi_annotation[].category_id"
    where.check((verbs < 0) | (verbs >= count), verbs, field=field, wrong="unknown verb id", todo=hint)
    return relations


def _instances(
    content: Sequence[dict[str, Any]], boxes: Sequence[dict[str, Any]], box_rows: Locator, records: Locator
) -> Instances:
    where = Locator(box_rows.path, box_rows.file_names, numbers.pointers(len(_people(r, records)) for r in content))
    people = numbers.integers([row for record in content for row in record["people"]], where, "people[]")
    limits = np.repeat(np.diff(box_rows.ptr), np.diff(where.ptr))
    bad = (people < 0) | (people >= limits)
    where.check(bad, people, field="people[]", wrong="not a row of annotations", todo="rows count from 0")
    xywh = [box["bbox_xywh"] for box in boxes]
    plain = [type(box) is list and len(box) == 4 and {*map(type, box)} <= {int, float} for box in xywh]
    field, todo = "annotations[].bbox_xywh", "expected [x, y, width, height] in pixels, as numbers"
    box_rows.check(~np.array(plain, bool), xywh, field=field, wrong="not four numbers", todo=todo)
    areas = [box["area"] for box in boxes]
    plain = [type(area) in (int, float) for area in areas]
    wrong, todo = "not a number", "write it as a plain JSON number"
    box_rows.check(~np.array(plain, bool), areas, field="annotations[].area", wrong=wrong, todo=todo)
    return Instances(
        ids=numbers.integers([box["id"] for box in boxes], box_rows, "annotations[].id"),
        boxes_xywh=np.array(xywh, np.float64).reshape(-1, 4),
        crowd=numbers.integers([box["iscrowd"] for box in boxes], box_rows, "annotations[].iscrowd"),
        area=np.array(areas, np.float64),
        ignore=numbers.integers([box.get("ignore", 0) for box in boxes], box_rows, "annotations[].ignore"),
        people=people,
        person_ptr=where.ptr,
    )


def _people(record: dict[str, Any], records: Locator) -> list[Any]:
    people = record.get("people")
    if not isinstance(people, list) or not people:
        raise AnnotationError.in_record(
            records.path,
            next(row for row, name in enumerate(records.file_names) if name == record["file_name"]),
            record["file_name"],
            field="people",
            value=people,
            wrong="no list of the annotated people",
            todo="a split of V-COCO holds images with annotated people only: convert the release again",
        )
    return people
