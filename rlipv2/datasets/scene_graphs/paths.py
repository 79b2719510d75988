"""Where the image of a scene-graph record lies, relative to the folder of its dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json

DATASETS = ("vg", "coco2017", "o365", "hico")
DEFAULT_SPLIT = "train2017"


def image_files(content: Sequence[dict[str, Any]], path: Path, image_paths: Path | None) -> tuple[str, ...]:
    """One file name per record, by its `dataset` (none: Visual Genome).

    Visual Genome: `images/<id>.jpg`. COCO: `<data_split>/<id, 12 digits>.jpg`, in train2017 where the record tells no
    split. Objects365: as listed in `image_paths`. HICO-DET: `images/train2015/<id>`, where the id is a file name.

    Raises:
        AnnotationError: an unknown dataset, records of two datasets, an id of the wrong kind or one that is not listed.
    """
    first = content[0].get("dataset", "vg")
    listed = _read_listed(path, image_paths) if first == "o365" else {}
    files = []
    for number, record in enumerate(content):
        image, dataset = record["image_id"], record.get("dataset", "vg")

        def fail(
            field: str, value: Any, wrong: str, todo: str, *, number: int = number, image: Any = image
        ) -> NoReturn:
            raise AnnotationError.in_record(path, number, image, field=field, value=value, wrong=wrong, todo=todo)

        if dataset not in DATASETS:
            fail("dataset", dataset, "unknown", f"expected one of {DATASETS[1:]}, or none for Visual Genome")
        if dataset != first:
            fail("dataset", dataset, f"the first record is of {first!r}", "give each dataset its own file and folder")
        if dataset != "vg" and isinstance(image, str) != (dataset == "hico"):
            fail("image_id", image, f"not an id of {dataset}", "HICO-DET has file names as ids, the others numbers")
        if dataset == "vg":
            files.append(f"images/{image}.jpg")
        elif dataset == "hico":
            files.append(f"images/train2015/{image}")
        elif dataset == "coco2017":
            files.append(f"{record.get('data_split', DEFAULT_SPLIT)}/{image:012d}.jpg")
        else:
            if str(image) not in listed:
                fail("image_id", image, f"not listed in {image_paths}", "make the list from all image files")
            files.append(listed[str(image)])
    return tuple(files)


def _read_listed(path: Path, image_paths: Path | None) -> dict[str, str]:
    if image_paths is None:
        todo = "give image_paths, the file image_id_to_filepath.json"
        raise AnnotationError.in_file(path, "images of Objects365 are found through a list only", todo)
    listed = read_json(image_paths)
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise AnnotationError.in_file(image_paths, "not a table of paths", 'expected {"900461": "train/...", ...}')
    return listed
