"""The JSON format of a user's own data: where its files are, what may be wrong with one.

One file per split, `ROOT/annotations/<split>.json`; images lie in `ROOT/images/`. docs/custom_data.md describes the
format for users.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlipv2.datasets.errors import AnnotationError
from rlipv2.structures import RelationRecords

FORMAT = "rlipv2-relations/1"
IMAGES, ANNOTATIONS = "images", "annotations"
# what each rule is called in the report of `check custom`
RULES = {
    "structure": "records are built as described",
    "file_name": "file names are relative and listed once",
    "size": "widths and heights are sizes",
    "box": "boxes are four finite numbers",
    "area": "boxes end after they begin",
    "name": "names can be used",
    "relation": "relations refer to objects of their image",
}
KNOWN_KEYS = {
    "file": {"format", "objects", "relations", "images"},
    "image": {"file_name", "width", "height", "objects", "relations"},
    "object": {"name", "box"},
    "relation": {"subject", "name", "object"},
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one record; `record` counts from 0."""

    rule: str
    record: int
    image: object
    field: str
    value: Any
    wrong: str
    todo: str

    def error(self, path: Path, more: int = 0) -> AnnotationError:
        """The error that names it; `more` are further problems of the file."""
        return AnnotationError.in_record(
            path,
            self.record,
            self.image,
            field=self.field,
            value=self.value,
            wrong=self.wrong,
            todo=self.todo + (f" (`python -m rlipv2.datasets check custom {root_of(path)}` lists all)" if more else ""),
            more=more,
        )


@dataclass(frozen=True)
class CustomContent:
    """A file of this format.

    Attributes:
        path: where it was read.
        records: all images; those with problems have no boxes and no relations here.
        objects: the listed names in their order, or those that occur, sorted; labels are rows of it.
        relations: likewise.
        problems: what is wrong, in file order.
        ignored: keys that mean nothing here, and how often they occur ("image.score": 3).
    """

    path: Path
    records: RelationRecords
    objects: tuple[str, ...]
    relations: tuple[str, ...]
    problems: tuple[Problem, ...]
    ignored: dict[str, int]

    def require_sound(self) -> "CustomContent":
        """Itself.

        Raises:
            AnnotationError: for the first problem, if there are any.
        """
        if self.problems:
            raise self.problems[0].error(self.path, more=len(self.problems) - 1)
        return self


def annotation_path(root: str | Path, split: str) -> Path:
    """Where the annotations of a split are."""
    return Path(root).expanduser() / ANNOTATIONS / f"{split}.json"


def root_of(path: Path) -> Path:
    """The folder of the dataset that an annotation file belongs to."""
    return path.parent.parent
