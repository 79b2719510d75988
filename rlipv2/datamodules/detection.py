"""Object-detection pre-training: COCO alone, or COCO and Objects365 joined."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import ConcatDataset, Dataset, get_worker_info

from rlipv2.datamodules.base import RelationDataModule
from rlipv2.datasets.detection import COCODetection, find_annotations
from rlipv2.ops.boxes import xyxy_to_cxcywh
from rlipv2.ops.padding import pad_images
from rlipv2.structures import DetectionBatch, DetectionTarget, LabelSpace, Sample
from rlipv2.vocabularies import load

Corpus = Literal["coco", "objects365"]


class DetectionDataModule(RelationDataModule):
    """Trains on the training split of one or two detection datasets, evaluates on the validation split of one.

    Images of both are put one after the other and drawn with equal probability, as the official code does with
    joined corpora. Classes are joined by name, those of COCO first: COCO and Objects365 share 69 names and have 376
    together; classes that are spelt differently ("tv", "monitor/tv") stay two. Every target tells which
    classes the dataset of its image labels, so that the loss can leave the others out. Evaluation asks for the
    classes of the evaluated dataset only.

    Args:
        coco: folder of COCO 2017, or None.
        objects365: folder of Objects365 v2, or None.
        evaluate: the dataset whose validation split is evaluated; None for the first one given.
        max_skip_rate: share of the training images that may be missing (see `COCODetection`).
        index: folder of the indices of all annotations, by default one in each dataset (see `COCODetection`).
        loading: arguments of `RelationDataModule`.

    Raises:
        DatasetNotFoundError: from `setup`, if a dataset is not there.
        ValueError: no dataset, or one to evaluate that is not given.
    """

    def __init__(
        self,
        *,
        coco: str | Path | None = None,
        objects365: str | Path | None = None,
        evaluate: Corpus | None = None,
        max_skip_rate: float = 0.001,
        index: str | Path | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        given: dict[Corpus, str | Path | None] = {"coco": coco, "objects365": objects365}
        self.roots = {name: Path(root) for name, root in given.items() if root is not None}
        if not self.roots:
            raise ValueError("neither coco nor objects365 is given; name the folder of at least one")
        self.evaluate: Corpus = next(iter(self.roots)) if evaluate is None else evaluate
        if self.evaluate not in self.roots:
            raise ValueError(f"evaluate={evaluate!r}: expected one of the given datasets {sorted(self.roots)}")
        self.max_skip_rate = max_skip_rate
        self.index = index

    def require_data(self) -> None:
        """Finds the annotation files.

        Raises:
            DatasetNotFoundError: one is missing, and there is nothing that would generate it.
        """
        if self.prepare is None:
            for name, root in self.roots.items():
                find_annotations(root, "train", name)
            find_annotations(self.roots[self.evaluate], "val", self.evaluate)

    def load_datasets(self, stage: str) -> Mapping[str, Dataset[Sample]]:
        """The joined training splits for "fit", and the validation split for everything."""
        datasets: dict[str, Dataset[Sample]] = {"val": self._evaluated, "test": self._evaluated}
        if stage == "fit":
            parts = [
                COCODetection(root, "train", layout=name, max_skip_rate=self.max_skip_rate, index=self.index)
                for name, root in self.roots.items()
            ]
            datasets["train"] = parts[0] if len(parts) == 1 else ConcatDataset(parts)
        return datasets

    @cached_property
    def _evaluated(self) -> COCODetection:
        return COCODetection(self.roots[self.evaluate], "val", layout=self.evaluate, index=self.index)

    @cached_property
    def label_space(self) -> LabelSpace:
        """The classes of all datasets, by name."""
        return LabelSpace(objects=tuple(dict.fromkeys(name for names in self._names for name in names)), relations=())

    @property
    def _names(self) -> list[tuple[str, ...]]:
        return [load(name).names for name in self.roots]

    def metric_arguments(self) -> dict[str, Any]:
        """`ground_truth`, arrays of all boxes of the evaluated split, and `category_ids` of its label space."""
        dataset = self._evaluated
        records, category_ids = dataset.records, dataset.vocabulary.category_ids
        truth = {
            "id": records.image_ids,
            "box_ptr": records.box_ptr,
            "bbox": records.boxes,
            "category_id": category_ids[records.labels],
            "area": records.areas,
            "iscrowd": records.crowd,
        }
        return {"ground_truth": truth, "category_ids": category_ids}

    def batch_builder(self, *, training: bool) -> Callable[[Sequence[tuple[int, Sample]]], DetectionBatch]:  # type: ignore[override]
        """Batches of single boxes."""
        space = self.label_space if training else self._evaluated.label_space
        return partial(collate_boxes, label_space=space, boxes_in="image" if training else "original")


def collate_boxes(
    items: Sequence[tuple[int, Sample]], *, label_space: LabelSpace, boxes_in: Literal["image", "original"]
) -> DetectionBatch:
    """A batch of (position in the dataset, sample) items.

    Args:
        items: at least one.
        label_space: what the targets count in; holds the objects of every sample.
        boxes_in: what the boxes of the annotations are measured in: pixels of the transformed image
            (training: such annotations do not reach the batch) or pixels of the stored image (evaluation).
    """
    samples = [sample for _, sample in items]
    images, padding_mask = pad_images([sample.image for sample in samples], shared=get_worker_info() is not None)
    original = boxes_in == "original"
    return DetectionBatch(
        images=images,
        padding_mask=padding_mask,
        label_space=label_space,
        targets=[
            box_target(sample, sample.original_size if original else tuple(sample.image.shape[1:]), label_space)
            for sample in samples
        ],
        annotations=[sample.annotation for sample in samples] if original else [],
        original_sizes=torch.tensor([sample.original_size for sample in samples], dtype=torch.int64),
        indices=torch.tensor([index for index, _ in items], dtype=torch.int64),
    )


def box_target(sample: Sample, size: tuple[int, ...], label_space: LabelSpace) -> DetectionTarget:
    """The boxes of a sample in an image of `size` (height, width), labels counted in `label_space` by name.

    Boxes are clipped to the image; those left without area are dropped.

    Raises:
        KeyError: an object of the sample's label space that the other one lacks.
    """
    height, width = size
    annotation = sample.annotation.clipped(height, width)
    rows = {name: row for row, name in enumerate(label_space.objects)}
    own = torch.tensor([rows[name] for name in sample.label_space.objects])
    annotated = torch.zeros(len(rows), dtype=torch.bool)
    annotated[own] = True
    return DetectionTarget(
        boxes=xyxy_to_cxcywh(annotation.boxes_xyxy) / torch.tensor([width, height, width, height]),
        labels=own[annotation.labels],
        annotated=annotated,
    )
