"""COCO and Objects365: images with boxes of objects, for object-detection pre-training."""

import dataclasses
import logging
import os
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool
from torch.utils.data import Dataset

from rlipv2.datasets.detection.layouts import LAYOUTS, LayoutName, Split, find_annotations
from rlipv2.datasets.detection.reader import read_instances
from rlipv2.datasets.detection.records import DetectionRecords, to_xyxy
from rlipv2.datasets.errors import DatasetNotFoundError
from rlipv2.datasets.images import read_image
from rlipv2.ops.boxes import clip_boxes
from rlipv2.structures import LabelSpace, Sample
from rlipv2.vocabularies import ObjectVocabulary, load

logger = logging.getLogger(__name__)


class COCODetection(Dataset[Sample]):
    """Images of a detection dataset in the COCO format with their boxes, as `Sample` without relations.

    Evaluation (split "val") gives boxes as in the file; `records` also holds the crowd regions, which the
    metric needs. Training follows the official reader (datasets/coco.py): crowd regions are left out, boxes
    are clamped to the image, those without area are dropped, images without boxes stay. Doubled
    boxes of Objects365 stay too. What is left out is counted in `counts` and logged.

    Labels are rows of the names, not the ids of the file (official: the ids, for heads with 91 outputs).

    Args:
        root: folder of the dataset, see `data/coco/README.md` and `data/objects365/README.md`.
        split: "train" or "val".
        layout: "coco" or "objects365".
        annotations: "auto" for the file of the layout, or the path of one.
        transform: applied to every sample.
        training: follow the rules of training; by default only for the split "train".
        max_skip_rate: share of the images whose file may be missing in training; more is an error. The three
            images of Objects365 that no copy has do not count. Evaluation needs every image.
        vocabulary: other names or prompts than those of `vocabularies.load(layout)`.

    Attributes:
        records: the boxes in flat arrays, after all of the above but the clamping.
        annotation_file: the file they came from.
        counts: what was read, skipped and dropped.

    Raises:
        DatasetNotFoundError: annotations or images are not there.
        AnnotationError: the annotations cannot be used; names the record.
        ValueError: options out of range.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        *,
        layout: LayoutName = "coco",
        annotations: str | Path = "auto",
        transform: Callable[[Sample], Sample] | None = None,
        training: bool | None = None,
        max_skip_rate: int | float = 0.001,
        vocabulary: ObjectVocabulary | None = None,
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout={layout!r}: expected one of {sorted(LAYOUTS)}")
        if split not in ("train", "val"):
            raise ValueError(f"split={split!r}: expected 'train' or 'val'")
        if not 0 <= max_skip_rate <= 1:
            raise ValueError(f"max_skip_rate={max_skip_rate}: expected a share of the images, 0 to 1")
        self.root = Path(root).expanduser()
        self.split, self.layout = split, LAYOUTS[layout]
        self.training = split == "train" if training is None else training
        self.transform = transform
        self.vocabulary = vocabulary or load(layout)
        self.label_space = LabelSpace(objects=self.vocabulary.names, relations=())
        self.annotation_file = find_annotations(self.root, split, layout, annotations)
        records = read_instances(
            self.annotation_file, self.vocabulary, image_path=partial(self.layout.image_path, split)
        )
        self.counts: dict[str, int] = {"images in file": len(records)}
        records = self._without_missing(records, max_skip_rate)
        self.records = self._for_training(records) if self.training else records
        self.counts |= {"images": len(self.records), "boxes": len(self.records.boxes)}
        described = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        logger.info("%s %s from %s: %s", self.layout.title, split, self.annotation_file, described)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        annotation = self.records.annotation(range(len(self))[index])
        image = read_image(self.root / annotation.file_name)
        height, width = image.shape[1:]
        if self.training:
            boxes, relations, kept = clip_boxes(annotation.boxes_xyxy, annotation.relations, height=height, width=width)
            labels = annotation.labels[kept]
            annotation = dataclasses.replace(annotation, boxes_xyxy=boxes, labels=labels, relations=relations)
        sample = Sample(image, annotation, self.label_space, (height, width))
        return sample if self.transform is None else self.transform(sample)

    def _for_training(self, records: DetectionRecords) -> DetectionRecords:
        """Without crowd regions and boxes that have no area inside the image."""
        limits = np.repeat(records.sizes[:, ::-1], np.diff(records.box_ptr), axis=0)
        corners = to_xyxy(records.boxes).clip(0, np.concatenate([limits, limits], axis=1))
        flat = np.asarray((corners[:, 2:] <= corners[:, :2]).any(axis=1))
        self.counts["crowd regions dropped"] = int(records.crowd.sum())
        self.counts["boxes without area in the image dropped"] = int((flat & ~records.crowd).sum())
        return records.keep_boxes(~flat & ~records.crowd).compact()

    def _without_missing(self, records: DetectionRecords, max_skip_rate: int | float) -> DetectionRecords:
        """Leaves out images whose file is not there; too many, or any in evaluation, are an error."""
        missing = missing_files(self.root, records)
        if not missing.any():
            return records
        known = missing & np.isin(records.image_ids, list(self.layout.absent))
        others = int((missing & ~known).sum())
        if not self.training or others > max_skip_rate * len(records):
            examples = ", ".join(records.file_name(int(row)) for row in np.flatnonzero(missing)[:5])
            allowed = f", more than training may leave out (max_skip_rate={max_skip_rate})" if self.training else ""
            raise DatasetNotFoundError(
                f"{self.root}: {int(missing.sum()):,} of {len(records):,} images of {self.annotation_file} are missing"
                f"{allowed}: {examples}{', ...' if missing.sum() > 5 else ''}; unpack the image archives fully, see "
                f"{self.layout.readme}"
            )
        self.counts["images skipped that no copy of the dataset has"] = int(known.sum())
        self.counts["images skipped whose file is missing"] = others
        logger.warning("%s: %d images are skipped, their files are missing", self.root, int(missing.sum()))
        return records.select(~missing)


def missing_files(root: Path, records: DetectionRecords) -> Bool[np.ndarray, " i"]:
    """True for images whose file is not under `root`; one listing per folder instead of a look at each file."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row in range(len(records)):
        rows[str(PurePosixPath(records.file_name(row)).parent)].append(row)
    missing = np.zeros(len(records), dtype=bool)
    for folder, members in rows.items():
        present = set(os.listdir(root / folder)) if (root / folder).is_dir() else set()
        for row in members:
            missing[row] = PurePosixPath(records.file_name(row)).name not in present
    return missing
