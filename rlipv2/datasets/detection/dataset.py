"""COCO and Objects365: images with boxes of objects, for object-detection pre-training."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from torch.utils.data import Dataset

from rlipv2.datasets.detection.index import DetectionView, index_instances, view_of
from rlipv2.datasets.detection.layouts import LAYOUTS, LayoutName, Split, find_annotations
from rlipv2.datasets.detection.records import DetectionRecords
from rlipv2.datasets.errors import DatasetNotFoundError
from rlipv2.datasets.images import read_image
from rlipv2.datasets.store import ImageListing
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
        index: folder of the index of the annotations, by default `.rlipv2-index` in `root`. It is built on first use
            and again when the annotations changed; see `rlipv2.datasets.store`.

    Attributes:
        annotation_file: the file they came from.
        counts: what was read, skipped and dropped.

    Raises:
        DatasetNotFoundError: annotations or images are not there.
        AnnotationError: the annotations cannot be used; names the record.
        PermissionError: the index has to be built but cannot be written.
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
        index: str | Path | None = None,
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
        store = index_instances(
            self.root,
            self.annotation_file,
            self.vocabulary,
            split=split,
            image_path=partial(self.layout.image_path, split),
            index=index,
        )
        self._view = view_of(store, self.root, training=self.training, absent=self.layout.absent)
        self.counts: dict[str, int] = {"images in file": len(store.tables["images"]["image_ids"])}
        self._limit_missing(max_skip_rate)
        self.counts |= self._view.counts
        self.counts |= {"images": len(self.records), "boxes": len(self.records.boxes)}
        described = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        logger.info("%s %s from %s: %s", self.layout.title, split, self.annotation_file, described)

    @property
    def records(self) -> DetectionRecords:
        """The boxes in memory-mapped flat arrays, after all rules but the clamping."""
        return self._view.records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        annotation = self.records.annotation(range(len(self))[index])
        image = read_image(self.root / annotation.file_name)
        height, width = image.shape[1:]
        if self.training:
            annotation = annotation.clipped(height, width)
        sample = Sample(image, annotation, self.label_space, (height, width))
        return sample if self.transform is None else self.transform(sample)

    def __getstate__(self) -> dict[str, Any]:
        # loader workers that are not forked open the files again instead of getting a copy of what is in them
        return self.__dict__ | {"_view": (self._view.folder, self._view.digest)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_view": DetectionView.open(*state["_view"])}

    def _limit_missing(self, max_skip_rate: int | float) -> None:
        """Too many images whose file is not there, or any in evaluation, are an error."""
        known, others, first = self._view.missing
        missing = known + others
        if not missing:
            return
        total = len(self) + missing
        if not self.training or others > max_skip_rate * total:
            allowed = f", more than training may leave out (max_skip_rate={max_skip_rate})" if self.training else ""
            raise DatasetNotFoundError(
                f"{self.root}: {missing:,} of {total:,} images of {self.annotation_file} are missing{allowed}: "
                f"{', '.join(first[:5])}{', ...' if missing > 5 else ''}; unpack the image archives fully, see "
                f"{self.layout.readme}"
            )
        self.counts["images skipped that no copy of the dataset has"] = known
        self.counts["images skipped whose file is missing"] = others
        logger.warning("%s: %d images are skipped, their files are missing", self.root, missing)


def missing_files(root: Path, records: DetectionRecords) -> Bool[np.ndarray, " i"]:
    """True for images whose file is not under `root`; one listing per folder instead of a look at each file."""
    return ImageListing(root).missing(records.file_names)
