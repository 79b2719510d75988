"""Reader of the PPDM / HOIA lists, `trainval_hico.json` and `test_hico.json`.

A record: `file_name`; `annotations`, each a `bbox` [x1, y1, x2, y2] and a `category_id` (COCO, 1 to 90
with gaps); `hoi_annotation`, each `subject_id` and `object_id` (rows of `annotations` from 0), a
`category_id` (verb, 1 to 117) and, for training, a `hoi_category_id` (1 to 600); `img_id` for training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float, Int

from rlipv2.datasets import numbers
from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.numbers import Locator
from rlipv2.structures import RelationRecords
from rlipv2.vocabularies import HICOVocabulary


@dataclass(frozen=True)
class HOIAContent:
    """A PPDM list in flat arrays, numbers as in the file.

    Attributes:
        file_names: one per record.
        boxes: x1 y1 x2 y2 as stored.
        box_categories: COCO category id per box.
        box_ptr: where each record's boxes begin.
        hois: rows (subject_id, object_id, category_id, hoi_category_id); the last is 0 where absent.
        hoi_ptr: where each record's interactions begin.
    """

    file_names: tuple[str, ...]
    boxes: Float[np.ndarray, "n 4"]
    box_categories: Int[np.ndarray, " n"]
    box_ptr: Int[np.ndarray, " p"]
    hois: Int[np.ndarray, "h 4"]
    hoi_ptr: Int[np.ndarray, " p"]

    def to_records(self, vocabulary: HICOVocabulary) -> RelationRecords:
        """The same with class rows that count from 0; sizes are unknown."""
        return RelationRecords(
            # img_id of the train file is the number in the file name; the test file has none
            image_ids=numbers.image_ids(self.file_names),
            file_names=self.file_names,
            sizes=np.zeros((len(self.file_names), 2), np.int64),
            boxes=self.boxes.astype(np.float32),
            labels=vocabulary.coco_rows[self.box_categories],
            box_ptr=self.box_ptr,
            relations=self.hois[:, :3] - np.array([0, 0, 1]),
            relation_ptr=self.hoi_ptr,
        )


def read(content: Sequence[Any], path: Path, vocabulary: HICOVocabulary) -> HOIAContent:
    """The parsed list `content` of the file `path`, every value checked.

    Rows of `annotations` are not checked against its length: what to do then depends on the split.

    Raises:
        AnnotationError: a field is missing or has the wrong type, or an id does not exist.
    """
    if not content:
        raise AnnotationError.in_file(path, "the list is empty", "expected one record per image")
    try:
        file_names = tuple(record["file_name"] for record in content)
        boxes = [box["bbox"] for record in content for box in record["annotations"]]
        categories = [box["category_id"] for record in content for box in record["annotations"]]
        hois = [
            (hoi["subject_id"], hoi["object_id"], hoi["category_id"], hoi.get("hoi_category_id", 0))
            for record in content
            for hoi in record["hoi_annotation"]
        ]
    except (KeyError, TypeError, AttributeError):
        _raise_for_structure(content, path)
    lists = {type(record[field]) for record in content for field in ("annotations", "hoi_annotation")}
    if lists != {list} or set(map(type, file_names)) != {str} or not all(file_names):
        _raise_for_structure(content, path)
    box_rows = Locator(path, file_names, numbers.pointers(len(record["annotations"]) for record in content))
    hoi_rows = Locator(path, file_names, numbers.pointers(len(record["hoi_annotation"]) for record in content))
    result = HOIAContent(
        file_names=file_names,
        boxes=numbers.box_array(boxes, box_rows, "annotations[].bbox"),
        box_categories=numbers.integers(categories, box_rows, "annotations[].category_id"),
        box_ptr=box_rows.ptr,
        hois=_hoi_array(hois, hoi_rows),
        hoi_ptr=hoi_rows.ptr,
    )
    _check_categories(result.box_categories, box_rows, vocabulary)
    _check_hois(result.hois, hoi_rows, vocabulary)
    return result


HOI_FIELDS = ("subject_id", "object_id", "category_id", "hoi_category_id")


def _hoi_array(hois: Sequence[tuple[Any, ...]], where: Locator) -> Int[np.ndarray, "h 4"]:
    columns = zip(*hois, strict=True) if hois else [()] * len(HOI_FIELDS)
    return np.stack(
        [
            numbers.integers(column, where, f"hoi_annotation[].{field}")
            for column, field in zip(columns, HOI_FIELDS, strict=True)
        ],
        axis=1,
    )


def _check_categories(categories: Int[np.ndarray, " n"], where: Locator, vocabulary: HICOVocabulary) -> None:
    rows = vocabulary.coco_rows
    inside = (categories >= 0) & (categories < len(rows))
    unknown = ~inside | (rows[np.where(inside, categories, 0)] < 0)
    hint = f"expected one of the {len(vocabulary.coco_ids)} COCO ids (1 to 90 with gaps)"
    if categories.size and categories.min() >= 0 and categories.max() < len(vocabulary.objects):
        hint += "; all ids of this file lie in 0..79: are they contiguous class numbers?"
    where.check(unknown, categories, field="annotations[].category_id", wrong="unknown class id", todo=hint)


def _check_hois(hois: Int[np.ndarray, "h 4"], where: Locator, vocabulary: HICOVocabulary) -> None:
    subjects, objects, verbs, hoi_ids = hois.T
    where.check(
        objects < 0,
        objects,
        field="hoi_annotation[].object_id",
        wrong="not a row of annotations",
        todo="HICO-DET has no relation without object (-1 is a convention of V-COCO); rows count from 0",
    )
    where.check(
        subjects < 0,
        subjects,
        field="hoi_annotation[].subject_id",
        wrong="not a row of annotations",
        todo="rows count from 0",
    )
    count = len(vocabulary.verbs)
    hint = f"expected 1..{count}"
    if verbs.size and verbs.min() == 0:
        hint += "; ids of this file seem to count from 0: add 1 to all of them"
    where.check(
        (verbs < 1) | (verbs > count), verbs, field="hoi_annotation[].category_id", wrong="unknown verb id", todo=hint
    )
    where.check(
        (hoi_ids < 0) | (hoi_ids > len(vocabulary.hois)),
        hoi_ids,
        field="hoi_annotation[].hoi_category_id",
        wrong="unknown interaction id",
        todo=f"expected 1..{len(vocabulary.hois)}, or no such field",
    )


def _raise_for_structure(content: Sequence[Any], path: Path) -> NoReturn:
    """Finds the record that is not built as described and raises its error."""
    for number, record in enumerate(content):
        if not isinstance(record, dict):
            raise AnnotationError.in_record(
                path, number, "?", field="record", value=record, wrong="not an object", todo="expected PPDM records"
            )
        image = record.get("file_name", "?")

        def fail(field: str, value: Any, wrong: str, *, number: int = number, image: Any = image) -> NoReturn:
            todo = "expected a record of PPDM / HOIA: file_name, annotations, hoi_annotation"
            raise AnnotationError.in_record(path, number, image, field=field, value=value, wrong=wrong, todo=todo)

        if not isinstance(record.get("file_name"), str) or not record["file_name"]:
            fail("file_name", record.get("file_name"), "missing or not a name")
        for field, needed in (("annotations", ("bbox", "category_id")), ("hoi_annotation", HOI_FIELDS[:3])):
            rows = record.get(field)
            if not isinstance(rows, list):
                fail(field, rows, "missing or not a list")
            for index, row in enumerate(rows):
                missing = [key for key in needed if not isinstance(row, dict) or key not in row]
                if missing:
                    fail(f"{field}[{index}]", row, f"without {', '.join(missing)}")
    raise AnnotationError.in_file(path, "not built as a PPDM list", "expected file_name, annotations, hoi_annotation")
