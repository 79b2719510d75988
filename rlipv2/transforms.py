"""Augmentation of an image together with its boxes and relations: `Sample` in, `Sample` out.

Boxes are x1 y1 x2 y2 in pixels of the current image. Images stay uint8: the model normalises them
on its device. All randomness comes from the `torch.Generator` a transform is called with (None: the
global one of torch), so the result is a pure function of the sample and the generator's seed.

Official: datasets/transforms.py and datasets/hico/dataset.py, make_hico_transforms.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as F

from rlipv2.ops.padding import interleaved, woven
from rlipv2.ops.sizes import resized_size
from rlipv2.structures import Annotation, Sample

SHORT_SIDES = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)


@runtime_checkable
class Transform(Protocol):
    """Anything that maps a sample to a new one."""

    def __call__(self, sample: Sample, generator: Generator | None = None) -> Sample:
        """Returns a new sample; the given one is not changed."""
        ...


def resize_image(image: UInt8[Tensor, "3 h w"], size: tuple[int, int]) -> UInt8[Tensor, "3 _ _"]:
    """The image scaled to (height, width), antialiased bilinear; channels of a pixel side by side in memory."""
    # torchvision resizes interleaved pixels three times as fast, to the same values; a cut-out it takes for planes
    return F.resize(interleaved(image), list(size), antialias=True)


def _with_boxes(annotation: Annotation, boxes_xyxy: Tensor) -> Annotation:
    return dataclasses.replace(annotation, boxes_xyxy=boxes_xyxy)


def _uniform(low: float, high: float, generator: Generator | None) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def _integer(low: int, high: int, generator: Generator | None) -> int:
    """Uniform over low..high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


class Compose:
    """Applies transforms one after the other."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, sample: Sample, generator: Generator | None = None) -> Sample:
        """Returns the sample after the last transform."""
        for transform in self.transforms:
            sample = transform(sample, generator)
        return sample


class Choice:
    """Applies one of the transforms, each with the same probability."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, sample: Sample, generator: Generator | None = None) -> Sample:
        """Returns the sample after the chosen transform."""
        return self.transforms[_integer(0, len(self.transforms) - 1, generator)](sample, generator)


class HorizontalFlip:
    """Mirrors image and boxes with some probability. Texts such as "left of" are left as they are, as officially."""

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = probability

    def __call__(self, sample: Sample, generator: Generator | None = None) -> Sample:
        """Returns the sample, mirrored or not."""
        if torch.rand((), generator=generator).item() >= self.probability:
            return sample
        x1, y1, x2, y2 = sample.annotation.boxes_xyxy.unbind(-1)
        width = sample.image.shape[-1]
        boxes = torch.stack([width - x2, y1, width - x1, y2], -1)
        return dataclasses.replace(
            sample, image=sample.image.flip(-1), annotation=_with_boxes(sample.annotation, boxes)
        )


class ColorJitter:
    """Changes brightness, contrast and saturation in random order, factors in [1 - amount, 1 + amount].

    The values are those that torchvision's functions for uint8 images give one after the other,
    bit by bit. Here all three work in place on one float32 copy, plane by plane, in a third of the time.
    """

    def __init__(self, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4) -> None:
        self.operations = ((_brighten, brightness), (_stretch, contrast), (_saturate, saturation))

    def __call__(self, sample: Sample, generator: Generator | None = None) -> Sample:
        """Returns the sample with other colours."""
        pixels = sample.image.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        for index in torch.randperm(len(self.operations), generator=generator).tolist():
            adjust, amount = self.operations[index]
            factor = _uniform(max(0.0, 1 - amount), 1 + amount, generator)
            adjust(pixels, factor)
            if factor > 1:  # else a mean of values in range
                pixels.clamp_(0, 255)
            pixels.floor_()
        return dataclasses.replace(sample, image=woven(pixels))


def _brighten(pixels: Float[Tensor, "3 h w"], factor: float) -> None:
    pixels.mul_(factor)


def _stretch(pixels: Float[Tensor, "3 h w"], factor: float) -> None:
    mean = _grey(pixels).mean(dim=(-3, -2, -1), keepdim=True)
    pixels.mul_(factor).add_(mean, alpha=1.0 - factor)


def _saturate(pixels: Float[Tensor, "3 h w"], factor: float) -> None:
    grey = _grey(pixels)
    pixels.mul_(factor).add_(grey, alpha=1.0 - factor)


def _grey(pixels: Float[Tensor, "3 h w"]) -> Float[Tensor, "1 h w"]:
    red, green, blue = pixels.split(1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()


class Resize:
    """Scales the short side to one of `short_sides` (antialiased bilinear), see `resized_size`.

    Args:
        short_sides: pixels; one is drawn with equal probability.
        max_size: limit of the long side in pixels, None for no limit.
        scale_boxes: False leaves the annotation in pixels of the given image (evaluation).
    """

    def __init__(self, short_sides: Sequence[int], max_size: int | None = None, *, scale_boxes: bool = True) -> None:
        self.short_sides = tuple(short_sides)
        self.max_size = max_size
        self.scale_boxes = scale_boxes

    def __call__(self, sample: Sample, generator: Generator | None = None) -> Sample:
        """Returns the scaled sample."""
        last = len(self.short_sides) - 1
        short_side = self.short_sides[_integer(0, last, generator) if last else 0]
        height, width = sample.image.shape[-2:]
        new_height, new_width = resized_size(height, width, short_side, self.max_size)
        image = resize_image(sample.image, (new_height, new_width))
        if not self.scale_boxes:
            return dataclasses.replace(sample, image=image)
        scale = torch.tensor([new_width / width, new_height / height] * 2, dtype=torch.float32)
        annotation = _with_boxes(sample.annotation, sample.annotation.boxes_xyxy * scale)
        return dataclasses.replace(sample, image=image, annotation=annotation)


class RandomCrop:
    """Cuts out a random region whose sides are uniform in [min_side, min(max_side, image side)] pixels.

    Partly visible boxes are clipped and kept, boxes outside are removed with their relations. A side
    shorter than `min_side` stays whole.
    """

    def __init__(self, min_side: int, max_side: int) -> None:
        self.min_side = min_side
        self.max_side = max_side

    def __call__(self, sample: Sample, generator: Generator | None = None) -> Sample:
        """Returns the region."""
        height, width = sample.image.shape[-2:]
        new_width = _integer(min(self.min_side, width), min(self.max_side, width), generator)
        new_height = _integer(min(self.min_side, height), min(self.max_side, height), generator)
        top = _integer(0, height - new_height, generator)
        left = _integer(0, width - new_width, generator)
        image = sample.image[:, top : top + new_height, left : left + new_width]
        boxes = sample.annotation.boxes_xyxy - torch.tensor([left, top, left, top], dtype=torch.float32)
        annotation = _with_boxes(sample.annotation, boxes).clipped(new_height, new_width)
        return dataclasses.replace(sample, image=image, annotation=annotation)


def train_transform(
    *,
    short_sides: Sequence[int] = SHORT_SIDES,
    max_size: int | None = 1333,
    crop_short_sides: Sequence[int] | None = (400, 500, 600),
    crop_sides: tuple[int, int] = (384, 600),
    flip: float = 0.5,
    color_jitter: float = 0.4,
) -> Compose:
    """The official training recipe: flip, colour jitter, then either a resize or resize, crop, resize.

    Args:
        short_sides: the short side after augmentation, pixels.
        max_size: limit of the long side, pixels.
        crop_short_sides: short side before the crop; None leaves the crop branch out.
        crop_sides: smallest and largest side of the crop, pixels.
        flip: probability of mirroring.
        color_jitter: strength of brightness, contrast and saturation changes, 0 for none.
    """
    resize = Resize(short_sides, max_size)
    steps: list[Transform] = [HorizontalFlip(flip)]
    if color_jitter > 0:
        steps.append(ColorJitter(color_jitter, color_jitter, color_jitter))
    if crop_short_sides is None:
        steps.append(resize)
    else:
        steps.append(Choice([resize, Compose([Resize(crop_short_sides), RandomCrop(*crop_sides), resize])]))
    return Compose(steps)


def eval_transform(*, short_side: int = 800, max_size: int | None = 1333) -> Resize:
    """The official evaluation recipe: scales the image and leaves the annotation in original pixels."""
    return Resize([short_side], max_size, scale_boxes=False)
