"""Where the files of COCO and Objects365 lie, and how images are named in them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from rlipv2.datasets.errors import DatasetNotFoundError

Split = Literal["train", "val"]
LayoutName = Literal["coco", "objects365"]


@dataclass(frozen=True)
class Layout:
    """A detection dataset on disk.

    Attributes:
        title: its name in messages.
        readme: what explains the layout.
        annotations: annotation file of a split, relative to the root.
        image_path: path of an image relative to the root, from the split and `file_name` of its record.
        num_images: images of a split in the release.
        absent: ids of images that are in the annotations of the release but in no copy of the images.
    """

    title: str
    readme: str
    annotations: dict[Split, str]
    image_path: Callable[[Split, str], str]
    num_images: dict[Split, int]
    absent: frozenset[int] = frozenset()


def _coco_path(split: Split, file_name: str) -> str:
    return f"{split}2017/{file_name}"


def _objects365_path(split: Split, file_name: str) -> str:
    """`images/v1/patch8/objects365_v1_00420917.jpg` lies at `train/patch8/objects365_v1_00420917.jpg`."""
    return str(PurePosixPath(split, *PurePosixPath(file_name).parts[-2:]))


LAYOUTS: dict[LayoutName, Layout] = {
    "coco": Layout(
        title="COCO 2017",
        readme="data/coco/README.md",
        annotations={split: f"annotations/instances_{split}2017.json" for split in ("train", "val")},
        image_path=_coco_path,
        num_images={"train": 118_287, "val": 5_000},
    ),
    "objects365": Layout(
        title="Objects365 v2",
        readme="data/objects365/README.md",
        annotations={split: f"{split}/zhiyuan_objv2_{split}.json" for split in ("train", "val")},
        image_path=_objects365_path,
        num_images={"train": 1_742_289, "val": 80_000},
        absent=frozenset({320532, 320534, 908726}),
    ),
}


def find_annotations(root: str | Path, split: Split, layout: LayoutName, annotations: str | Path = "auto") -> Path:
    """The annotation file of a split: the one of the layout, or the path given as `annotations`.

    Raises:
        DatasetNotFoundError: no such file; the message shows what belongs where.
    """
    known = LAYOUTS[layout]
    path = Path(root).expanduser() / known.annotations[split] if annotations == "auto" else Path(annotations)
    if path.is_file():
        return path
    example = "000000000139.jpg" if layout == "coco" else "patch0/objects365_v1_00000001.jpg"
    image = known.image_path(split, example)
    raise DatasetNotFoundError(
        f"{root}: {known.title}: no annotations of the {split} split. Nothing is downloaded here; there should be\n"
        f"  {path}\nand the images, such as\n  {Path(root) / image}\nsee {known.readme}"
    )
