"""Sine position features of image tokens and of boxes."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def _frequencies(num_features: int, temperature: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    index = torch.arange(num_features, device=device, dtype=dtype)
    return temperature ** (2 * torch.div(index, 2, rounding_mode="floor") / num_features)


def _interleave(phase: Tensor) -> Tensor:
    """Sine of even and cosine of odd features, interleaved."""
    return torch.stack([phase[..., 0::2].sin(), phase[..., 1::2].cos()], dim=-1).flatten(-2)


def image_position_encoding(
    padding_mask: Bool[Tensor, "b h w"], dim: int, *, pixel_offset: float = 0.0, temperature: float = 10000.0
) -> Float[Tensor, "b h w d"]:
    """Sine features of each token's row and column, counted over tokens that are not padding.

    Args:
        padding_mask: True on padding.
        dim: width of the result: first half y, second half x.
        pixel_offset: subtracted from the 1-based count. Official: 0 with ResNet (models/position_encoding.py),
            0.5 with Swin (models/swin/position_encoding.py); docs/parity.md, Q3.
        temperature: base of the wavelengths.
    """
    # float32 and this order of operations: where a column holds padding only, the count is divided by
    # 1e-6 and the sine of the result depends on rounding (Swin variants, golden data).
    valid = (~padding_mask).float()
    frequencies = _frequencies(dim // 2, temperature, valid.device, valid.dtype)

    def encode(count: Tensor, last: Tensor) -> Tensor:
        position = (count - pixel_offset) / (last + 1e-6) * (2 * math.pi)
        return _interleave(position[..., None] / frequencies)

    rows, columns = valid.cumsum(1), valid.cumsum(2)
    return torch.cat([encode(rows, rows[:, -1:, :]), encode(columns, columns[:, :, -1:])], dim=-1)


def box_position_encoding(
    boxes: Float[Tensor, "... 4"], dim: int, *, temperature: float = 10000.0
) -> Float[Tensor, "... f"]:
    """Sine features of cx cy w h (0-1), `dim` per coordinate, in the official order y, x, w, h.

    DAB-DETR (ICLR 2022), section 4.1. Official: models/dab_deformable/deformable_transformer.py.
    """
    phase = boxes[..., None] * (2 * math.pi) / _frequencies(dim, temperature, boxes.device, boxes.dtype)
    x, y, width, height = _interleave(phase).unbind(-2)
    return torch.cat([y, x, width, height], dim=-1)
