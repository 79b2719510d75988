"""Reader of `scene_graphs.json` as Visual Genome releases it, one image at a time.

Unlike the preprocessed file it has lists of names, names in mixed case and repeated relations.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.json_stream import iterate_records

Record = dict[str, Any]
FILE = "scene_graphs.json"
OBJECT_FIELDS = {"object_id": int, "x": (int, float), "y": (int, float), "w": (int, float), "h": (int, float)}
RELATION_FIELDS = {"predicate": str, "subject_id": int, "object_id": int}


def find_release(source: str | Path) -> Path:
    """`scene_graphs.json`: the given file, or that of a folder or of its `annotations`.

    Raises:
        DatasetNotFoundError: there is none.
    """
    source = Path(source).expanduser()
    if source.is_file():
        return source
    for path in (source / FILE, source / "annotations" / FILE):
        if path.is_file():
            return path
    todo = "download `scene graphs` of Visual Genome 1.4 and unpack it there; nothing is downloaded here"
    raise DatasetNotFoundError.missing(f"{FILE} of Visual Genome", source / FILE, todo)


def read_release(path: Path) -> Iterator[Record]:
    """The records of `scene_graphs.json`, each checked.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
    """
    for number, record in enumerate(iterate_records(path)):
        if not isinstance(record, dict):
            _fail(path, number, record, "record", record, "not an object")
        for part, check in (("objects", _object_fault), ("relationships", _relation_fault)):
            rows = record.get(part)
            if not isinstance(rows, list):
                _fail(path, number, record, part, rows, "missing or not a list")
            ids = {item.get("object_id") for item in record["objects"]} if part == "relationships" else set()
            for row, item in enumerate(rows):
                fault = check(item, ids)
                if fault is not None:
                    name, wrong = fault
                    value = item.get(name) if isinstance(item, dict) else item
                    _fail(path, number, record, f"{part}[{row}].{name}", value, wrong)
        yield record


def _object_fault(item: Any, _: set[Any]) -> tuple[str, str] | None:
    fault = _field_fault(item, OBJECT_FIELDS)
    if fault is not None:
        return fault
    names = item.get("names")
    if isinstance(names, str):
        return "names", "a text, not a list of names: this file is preprocessed already"
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return "names", "not a list of at least one name"
    return None


def _relation_fault(item: Any, ids: set[Any]) -> tuple[str, str] | None:
    fault = _field_fault(item, RELATION_FIELDS)
    if fault is not None:
        return fault
    missing = [end for end in ("subject_id", "object_id") if item[end] not in ids]
    return (missing[0], "no object of this record") if missing else None


def _field_fault(item: Any, fields: Mapping[str, Any]) -> tuple[str, str] | None:
    if not isinstance(item, dict):
        return "", "not an object"
    for name, kind in fields.items():
        if not isinstance(item.get(name), kind) or isinstance(item[name], bool):
            return name, "missing, or of the wrong type"
    return None


def _fail(path: Path, number: int, record: Any, field: str, value: Any, wrong: str) -> NoReturn:
    image = record.get("image_id", "?") if isinstance(record, dict) else "?"
    todo = f"expected {FILE} of the Visual Genome release, unchanged"
    field = field.rstrip(".")
    raise AnnotationError.in_record(path, number, image, field=field, value=value, wrong=wrong, todo=todo)
