"""A user's own images with boxes, names and relations; docs/custom_data.md describes the files."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from torch.utils.data import Dataset

from rlipv2.datasets.custom.layout import IMAGES, annotation_path
from rlipv2.datasets.custom.names import Choice, read_label_space, relabel
from rlipv2.datasets.custom.read import read_custom
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError, ImageFileError
from rlipv2.datasets.images import read_image
from rlipv2.datasets.records import first_boxes, missing_images, require_images
from rlipv2.structures import LabelSpace, RelationRecords, Sample

logger = logging.getLogger(__name__)

README = "docs/custom_data.md"
STANDARD_SPLITS = ("train", "val", "test")
NORMALISED = 1.5
"""Boxes of a whole split that end before this many pixels are taken for fractions of the image."""


class CustomRelations(Dataset[Sample]):
    """The images of `ROOT/annotations/<split>.json` with their boxes and relations, as `Sample`.

    Evaluation gives the records untouched. In training boxes are clamped to the image, and those that lie outside
    altogether are dropped with their relations.

    Args:
        root: folder with `annotations/` and `images/`.
        split: name of an annotation file, such as "train".
        label_space: "train" for the names of `train.json`, "all" for those of train, val and test together, or
            the names to count in (every name that occurs must be one of them).
        transform: applied to every sample.
        training: follow the rules of training; by default only for the split "train".
        max_boxes: boxes of an image that count in training, in file order; `None` for all.

    Attributes:
        records: the annotations in flat arrays, labels counted in `label_space`; `image_ids` count from 0.
        annotation_file: the file they came from.

    Raises:
        DatasetNotFoundError: folder, annotations or images are not there.
        AnnotationError: the annotations cannot be used; names the record. In training also where all boxes lie within
            0 to 1, as fractions of the image do.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        label_space: LabelSpace | Choice = "train",
        transform: Callable[[Sample], Sample] | None = None,
        training: bool | None = None,
        max_boxes: int | None = None,
    ) -> None:
        self.root = Path(root).expanduser()
        self.split = split
        self.training = split == "train" if training is None else training
        self.transform = transform
        self.image_folder = self.root / IMAGES
        self.annotation_file = annotation_path(self.root, split)
        require_split(self.root, split)
        if not isinstance(label_space, LabelSpace):
            label_space = read_label_space(self.root, label_space, (*STANDARD_SPLITS, split))
        self.label_space = label_space
        records = relabel(read_custom(self.annotation_file), label_space)
        if self.training and look_normalised(records):
            wrong = f"all {len(records.boxes):,} boxes lie within 0 to 1, such as {records.boxes[0].tolist()}"
            todo = "pixels of the image file are expected: multiply x by its width and y by its height"
            raise AnnotationError.in_file(self.annotation_file, wrong, todo)
        if self.training and max_boxes is not None:
            records = first_boxes(records, max_boxes)
        self.records = records
        check = f"python -m rlipv2.datasets check custom {self.root}"
        if misplaced := misplaced_images(self.root, records.file_names):
            raise DatasetNotFoundError(
                f"{self.image_folder}: {len(misplaced):,} images are not there, but in {self.root} "
                f"({', '.join(misplaced[:5])}); file_name is relative to {self.image_folder}: "
                f"write {_inside(misplaced[0])}"
            )
        require_images(self.image_folder, records.file_names, readme=README, check=check)
        logger.info(
            "%s: %s images, %s boxes, %s relations",
            self.annotation_file,
            *(f"{len(rows):,}" for rows in (records, records.boxes, records.relations)),
        )

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        annotation = self.records[index]
        path = self.image_folder / annotation.file_name
        image = read_image(path)
        height, width = image.shape[1:]
        told = tuple(self.records.sizes[index].tolist())
        if told not in ((0, 0), (height, width)):
            raise ImageFileError.at(
                path,
                f"it has {width} x {height} pixels, {self.annotation_file} says {told[1]} x {told[0]}",
                "boxes belong to another copy of the image: use that copy, or scale the boxes",
            )
        if self.training:
            annotation = annotation.clipped(height, width)
        sample = Sample(image, annotation, self.label_space, (height, width))
        return sample if self.transform is None else self.transform(sample)


def look_normalised(records: RelationRecords) -> bool:
    """Whether all boxes lie within 0 to 1, or nearly, as fractions of the image do."""
    return bool(len(records.boxes) and records.boxes.max() <= NORMALISED and records.boxes.min() >= 1 - NORMALISED)


def misplaced_images(root: Path, file_names: Sequence[str]) -> list[str]:
    """The file names that are right relative to `root`, but not, as they should be, relative to `root/images`."""
    folder = root / IMAGES
    missing = missing_images(folder, file_names) if folder.is_dir() else file_names
    return [name for name in missing if (root / name).is_file()]


def _inside(name: str) -> str:
    """What to write in place of a name that `misplaced_images` found."""
    begins = f"{IMAGES}/"
    return repr(name.removeprefix(begins)) if name.startswith(begins) else f"the path below it, and move {name} there"


def require_split(root: Path, split: str) -> Path:
    """The annotation file of a split.

    Raises:
        DatasetNotFoundError: there is none; the message shows the layout and the splits that there are.
    """
    path = annotation_path(root, split)
    if path.is_file():
        return path
    there = sorted(file.stem for file in path.parent.glob("*.json"))
    raise DatasetNotFoundError(
        f"{path}: annotation file of the split {split!r} not found. Expected\n"
        f"  {root}/annotations/train.json, val.json, test.json and\n"
        f"  {root}/images/...\n"
        f"found the splits {', '.join(there) or 'none'}; another split can stand in for this one "
        f"(data.{split if split in STANDARD_SPLITS else 'test'}={there[0] if there else 'NAME'}); see {README}"
    )
