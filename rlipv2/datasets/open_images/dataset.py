"""Open Images v6 for scene graph generation: 288 objects, 30 relations."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import Dataset

from rlipv2.datasets.errors import ImageFileError
from rlipv2.datasets.images import read_image
from rlipv2.datasets.open_images.files import (
    ANNOTATION_FILES,
    CATEGORIES,
    README,
    SPLITS,
    Annotations,
    Split,
    find_kind,
    find_root,
    read_categories,
)
from rlipv2.datasets.open_images.names import read_label_space, relabel
from rlipv2.datasets.open_images.reader import read
from rlipv2.datasets.records import drop_broken, first_boxes, relation_images, require_images
from rlipv2.structures import Annotation, LabelSpace, RelationRecords, Sample

logger = logging.getLogger(__name__)

ASPECT_TOLERANCE = 0.01
"""Sizes whose aspect ratios differ by less are copies of one image at two scales."""


class OpenImagesSGG(Dataset[Sample]):
    """Images of Open Images v6 with their boxes and relations, as `Sample`.

    Evaluation (split "test") gives the records untouched. Training follows the official reader
    (datasets/oi_sgg.py): an image with a relation to a box that does not exist is left out altogether, images without
    relations stay, the first `max_boxes` boxes count, boxes are clamped to the image and those without area are
    dropped with their relations. Subjects have their own labels. Everything left out is counted in `counts` and logged.

    Args:
        root: folder `open_image_v6`, or the one that holds it.
        split: "train", "val" or "test". Published models are trained on "train" and evaluated on "test".
        annotations: "vrd" for the files of the package (`vrd-<split>-anno.json`), "rlipv2" for those that the official
            code made of them (`OI_SGG_*.json`, the same boxes and relations without sizes), "auto" for the first.
        label_space: the words to count in; by default those of `read_label_space`.
        transform: applied to every sample.
        training: follow the rules of training; by default only for the split "train".
        max_boxes: boxes of an image that count in training, in file order; `None` for all. Official: the number of
            queries, 200.
        max_skip_rate: share of the images in the file that training may leave out for a relation to a missing box.
        rescale_boxes: where an image file has another size than the annotations tell, at the same aspect ratio, scale
            its boxes (in evaluation too); otherwise, and with False always, that is an error. Official: sizes are
            not compared. Without effect on "rlipv2", which has none.

    Attributes:
        records: the annotations in flat arrays, labels counted in `label_space`, boxes as stored.
        annotation_file: the file they came from.
        counts: what was read, skipped and dropped.

    Raises:
        DatasetNotFoundError: folder, annotations or images are not there.
        AnnotationError: the annotations cannot be used; names the record.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        *,
        annotations: Annotations = "auto",
        label_space: LabelSpace | None = None,
        transform: Callable[[Sample], Sample] | None = None,
        training: bool | None = None,
        max_boxes: int | None = 200,
        max_skip_rate: int | float = 0.001,
        rescale_boxes: bool = True,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split={split!r}: expected one of {', '.join(map(repr, SPLITS))}")
        if not 0 <= max_skip_rate <= 1:
            raise ValueError(f"max_skip_rate={max_skip_rate}: expected a share of the images, 0 to 1")
        self.root = find_root(root)
        self.split = split
        self.training = split == "train" if training is None else training
        self.transform = transform
        self.rescale_boxes = rescale_boxes
        self.image_folder = self.root / "images"
        self.annotation_file = self.root / ANNOTATION_FILES[find_kind(self.root, split, annotations)][split]
        categories = read_categories(self.root / CATEGORIES)
        self.label_space = label_space or read_label_space(self.root, annotations=annotations)
        records = relabel(read(self.annotation_file, categories), categories, self.label_space, self.annotation_file)
        self.counts: dict[str, int] = {"images in file": len(records)}
        records = drop_broken(
            records, self.annotation_file, training=self.training, max_skip_rate=max_skip_rate, field="rel"
        )
        skipped = self.counts["images in file"] - len(records)
        self.counts["images skipped for a relation to a missing box"] = skipped
        if self.training and max_boxes is not None:
            kept = first_boxes(records, max_boxes)
            self.counts["relations beyond max_boxes dropped"] = len(records.relations) - len(kept.relations)
            records = kept
        self.records = records
        check = f"python -m rlipv2.datasets check open_images {self.root}"
        require_images(self.image_folder, records.file_names, readme=README, check=check)
        self.counts |= {"images": len(records), "boxes": len(records.boxes), "relations": len(records.relations)}
        described = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        logger.info("Open Images %s from %s: %s", split, self.annotation_file, described)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        path = self.image_folder / self.records.file_names[index]
        image = read_image(path)
        height, width = image.shape[1:]
        annotation = self._scaled(index, path, (height, width))
        if self.training:
            annotation = annotation.clipped(height, width)
        sample = Sample(image, annotation, self.label_space, (height, width))
        return sample if self.transform is None else self.transform(sample)

    @property
    def triplets(self) -> Int[np.ndarray, "h 3"]:
        """Labels (subject, relation, object) of every relation; what per-triplet evaluation counts."""
        return triplet_labels(self.records)

    def _scaled(self, index: int, path: Path, size: tuple[int, int]) -> Annotation:
        """The record in pixels of the image file."""
        annotation = self.records[index]
        told = tuple(self.records.sizes[index].tolist())
        if told in ((0, 0), size):
            return annotation
        (height, width), (told_height, told_width) = size, told
        same_shape = abs(width * told_height / (height * told_width) - 1) < ASPECT_TOLERANCE
        if not (self.rescale_boxes and same_shape):
            raise ImageFileError.at(
                path,
                f"it has {width} x {height} pixels, {self.annotation_file} says {told_width} x {told_height}",
                "boxes belong to another copy of the image: get the images of the package"
                + ("" if not same_shape else ", or set rescale_boxes"),
            )
        factors = torch.tensor([width / told_width, height / told_height] * 2)
        return dataclasses.replace(annotation, boxes_xyxy=annotation.boxes_xyxy * factors)


def triplet_labels(records: RelationRecords) -> Int[np.ndarray, "h 3"]:
    """Labels (subject, relation, object) of every relation; all relations must refer to boxes of their image."""
    first = records.box_ptr[relation_images(records)]
    subjects, objects = (records.labels[first + records.relations[:, column]] for column in (0, 1))
    return np.stack([subjects, records.relations[:, 2], objects], axis=1)
