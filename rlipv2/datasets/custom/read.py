"""Reads and checks the annotation files of a user's own data."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rlipv2.datasets.custom.layout import FORMAT, IMAGES, KNOWN_KEYS, CustomContent, Problem, root_of
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.files import read_json
from rlipv2.datasets.numbers import pointers
from rlipv2.structures import LabelSpace, RelationRecords

Box = tuple[str, list[float]]
"""Name and x1 y1 x2 y2."""
Relation = tuple[int, int, str]
"""Subject, object, name."""
Fail = Callable[[str, str, Any, str, str], None]
"""Told rule, field, value, what is wrong and what to do."""


def read_custom(path: str | Path) -> CustomContent:
    """The content of an annotation file, in which nothing is wrong.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: not this format, or a record that breaks a rule; names the record.
    """
    return parse_custom(path).require_sound()


def parse_custom(path: str | Path) -> CustomContent:
    """The content of an annotation file together with all that is wrong with it.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: not JSON, not built as described at its top level, or lists of names that cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetNotFoundError.missing("annotation file", path, "docs/custom_data.md describes what belongs there")
    return parse_content(read_json(path), path)


def parse_content(content: Any, path: Path) -> CustomContent:
    """The same for JSON that was parsed already; `path` is named in errors.

    Raises:
        AnnotationError: see `parse_custom`.
    """
    _require_top_level(content, path)
    parser = _Parser(path, _listed(content, "objects", path), _listed(content, "relations", path))
    parser.count_keys("file", content)
    for number, record in enumerate(content["images"]):
        parser.add(number, record)
    return parser.content()


def _require_top_level(content: Any, path: Path) -> None:
    todo = 'expected {"images": [...]}, see docs/custom_data.md'
    if isinstance(content, dict) and {"annotations", "categories"} <= content.keys():
        todo += "; this looks like COCO: `python -m rlipv2.datasets convert custom` converts it"
    if not isinstance(content, dict):
        raise AnnotationError.in_file(path, f"the top level is a {type(content).__name__}, not an object", todo)
    if content.get("format", FORMAT) != FORMAT:
        raise AnnotationError.in_file(
            path, f"format={content['format']!r}", f"this release reads {FORMAT!r}; leave the key out if you wrote it"
        )
    images = content.get("images")
    if not isinstance(images, list) or "annotations" in content:
        raise AnnotationError.in_file(path, "no list of images with their objects and relations", todo)
    if not images:
        raise AnnotationError.in_file(path, "the list of images is empty", "expected one record per image")


def _listed(content: dict[str, Any], key: str, path: Path) -> tuple[str, ...] | None:
    """The names that the file lists under `key` to fix their order, or None."""
    if key not in content:
        return None
    names = content[key]
    wrong = None
    if not isinstance(names, list) or not names:
        wrong = "not a list of names"
    elif unusable := [(name, why) for name in names if (why := _name_problem(key, name))]:
        wrong = f"{unusable[0][0]!r} {unusable[0][1]}"
    elif len(set(names)) != len(names):
        wrong = f"{next(name for name in names if names.count(name) > 1)!r} is listed twice"
    if wrong:
        raise AnnotationError.in_file(path, f"{key} at the top level: {wrong}", "correct the list, or leave it out")
    return tuple(names)


def _name_problem(kind: str, name: Any) -> str | None:
    """What is wrong with a name, if anything."""
    if not isinstance(name, str):
        return "is not a string"
    if not name.strip():
        return "is blank"
    if kind == "objects" and name == LabelSpace.NO_OBJECT:
        return "is the text for the background, which no object may have"
    return None


@dataclass
class _Parser:
    """Collects the images of one file."""

    path: Path
    listed_objects: tuple[str, ...] | None
    listed_relations: tuple[str, ...] | None
    problems: list[Problem] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    file_names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    boxes: list[list[Box]] = field(default_factory=list)
    relations: list[list[Relation]] = field(default_factory=list)
    first_record: dict[str, int] = field(default_factory=dict)

    def count_keys(self, kind: str, holder: dict[str, Any]) -> None:
        if not holder.keys() <= KNOWN_KEYS[kind]:
            for key in holder.keys() - KNOWN_KEYS[kind]:
                self.ignored[f"{kind}.{key}"] += 1

    def add(self, number: int, record: Any) -> None:
        """Reads one image; with problems it stays without boxes and relations."""
        before = len(self.problems)
        name = record.get("file_name") if isinstance(record, dict) else None

        def fail(rule: str, where: str, value: Any, wrong: str, todo: str) -> None:
            self.problems.append(Problem(rule, number, "?" if name is None else name, where, value, wrong, todo))

        size, objects, relations = (0, 0), list[Box](), list[Relation]()
        if isinstance(record, dict):
            self.count_keys("image", record)
            self._check_file_name(number, name, fail)
            size = _size(record, fail)
            objects = list(self._objects(record, fail))
            relations = list(self._relations(record, fail))
        else:
            fail("structure", "record", record, "not an object", "expected file_name, objects, relations")
        sound = len(self.problems) == before
        self.file_names.append(name if isinstance(name, str) else f"(record {number} has no file name)")
        self.sizes.append(size)
        self.boxes.append(objects if sound else [])
        self.relations.append(relations if sound else [])

    def _check_file_name(self, number: int, name: Any, fail: Fail) -> None:
        if not isinstance(name, str) or not name.strip():
            fail("structure", "file_name", name, "missing or not a name", f"expected a path relative to {IMAGES}/")
            return
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\\" in name or name[1:2] == ":" or "\0" in name:
            todo = f"expected a path relative to {root_of(self.path) / IMAGES}, with forward slashes and without '..'"
            fail("file_name", "file_name", name, "not inside the image folder", todo)
        first = self.first_record.setdefault(str(PurePosixPath(name)), number)
        if first != number:
            fail("file_name", "file_name", name, f"listed in record {first} already", "join the two records")

    def _objects(self, record: dict[str, Any], fail: Fail) -> Iterator[Box]:
        entries = record.get("objects")
        if not isinstance(entries, list):
            fail("structure", "objects", entries, "missing or not a list", "write [] where an image has none")
            return
        for row, entry in enumerate(entries):
            where = f"objects[{row}]"
            if not isinstance(entry, dict) or not {"name", "box"} <= entry.keys():
                fail("structure", where, entry, "not an object with name and box", "expected both")
                continue
            self.count_keys("object", entry)
            self._check_name("objects", f"{where}.name", entry["name"], self.listed_objects, fail)
            _check_box(f"{where}.box", entry["box"], fail)
            yield entry["name"], entry["box"]

    def _relations(self, record: dict[str, Any], fail: Fail) -> Iterator[Relation]:
        entries, objects = record.get("relations"), record.get("objects")
        if not isinstance(entries, list):
            fail("structure", "relations", entries, "missing or not a list", "write [] where an image has none")
            return
        # without a list of objects, which is a problem of its own, positions mean nothing
        count = len(objects) if isinstance(objects, list) else None
        for row, entry in enumerate(entries):
            where = f"relations[{row}]"
            if not isinstance(entry, dict) or not {"subject", "name", "object"} <= entry.keys():
                fail("structure", where, entry, "not an object with subject, name and object", "expected all three")
                continue
            self.count_keys("relation", entry)
            self._check_name("relations", f"{where}.name", entry["name"], self.listed_relations, fail)
            for end in ("subject", "object"):
                wrong = None
                if type(entry[end]) is not int:
                    wrong = "not an integer"
                elif count is not None and not 0 <= entry[end] < count:
                    wrong = f"the image has {count} objects"
                if wrong is not None:
                    todo = f"expected the position of the {end} in the objects of this image, counted from 0"
                    fail("relation", f"{where}.{end}", entry[end], wrong, todo)
            yield entry["subject"], entry["object"], entry["name"]

    def _check_name(self, kind: str, where: str, name: Any, listed: tuple[str, ...] | None, fail: Fail) -> None:
        wrong = _name_problem(kind, name)
        if wrong:
            fail("name", where, name, wrong, "expected a word or a short text, such as 'riding'")
        elif listed is not None and name not in listed:
            todo = f"add it there, or correct it: {', '.join(listed[:8])}{', ...' if len(listed) > 8 else ''}"
            fail("name", where, name, f"not in the list of {kind} at the top of the file", todo)

    def content(self) -> CustomContent:
        """All of it in flat arrays."""
        objects = self.listed_objects or tuple(sorted({name for rows in self.boxes for name, _ in rows}))
        relations = self.listed_relations or tuple(sorted({row[2] for rows in self.relations for row in rows}))
        object_rows, relation_rows = _positions(objects), _positions(relations)
        flat_relations = [(s, o, relation_rows[name]) for rows in self.relations for s, o, name in rows]
        records = RelationRecords(
            image_ids=np.arange(len(self.file_names)),
            file_names=tuple(self.file_names),
            sizes=np.array(self.sizes, np.int64).reshape(-1, 2),
            boxes=np.array([box for rows in self.boxes for _, box in rows], np.float32).reshape(-1, 4),
            labels=np.array([object_rows[name] for rows in self.boxes for name, _ in rows], np.int64),
            box_ptr=pointers(map(len, self.boxes)),
            relations=np.array(flat_relations, np.int64).reshape(-1, 3),
            relation_ptr=pointers(map(len, self.relations)),
        )
        return CustomContent(self.path, records, objects, relations, tuple(self.problems), dict(self.ignored))


def _size(record: dict[str, Any], fail: Fail) -> tuple[int, int]:
    """(height, width), or (0, 0) where the record does not tell them."""
    if "width" not in record and "height" not in record:
        return 0, 0
    size = record.get("height"), record.get("width")
    if not all(type(side) is int and side > 0 for side in size):
        fail("size", "(height, width)", size, "not a size in pixels", "expected two integers, or neither of the keys")
        return 0, 0
    return size  # type: ignore[return-value]


def _check_box(where: str, box: Any, fail: Fail) -> None:
    todo = "expected [x1, y1, x2, y2] in pixels of the image file, counted from 0"
    if not isinstance(box, list) or len(box) != 4 or not set(map(type, box)) <= {int, float}:
        fail("box", where, box, "not four numbers", todo)
    elif not all(-1e7 < value < 1e7 for value in box):  # false for NaN and infinity
        fail("box", where, box, "not finite", todo)
    elif box[2] <= box[0] or box[3] <= box[1]:
        fail("area", where, box, "x2 <= x1 or y2 <= y1", todo + "; is this x, y, width, height?")


def _positions(names: Sequence[str]) -> dict[str, int]:
    return {name: row for row, name in enumerate(names)}
