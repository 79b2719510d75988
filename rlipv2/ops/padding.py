"""Images of many sizes as one tensor with a padding mask."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

# ImageNet statistics of RGB in 0-1, as every published backbone expects.
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


def pad_images(images: Sequence[Tensor]) -> tuple[Tensor, Bool[Tensor, "b h w"]]:
    """Stacks images (3, h, w) of any type at the top left of a common size, zeros elsewhere.

    Also returns the mask, True on padding. No rounding of the size. Official: util/misc.py,
    nested_tensor_from_tensor_list.
    """
    height = max(image.shape[-2] for image in images)
    width = max(image.shape[-1] for image in images)
    batch = images[0].new_zeros((len(images), images[0].shape[0], height, width))
    mask = torch.ones((len(images), height, width), dtype=torch.bool, device=images[0].device)
    for row, image in enumerate(images):
        batch[row, :, : image.shape[-2], : image.shape[-1]] = image
        mask[row, : image.shape[-2], : image.shape[-1]] = False
    return batch, mask


def normalize_images(images: UInt8[Tensor, "b 3 h w"], padding_mask: Bool[Tensor, "b h w"]) -> Float[Tensor, "b 3 h w"]:
    """0-255 pixels with ImageNet's mean removed and divided by its deviation; padding becomes 0."""
    mean = torch.tensor(PIXEL_MEAN, device=images.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(PIXEL_STD, device=images.device).view(1, 3, 1, 1) * 255
    return ((images.float() - mean) / std).masked_fill_(padding_mask[:, None], 0.0)
