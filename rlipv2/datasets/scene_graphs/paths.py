"""Where the image of a scene-graph record lies, relative to the folder of its dataset."""

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.json_stream import iterate_members
from rlipv2.datasets.store.columns import Columns
from rlipv2.datasets.store.pages import release

CHUNK = 20_000
"""Images of a list that are in memory at once as Python objects."""
ID = re.compile(r"0|-?[1-9][0-9]{0,17}")
DATASETS = ("vg", "coco2017", "o365", "hico", "custom")
DEFAULT_SPLIT = "train2017"


class ImageFiles:
    """Image files by record, according to its `dataset` (none: Visual Genome).

    Visual Genome: `images/<id>.jpg`. COCO: `<data_split>/<id, 12 digits>.jpg`, in train2017 where the record tells no
    split. Objects365: as listed in `image_paths`. HICO-DET: `images/train2015/<id>`, where the id is a file name.
    Custom: `file_name` of the record, as pseudo-labels of other images have it.

    Args:
        path: the annotation file.
        image_paths: `image_id_to_filepath.json`, read only for Objects365.
        new_columns: makes empty columns for that list.
    """

    def __init__(self, path: Path, image_paths: Path | None, new_columns: Callable[[], Columns] = Columns) -> None:
        self.path, self.image_paths, self._new_columns = path, image_paths, new_columns
        self.dataset: str | None = None
        self._listed: _ListedFiles | None = None

    def __call__(self, content: Sequence[dict[str, Any]], first: int) -> list[str]:
        """One file name for each of these records, of which the first has the number `first`.

        Raises:
            AnnotationError: an unknown dataset, records of two datasets, an id of the wrong kind or one that is not
                listed.
        """
        if self.dataset is None:
            self.dataset = content[0].get("dataset", "vg")
            if self.dataset == "o365":
                self._listed = _ListedFiles(self.path, self.image_paths, self._new_columns())
        files = [self._file(number, record) for number, record in enumerate(content, start=first)]
        return files if self._listed is None else self._listed_files(content, first)

    def _listed_files(self, content: Sequence[dict[str, Any]], first: int) -> list[str]:
        assert self._listed is not None
        files = self._listed([record["image_id"] for record in content])
        if None in files:
            row = files.index(None)
            image, wrong = content[row]["image_id"], f"not listed in {self.image_paths}"
            todo = "make the list from all image files"
            raise AnnotationError.in_record(
                self.path, first + row, image, field="image_id", value=image, wrong=wrong, todo=todo
            )
        return files  # type: ignore[return-value]

    def _file(self, number: int, record: dict[str, Any]) -> str:
        image, dataset = record["image_id"], record.get("dataset", "vg")

        def fail(field: str, value: Any, wrong: str, todo: str) -> NoReturn:
            raise AnnotationError.in_record(self.path, number, image, field=field, value=value, wrong=wrong, todo=todo)

        if dataset not in DATASETS:
            fail("dataset", dataset, "unknown", f"expected one of {DATASETS[1:]}, or none for Visual Genome")
        if dataset != self.dataset:
            wrong = f"the first record is of {self.dataset!r}"
            fail("dataset", dataset, wrong, "give each dataset its own file and folder")
        if dataset == "custom":
            if not isinstance(record.get("file_name"), str) or not record["file_name"]:
                fail("file_name", record.get("file_name"), "missing", "expected the path of the image in its folder")
            return str(record["file_name"])
        if dataset != "vg" and isinstance(image, str) != (dataset == "hico"):
            fail("image_id", image, f"not an id of {dataset}", "HICO-DET has file names as ids, the others numbers")
        if dataset == "vg":
            return f"images/{image}.jpg"
        if dataset == "hico":
            return f"images/train2015/{image}"
        if dataset == "coco2017":
            return f"{record.get('data_split', DEFAULT_SPLIT)}/{image:012d}.jpg"
        return ""  # listed


class _ListedFiles:
    """The table of image files by id, in arrays: as Python objects those of Objects365 take half a gigabyte."""

    def __init__(self, path: Path, image_paths: Path | None, columns: Columns) -> None:
        if image_paths is None:
            todo = "give image_paths, the file image_id_to_filepath.json"
            raise AnnotationError.in_file(path, "images of Objects365 are found through a list only", todo)
        columns.append(ids=np.zeros(0, np.int64), files=[])
        expected = 'expected {"900461": "train/...", ...}'
        members = iterate_members(image_paths, expected=expected)
        while chunk := list(itertools.islice(members, CHUNK)):
            if not all(isinstance(file, str) for _, _, file in chunk):
                raise AnnotationError.in_file(image_paths, "not a table of paths", expected)
            rows = [(int(key), file) for key, _, file in chunk if ID.fullmatch(key)]
            columns.append(ids=np.array([number for number, _ in rows], np.int64), files=[file for _, file in rows])
        listed = columns.arrays()
        self._files = listed["files"]
        # stable: of an id that is listed twice the last file counts
        self._order = np.argsort(listed["ids"], kind="stable")
        self._ids = listed["ids"][self._order]

    def __call__(self, ids: Sequence[int]) -> list[str | None]:
        """The file of each image; None where it is not listed."""
        places = np.searchsorted(self._ids, ids, side="right") - 1
        files = [
            self._files[int(self._order[place])] if place >= 0 and self._ids[place] == number else None
            for place, number in zip(places.tolist(), ids, strict=True)
        ]
        release(self._files)
        return files
