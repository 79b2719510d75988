"""Reader of scene graphs in the layout of Visual Genome, human or pseudo-labelled.

A record: `image_id`; `objects`, each `object_id`, `x`, `y`, `w`, `h` in pixels and a name `names`; `relationships`,
each a `predicate`, `subject_id` and `object_id` (of `objects`), for pseudo-labels also a `confidence`; `dataset`
("coco2017", "o365", "hico"; none for Visual Genome) and `data_split`.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json
from rlipv2.datasets.numbers import Locator, integers, pointers
from rlipv2.datasets.scene_graphs.paths import image_files
from rlipv2.structures import LabelSpace, RelationRecords

BOX_FIELDS = ("x", "y", "w", "h")
OBJECT_FIELDS = ("object_id", *BOX_FIELDS, "names")
RELATION_FIELDS = ("predicate", "subject_id", "object_id")


@dataclass(frozen=True)
class SceneGraphContent:
    """All records of a file in flat arrays, names as numbers.

    Attributes:
        records: boxes x1 y1 x2 y2; labels are rows of `objects`, relations of `relations`. `image_ids` are those of the
            file where they are numbers, else positions.
        objects: names in order of first occurrence in the file, as stored.
        relations: the same for predicates.
        confidences: per relation; infinite where the file tells none (human labels).
        skipped: how many objects and relations were left out, by reason.
        numbered: false where the file has texts as image ids.
    """

    records: RelationRecords
    objects: tuple[str, ...]
    relations: tuple[str, ...]
    confidences: Float[np.ndarray, " h"]
    skipped: dict[str, int]
    numbered: bool = True

    def keep_relations(self, keep: Bool[np.ndarray, " h"]) -> "SceneGraphContent":
        """The same images and boxes with only the relations where `keep` is true."""
        return dataclasses.replace(self, records=self.records.keep_relations(keep), confidences=self.confidences[keep])

    def select(self, images: Int[np.ndarray, " k"]) -> "SceneGraphContent":
        """The images at these positions, each at most once, in file order."""
        chosen = np.zeros(len(self.records), bool)
        chosen[images] = True
        relations = np.repeat(chosen, np.diff(self.records.relation_ptr))
        return dataclasses.replace(
            self, records=self.records.select(np.flatnonzero(chosen)), confidences=self.confidences[relations]
        )


def read_scene_graphs(
    path: Path, *, image_paths: Path | None = None, lower_case: bool = False, max_skip_rate: int | float = 0.001
) -> SceneGraphContent:
    """Reads a whole file, every value checked.

    Objects without a name or of a size that is not positive, and relations without a name or with an object that is
    not in the record, are left out and counted; beyond `max_skip_rate` of all objects or relations they are an error.
    Where a record lists an `object_id` twice, relations mean the last one, as in the official code.

    Args:
        path: the JSON list.
        image_paths: `image_id_to_filepath.json`, needed for Objects365.
        lower_case: names in lower case; official: as stored.
        max_skip_rate: share of objects, and of relations, that may be left out.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        top = type(content).__name__ if content else "an empty list"
        raise AnnotationError.in_file(path, f"its top level is {top}", "expected a list with a record per image")
    ids, objects, relations = _columns(content, path)
    names = [str(image) for image in ids]
    box_rows = Locator(path, names, pointers(len(record["objects"]) for record in content))
    relation_rows = Locator(path, names, pointers(len(record["relationships"]) for record in content))
    boxes = _boxes(objects, box_rows)
    box_names, labels = _names(objects, "names", box_rows, "objects[].names", lower_case)
    predicates, relation_labels = _names(relations, "predicate", relation_rows, "relationships[].predicate", lower_case)
    confidences = _confidences(relations, relation_rows)
    joined = _joined_rows(objects, relations, box_rows, relation_rows)
    fine = {"objects without a name": labels >= 0, "objects without an area": (boxes[:, 2:] > 0).all(axis=1)}
    kept_boxes = np.logical_and.reduce(list(fine.values()))
    found = (joined >= 0).all(axis=1)
    # row -1 stands for the object that is not there
    has_both = np.append(kept_boxes, False)[joined].all(axis=1)
    fine["relations without a name"] = relation_labels >= 0
    fine["relations to an object that is not in the record"] = found
    fine["relations to an object that is left out"] = has_both | ~found
    kept = (relation_labels >= 0) & has_both
    skipped = {what: int((~good).sum()) for what, good in fine.items() if not good.all()}
    _limit(path, skipped, {"objects": len(boxes), "relations": len(joined)}, max_skip_rate)
    before = np.concatenate([[0], np.cumsum(kept_boxes)]).astype(np.int64)
    box_ptr = before[box_rows.ptr]
    images = np.repeat(np.arange(len(content)), np.diff(relation_rows.ptr))
    local = before[joined] - box_ptr[images][:, None]
    numbered = set(map(type, ids)) == {int}
    records = RelationRecords(
        image_ids=np.array(ids if numbered else range(len(ids)), np.int64),
        file_names=image_files(content, path, image_paths),
        sizes=np.zeros((len(content), 2), np.int64),
        boxes=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)[kept_boxes].astype(np.float32),
        labels=labels[kept_boxes],
        box_ptr=box_ptr,
        relations=np.concatenate([local, relation_labels[:, None]], axis=1),
        relation_ptr=relation_rows.ptr,
    ).keep_relations(kept)
    return SceneGraphContent(records, box_names, predicates, confidences[kept], skipped, numbered)


def _columns(content: Sequence[Any], path: Path) -> tuple[list[Any], dict[str, list[Any]], dict[str, list[Any]]]:
    """Image ids, and every field of all objects and relations, end to end."""
    try:
        ids = [record["image_id"] for record in content]
        parts = [list(itertools.chain.from_iterable(r[part] for r in content)) for part in ("objects", "relationships")]
        objects = {name: [row[name] for row in parts[0]] for name in OBJECT_FIELDS}
        relations = {name: [row[name] for row in parts[1]] for name in RELATION_FIELDS}
        relations["confidence"] = [row.get("confidence") for row in parts[1]]
    except (KeyError, TypeError, AttributeError):
        _raise_for_structure(content, path)
    lists = {type(record[part]) for record in content for part in ("objects", "relationships")}
    if lists != {list} or not {type(image) for image in ids} <= {int, str}:
        _raise_for_structure(content, path)
    return ids, objects, relations


def _boxes(objects: dict[str, list[Any]], where: Locator) -> Float[np.ndarray, "n 4"]:
    """Rows x y w h."""
    columns = []
    for name in BOX_FIELDS:
        values, field = objects[name], f"objects[].{name}"
        if not set(map(type, values)) <= {int, float}:
            bad = np.array([type(value) not in (int, float) for value in values], bool)
            where.check(bad, values, field=field, wrong="not a number", todo="expected pixels, without quotes")
        column = np.array(values, np.float64)
        where.check(~np.isfinite(column), values, field=field, wrong="not finite", todo="correct or remove this box")
        columns.append(column)
    return np.stack(columns, axis=1)


def _names(
    rows: dict[str, list[Any]], key: str, where: Locator, field: str, lower_case: bool
) -> tuple[tuple[str, ...], Int[np.ndarray, " n"]]:
    """The distinct names in order of first occurrence, and the row of each; -1 for blank names."""
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
    numbers: dict[str, int] = {}
    labels = [numbers.setdefault(value, len(numbers)) if value.strip() else -1 for value in values]
    return tuple(numbers), np.array(labels, np.int64)


def _confidences(relations: dict[str, list[Any]], where: Locator) -> Float[np.ndarray, " h"]:
    values, field = relations["confidence"], "relationships[].confidence"
    bad = np.array([value is not None and type(value) not in (int, float) for value in values], bool)
    where.check(bad, values, field=field, wrong="not a number", todo="expected 0 to 1, or no such field")
    # float64: the cut at 0.20 is exact
    numbers = np.array([np.inf if value is None else value for value in values], np.float64)
    told = np.array([value is not None for value in values], bool)
    outside = told & ~((numbers >= 0) & (numbers <= 1))
    where.check(outside, values, field=field, wrong="out of range", todo="expected 0 to 1, or no such field")
    return numbers


def _joined_rows(
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


def _limit(path: Path, skipped: dict[str, int], totals: dict[str, int], max_skip_rate: int | float) -> None:
    for kind, total in totals.items():
        reasons = {what: count for what, count in skipped.items() if what.startswith(kind)}
        if sum(reasons.values()) > max_skip_rate * total:
            found = ", ".join(f"{count:,} {what}" for what, count in reasons.items())
            raise AnnotationError.in_file(
                path,
                f"of {total:,} {kind} more than the share max_skip_rate={max_skip_rate} cannot be used: {found}",
                "run `python -m rlipv2.datasets check vg` to see where; correct them or raise max_skip_rate",
            )


def _raise_for_structure(content: Iterable[Any], path: Path) -> NoReturn:
    """Finds the record that is not built as described and raises its error."""
    for number, record in enumerate(content):
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
