"""Where the image of a scene-graph record lies, relative to the folder of its dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json

DATASETS = ("vg", "coco2017", "o365", "hico")
DEFAULT_SPLIT = "train2017"


class ImageFiles:
    """Image files by record, according to its `dataset` (none: Visual Genome).

    Visual Genome: `images/<id>.jpg`. COCO: `<data_split>/<id, 12 digits>.jpg`, in train2017 where the record tells no
    split. Objects365: as listed in `image_paths`. HICO-DET: `images/train2015/<id>`, where the id is a file name.

    Args:
        path: the annotation file.
        image_paths: `image_id_to_filepath.json`, read only for Objects365.
    """

    def __init__(self, path: Path, image_paths: Path | None) -> None:
        self.path, self.image_paths = path, image_paths
        self.dataset: str | None = None
        self._listed: dict[str, str] = {}

    def __call__(self, content: Sequence[dict[str, Any]], first: int) -> list[str]:
        """One file name for each of these records, of which the first has the number `first`.

        Raises:
            AnnotationError: an unknown dataset, records of two datasets, an id of the wrong kind or one that is not
                listed.
        """
        if self.dataset is None:
            self.dataset = content[0].get("dataset", "vg")
            self._listed = _read_listed(self.path, self.image_paths) if self.dataset == "o365" else {}
        return [self._file(number, record) for number, record in enumerate(content, start=first)]

    def _file(self, number: int, record: dict[str, Any]) -> str:
        image, dataset = record["image_id"], record.get("dataset", "vg")

        def fail(field: str, value: Any, wrong: str, todo: str) -> NoReturn:
            raise AnnotationError.in_record(self.path, number, image, field=field, value=value, wrong=wrong, todo=todo)

        if dataset not in DATASETS:
            fail("dataset", dataset, "unknown", f"expected one of {DATASETS[1:]}, or none for Visual Genome")
        if dataset != self.dataset:
            wrong = f"the first record is of {self.dataset!r}"
            fail("dataset", dataset, wrong, "give each dataset its own file and folder")
        if dataset != "vg" and isinstance(image, str) != (dataset == "hico"):
            fail("image_id", image, f"not an id of {dataset}", "HICO-DET has file names as ids, the others numbers")
        if dataset == "vg":
            return f"images/{image}.jpg"
        if dataset == "hico":
            return f"images/train2015/{image}"
        if dataset == "coco2017":
            return f"{record.get('data_split', DEFAULT_SPLIT)}/{image:012d}.jpg"
        if str(image) not in self._listed:
            fail("image_id", image, f"not listed in {self.image_paths}", "make the list from all image files")
        return self._listed[str(image)]


def _read_listed(path: Path, image_paths: Path | None) -> dict[str, str]:
    if image_paths is None:
        todo = "give image_paths, the file image_id_to_filepath.json"
        raise AnnotationError.in_file(path, "images of Objects365 are found through a list only", todo)
    listed = read_json(image_paths)
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise AnnotationError.in_file(image_paths, "not a table of paths", 'expected {"900461": "train/...", ...}')
    return listed
