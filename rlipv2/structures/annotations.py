"""The labels of images: of one, of a whole dataset split, and beside its pixels."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from rlipv2.ops.boxes import clip_boxes
from rlipv2.ops.texts import TextArray
from rlipv2.structures.label_space import LabelSpace


@dataclass(frozen=True)
class Annotation:
    """The labels of one image, boxes in pixels of the image as stored (EXIF rotation ignored).

    Attributes:
        image_id: unique within the dataset; the metrics drop repeated images by it.
        file_name: path relative to the image folder of the dataset.
        boxes_xyxy: x1 y1 x2 y2 in pixels.
        labels: row of the dataset's object names, one per box.
        relations: rows (subject box, object box, relation); the same pair may hold several relations.
            The object box is -1 where a relation has no object (V-COCO).
    """

    image_id: int
    file_name: str
    boxes_xyxy: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    relations: Int[Tensor, "h 3"]

    def clipped(self, height: int, width: int) -> "Annotation":
        """The annotation with boxes cut to an image; those left without area go, with their relations."""
        boxes, relations, kept = clip_boxes(self.boxes_xyxy, self.relations, height=height, width=width)
        return dataclasses.replace(self, boxes_xyxy=boxes, labels=self.labels[kept], relations=relations)


@dataclass(frozen=True)
class RelationRecords:
    """All annotations of a dataset split in flat arrays: image i owns `boxes[box_ptr[i]:box_ptr[i + 1]]`.

    Flat arrays instead of lists of dicts keep loader workers from copying pages of small Python
    objects. Same layout as the ground-truth files of `rlipv2.metrics`.

    Attributes:
        image_ids: one number per image, unique unless a split repeats an image on purpose.
        file_names: paths relative to the image folder; large datasets give a `TextArray`.
        sizes: (height, width) in pixels where the annotation file tells them, else (0, 0).
        boxes: x1 y1 x2 y2 in pixels, as stored in the annotation file.
        labels: row of the object names per box.
        relations: (subject box, object box or -1 for none, relation), boxes counted within the image.
    """

    image_ids: Int[np.ndarray, " i"]
    file_names: Sequence[str]
    sizes: Int[np.ndarray, "i 2"]
    boxes: Float[np.ndarray, "n 4"]
    labels: Int[np.ndarray, " n"]
    box_ptr: Int[np.ndarray, " i+1"]
    relations: Int[np.ndarray, "h 3"]
    relation_ptr: Int[np.ndarray, " i+1"]

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> Annotation:
        index = range(len(self))[index]
        boxes = slice(self.box_ptr[index], self.box_ptr[index + 1])
        relations = slice(self.relation_ptr[index], self.relation_ptr[index + 1])
        return Annotation(
            image_id=int(self.image_ids[index]),
            file_name=self.file_names[index],
            boxes_xyxy=torch.from_numpy(self.boxes[boxes].astype(np.float32)),
            labels=torch.from_numpy(self.labels[boxes].astype(np.int64)),
            relations=torch.from_numpy(self.relations[relations].astype(np.int64)),
        )

    def __iter__(self) -> Iterator[Annotation]:
        return (self[index] for index in range(len(self)))

    def select(self, indices: Sequence[int] | Int[np.ndarray, " k"]) -> "RelationRecords":
        """The images at `indices`, in that order; an index may come more than once."""
        indices, names = np.asarray(indices, dtype=np.int64), self.file_names

        def rows(ptr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            lengths = np.diff(ptr)[indices]
            new_ptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            flat = np.repeat(ptr[:-1][indices] - new_ptr[:-1], lengths) + np.arange(new_ptr[-1])
            return flat.astype(np.int64), new_ptr

        boxes, box_ptr = rows(self.box_ptr)
        relations, relation_ptr = rows(self.relation_ptr)
        return dataclasses.replace(
            self,
            image_ids=self.image_ids[indices],
            file_names=names.take(indices)
            if isinstance(names, TextArray)
            else tuple(names[index] for index in indices),
            sizes=self.sizes[indices],
            boxes=self.boxes[boxes],
            labels=self.labels[boxes],
            box_ptr=box_ptr,
            relations=self.relations[relations],
            relation_ptr=relation_ptr,
        )

    def keep_relations(self, keep: Bool[np.ndarray, " h"]) -> "RelationRecords":
        """The same images and boxes with only the relations where `keep` is true."""
        counts = np.concatenate([[0], np.cumsum(keep)])
        return dataclasses.replace(
            self, relations=self.relations[keep], relation_ptr=counts[self.relation_ptr].astype(np.int64)
        )

    @classmethod
    def from_annotations(
        cls, annotations: Sequence[Annotation], sizes: Sequence[tuple[int, int]] = ()
    ) -> "RelationRecords":
        """Packs a list of annotations; `sizes` are (height, width) per image, empty for unknown."""

        def flat(arrays: list[Tensor], width: tuple[int, ...], dtype: type) -> np.ndarray:
            return np.concatenate([np.zeros((0, *width), dtype), *(a.numpy().astype(dtype) for a in arrays)])

        def ptr(arrays: list[Tensor]) -> np.ndarray:
            return np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64)

        boxes, relations = [a.boxes_xyxy for a in annotations], [a.relations for a in annotations]
        return cls(
            image_ids=np.array([a.image_id for a in annotations], np.int64),
            file_names=tuple(a.file_name for a in annotations),
            sizes=np.array(sizes or np.zeros((len(annotations), 2)), np.int64).reshape(-1, 2),
            boxes=flat(boxes, (4,), np.float32),
            labels=flat([a.labels for a in annotations], (), np.int64),
            box_ptr=ptr(boxes),
            relations=flat(relations, (3,), np.int64),
            relation_ptr=ptr(relations),
        )


@dataclass(frozen=True)
class Sample:
    """One item of a dataset before collation.

    Attributes:
        image: RGB, 0-255, `uint8` until the model normalises it on its device.
        annotation: labels in pixels of `image`: transforms return a new one. Evaluation transforms
            leave it in pixels of the original image (official evaluation targets are never resized).
        label_space: names that `annotation.labels` and `annotation.relations` count in.
        original_size: (height, width) of the stored image in pixels.
        draw: a number drawn with the augmentation, a function of (seed, epoch, position in the dataset):
            what is chosen at random when the batch is made is seeded with it.
    """

    image: UInt8[Tensor, "3 h w"]
    annotation: Annotation
    label_space: LabelSpace
    original_size: tuple[int, int]
    draw: int = 0
