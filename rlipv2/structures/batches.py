"""Padded images with what they should be predicted as."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from rlipv2.structures.annotations import Annotation
from rlipv2.structures.label_space import LabelSpace
from rlipv2.structures.mapping import map_parts, map_tensors


@dataclass(frozen=True)
class RelationTarget:
    """What one image should be predicted as: one row per distinct (subject box, object box) pair.

    Boxes are cx cy w h divided by the width and height of the augmented image without padding. An
    all-zero object box means that the relation has no object (V-COCO). `relations` is multi-hot.
    """

    subject_boxes: Float[Tensor, "m 4"]
    object_boxes: Float[Tensor, "m 4"]
    subject_labels: Int[Tensor, " m"]
    object_labels: Int[Tensor, " m"]
    relations: Float[Tensor, "m r"]

    def __len__(self) -> int:
        return len(self.object_labels)

    def to(self, *args: Any, **kwargs: Any) -> "RelationTarget":
        """A copy on another device."""
        return map_tensors(self, lambda _, tensor: tensor.to(*args, **kwargs))


@dataclass(frozen=True)
class DetectionTarget:
    """The boxes of one image, for object detection without relations.

    Attributes:
        boxes: cx cy w h divided by the width and height of the augmented image without padding.
        labels: row of the label space, one per box.
        annotated: which classes the dataset of this image labels at all; where two datasets are joined, the
            classes of the other one may be in the image without a box.
    """

    boxes: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    annotated: Bool[Tensor, " o"]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, *args: Any, **kwargs: Any) -> "DetectionTarget":
        """A copy on another device."""
        return map_tensors(self, lambda _, tensor: tensor.to(*args, **kwargs))


TargetT = TypeVar("TargetT", RelationTarget, DetectionTarget)


@dataclass(frozen=True)
class ImageBatch(Generic[TargetT]):
    """Images of many sizes, padded at the right and bottom, with their targets and one label space.

    Attributes:
        images: 0-255 `uint8`, or normalised float; padding is 0 and is 0 again after normalisation.
        padding_mask: True on padding.
        label_space: the texts of this batch; targets count in it.
        targets: one per image; empty list where a batch is only predicted.
        annotations: the original labels in original pixels, read by metrics; never moved off the CPU.
        original_sizes: (height, width) of the stored images in pixels.
        indices: position in the dataset, one per image: metrics drop what a sampler repeats.
    """

    images: UInt8[Tensor, "b 3 h w"] | Float[Tensor, "b 3 h w"]
    padding_mask: Bool[Tensor, "b h w"]
    label_space: LabelSpace
    targets: list[TargetT]
    annotations: list[Annotation]
    original_sizes: Int[Tensor, "b 2"]
    indices: Int[Tensor, " b"]

    def __len__(self) -> int:
        return len(self.images)

    def __getstate__(self) -> dict[str, Any]:
        # each tensor that a loader worker hands over takes a file of shared memory, an array only bytes in its message
        return self.__dict__ | self._small_parts(Tensor, lambda tensor: tensor if tensor.is_cuda else tensor.numpy())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.update(self._small_parts(np.ndarray, torch.from_numpy))

    def _small_parts(self, kind: type, function: Callable[[Any], Any]) -> dict[str, Any]:
        """What is not pixels, with a function applied to everything of one kind in it."""
        parts: dict[str, Any] = {
            name: [map_parts(item, kind, lambda _, part: function(part)) for item in getattr(self, name)]
            for name in ("targets", "annotations")
        }
        singles = {name: getattr(self, name) for name in ("original_sizes", "indices")}
        return parts | {name: function(part) for name, part in singles.items() if isinstance(part, kind)}

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """A copy whose images, mask and targets are on another device."""
        return dataclasses.replace(
            self,
            images=self.images.to(*args, **kwargs),
            padding_mask=self.padding_mask.to(*args, **kwargs),
            targets=[target.to(*args, **kwargs) for target in self.targets],
        )

    def pin_memory(self) -> Self:
        """A copy in page-locked memory; called by the loader."""
        return dataclasses.replace(
            self,
            images=self.images.pin_memory(),
            padding_mask=self.padding_mask.pin_memory(),
            targets=[map_tensors(target, lambda _, tensor: tensor.pin_memory()) for target in self.targets],
        )


class RelationBatch(ImageBatch[RelationTarget]):
    """A batch whose targets are pairs."""


class DetectionBatch(ImageBatch[DetectionTarget]):
    """A batch whose targets are single boxes."""
