"""Boxes of a detection dataset in flat arrays."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from rlipv2.ops.texts import TextArray
from rlipv2.structures import Annotation, RelationRecords


@dataclass(frozen=True)
class DetectionRecords:
    """All boxes of a split: image i owns `boxes[box_ptr[i]:box_ptr[i + 1]]`, in the order of the annotation file.

    Arrays only, no Python object per image or box: Objects365 has 1.8 million images and 25 million boxes,
    and loader workers copy pages of Python objects.

    Attributes:
        image_ids: one number per image, unique.
        file_names: path of each image relative to the root of the dataset.
        sizes: (height, width) in pixels as the annotation file tells them.
        boxes: x y w h in pixels, as in the annotation file.
        labels: row of the object names.
        areas: of the object in pixels (COCO: of its mask), as in the annotation file.
        crowd: true for a region of many objects that are not labelled one by one.
        box_ptr: where each image's boxes begin.
    """

    image_ids: Int[np.ndarray, " i"]
    file_names: TextArray
    sizes: Int[np.ndarray, "i 2"]
    boxes: Float[np.ndarray, "n 4"]
    labels: Int[np.ndarray, " n"]
    areas: Float[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]
    box_ptr: Int[np.ndarray, " i+1"]

    def __len__(self) -> int:
        return len(self.image_ids)

    def file_name(self, index: int) -> str:
        """The path of an image relative to the root of the dataset."""
        return self.file_names[index]

    def annotation(self, index: int) -> Annotation:
        """The labels of an image without its crowd regions, which neither training nor a loss can use."""
        rows = slice(self.box_ptr[index], self.box_ptr[index + 1])
        single = ~self.crowd[rows]
        return Annotation(
            image_id=int(self.image_ids[index]),
            file_name=self.file_name(index),
            boxes_xyxy=torch.from_numpy(to_xyxy(self.boxes[rows][single]).astype(np.float32)),
            labels=torch.from_numpy(self.labels[rows][single].astype(np.int64)),
            relations=torch.zeros(0, 3, dtype=torch.int64),
        )

    def part(self, start: int, stop: int) -> "DetectionRecords":
        """The images from one position up to another, in the same arrays."""
        rows = slice(int(self.box_ptr[start]), int(self.box_ptr[stop]))
        return DetectionRecords(
            image_ids=self.image_ids[start:stop],
            file_names=self.file_names[start:stop],
            sizes=self.sizes[start:stop],
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            areas=self.areas[rows],
            crowd=self.crowd[rows],
            box_ptr=self.box_ptr[start : stop + 1] - rows.start,
        )

    def select(self, keep: Bool[np.ndarray, " i"]) -> "DetectionRecords":
        """Only the images where `keep` is true."""
        boxes = np.repeat(keep, np.diff(self.box_ptr))
        records = self.keep_boxes(boxes)
        ptr = np.concatenate([[0], np.cumsum(np.diff(self.box_ptr)[keep])]).astype(np.int64)
        return dataclasses.replace(
            records,
            image_ids=self.image_ids[keep],
            file_names=self.file_names.take(np.flatnonzero(keep)),
            sizes=self.sizes[keep],
            box_ptr=ptr,
        )

    def keep_boxes(self, keep: Bool[np.ndarray, " n"]) -> "DetectionRecords":
        """The same images with only the boxes where `keep` is true."""
        counts = np.concatenate([[0], np.cumsum(keep)])
        return dataclasses.replace(
            self,
            boxes=self.boxes[keep],
            labels=self.labels[keep],
            areas=self.areas[keep],
            crowd=self.crowd[keep],
            box_ptr=counts[self.box_ptr].astype(np.int64),
        )

    def compact(self) -> "DetectionRecords":
        """The same records with boxes and areas in float32 and labels in 16 bits: 23 instead of 49 bytes a box."""
        return dataclasses.replace(
            self,
            boxes=self.boxes.astype(np.float32),
            labels=self.labels.astype(np.int16),
            areas=self.areas.astype(np.float32),
        )

    def relation_records(self) -> RelationRecords:
        """The same boxes (crowds too) as x1 y1 x2 y2, in the form the checks of all datasets read; no relations."""
        return RelationRecords(
            image_ids=self.image_ids,
            file_names=self.file_names,
            sizes=self.sizes,
            boxes=to_xyxy(self.boxes).astype(np.float32),
            labels=self.labels.astype(np.int64),
            box_ptr=self.box_ptr,
            relations=np.zeros((0, 3), np.int64),
            relation_ptr=np.zeros(len(self) + 1, np.int64),
        )


def to_xyxy(boxes_xywh: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """Corners of boxes given by corner and size, without any pixel added.

    >>> to_xyxy(np.array([[1.0, 2.0, 3.0, 4.0]])).tolist()
    [[1.0, 2.0, 4.0, 6.0]]
    """
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)
