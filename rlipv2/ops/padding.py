"""Images of many sizes as one tensor with a padding mask."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor

# ImageNet statistics of RGB in 0-1, as every published backbone expects.
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


def interleaved(image: Shaped[Tensor, "c h w"]) -> Shaped[Tensor, "c h w"]:
    """The same image with the channels of a pixel side by side in memory, as decoders write and convolutions like."""
    if image.is_contiguous():  # torch.stack weaves planes in half the time of contiguous()
        return torch.stack(image.unbind(0), dim=-1).permute(2, 0, 1)
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def woven(planes: Float[Tensor, "3 h w"]) -> UInt8[Tensor, "3 h w"]:
    """Planes of whole numbers from 0 to 255 as one interleaved image; half the time of casting and `interleaved`."""
    red, green, blue = planes.unbind(0)
    # whole numbers below 2**24 are exact in float32
    words = torch.add(red, green, alpha=1 << 8).add_(blue, alpha=1 << 16).to(torch.int32)
    pixels = np.empty(3 * words.numel() + 1, np.uint8)
    # words of four bytes, three bytes apart: the next one overwrites the fourth byte, which is empty
    np.ndarray(words.numel(), "<u4", pixels, strides=(3,))[:] = words.reshape(-1).numpy().view(np.uint32)
    return torch.from_numpy(pixels[:-1].reshape(*words.shape, 3)).permute(2, 0, 1)


def pad_images(images: Sequence[Tensor], *, shared: bool = False) -> tuple[Tensor, Bool[Tensor, "b h w"]]:
    """Stacks images (3, h, w) of any type at the top left of a common size, zeros elsewhere.

    Also returns the mask, True on padding. No rounding of the size. Interleaved images stay so in the batch
    ("channels last"): turning them is most of the work. Official: util/misc.py, nested_tensor_from_tensor_list.

    Args:
        images: at least one.
        shared: makes batch and mask in shared memory, from which a loader worker hands them over without a copy.
    """
    height = max(image.shape[-2] for image in images)
    width = max(image.shape[-1] for image in images)
    channels = images[0].shape[0]
    size, dtype = (len(images), height, width), images[0].dtype
    if all(image.permute(1, 2, 0).is_contiguous() for image in images):
        batch = _empty(images[0], (*size, channels), dtype, shared).permute(0, 3, 1, 2)
    else:
        batch = _empty(images[0], (len(images), channels, height, width), dtype, shared)
    mask = _empty(images[0], size, torch.bool, shared)
    for row, image in enumerate(images):
        bottom, right = image.shape[-2:]
        batch[row, :, :bottom, :right] = image
        batch[row, :, bottom:] = 0
        batch[row, :, :bottom, right:] = 0
        mask[row, :bottom, :right] = False
        mask[row, bottom:] = True
        mask[row, :bottom, right:] = True
    return batch, mask


def _empty(like: Tensor, shape: Sequence[int], dtype: torch.dtype, shared: bool) -> Tensor:
    if not shared:
        return like.new_empty(shape, dtype=dtype)
    # as torch's default_collate does it; share_memory_() would copy
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage, 0, tuple(shape))  # type: ignore[call-overload]


def normalize_images(images: UInt8[Tensor, "b 3 h w"], padding_mask: Bool[Tensor, "b h w"]) -> Float[Tensor, "b 3 h w"]:
    """0-255 pixels with ImageNet's mean removed and divided by its deviation; padding becomes 0."""
    mean = torch.tensor(PIXEL_MEAN, device=images.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(PIXEL_STD, device=images.device).view(1, 3, 1, 1) * 255
    return ((images.float() - mean) / std).masked_fill_(padding_mask[:, None], 0.0)
