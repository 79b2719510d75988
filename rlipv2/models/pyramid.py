"""Backbone maps -> one sequence of tokens with positions, the input of the encoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from rlipv2.layers.mlp import at_least_float32
from rlipv2.layers.position_encoding import image_position_encoding


@dataclass(frozen=True)
class FeaturePyramid:
    """Image tokens of all levels, finest level first, each level row by row.

    Attributes:
        tokens: features.
        positions: sine features plus level embedding.
        padding_mask: True on padding.
        shapes: (height, width) of every level.
        valid_ratios: part of every level's width and height that is not padding (x, y), at least float32.
    """

    tokens: Float[Tensor, "b s d"]
    positions: Float[Tensor, "b s d"]
    padding_mask: Bool[Tensor, "b s"]
    shapes: tuple[tuple[int, int], ...]
    valid_ratios: Float[Tensor, "b l 2"]

    @property
    def level_sizes(self) -> list[int]:
        """Tokens per level."""
        return [height * width for height, width in self.shapes]

    @property
    def token_levels(self) -> Int[Tensor, " s"]:
        """Level of every token."""
        sizes = torch.tensor(self.level_sizes, device=self.tokens.device)
        return torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)

    def centers(self) -> Float[Tensor, "b s 2"]:
        """Token centres x y, 0-1 of the image without padding (beyond 1 on padding)."""
        parts = []
        for level, (height, width) in enumerate(self.shapes):
            y, x = torch.meshgrid(
                torch.arange(height, device=self.tokens.device, dtype=self.valid_ratios.dtype) + 0.5,
                torch.arange(width, device=self.tokens.device, dtype=self.valid_ratios.dtype) + 0.5,
                indexing="ij",
            )
            grid = torch.stack([x.flatten(), y.flatten()], -1)
            parts.append(grid / (self.valid_ratios[:, level, None] * grid.new_tensor([width, height])))
        return torch.cat(parts, dim=1)

    def cell_sizes(self) -> Float[Tensor, "b s 2"]:
        """Width and height of every token's cell, 0-1 of the image without padding."""
        scale = self.valid_ratios.new_tensor([(width, height) for height, width in self.shapes])
        return (1 / (self.valid_ratios * scale))[:, self.token_levels]


class PyramidProjection(nn.Module):
    """Projects backbone maps to one width, adds coarser levels, positions and a level embedding.

    Levels beyond the backbone's come from 3x3 convolutions with stride 2, the first of them on the
    raw last map (docs/parity.md, Q20). Official: models/hoi.py, RLIP_ParSeDA; models/deformable_transformer.py.

    Args:
        channels: width of each backbone map.
        dim: width of the tokens.
        num_levels: levels, at least as many as backbone maps.
        position_offset: see `image_position_encoding`.
    """

    def __init__(self, channels: Sequence[int], dim: int, *, num_levels: int = 4, position_offset: float = 0.0) -> None:
        super().__init__()
        if num_levels < len(channels):
            raise ValueError(f"num_levels={num_levels} is fewer than the {len(channels)} maps of the backbone")
        self.dim, self.position_offset = dim, position_offset
        layers = [nn.Sequential(nn.Conv2d(width, dim, 1), nn.GroupNorm(32, dim)) for width in channels]
        width = channels[-1]
        for _ in range(num_levels - len(channels)):
            layers.append(nn.Sequential(nn.Conv2d(width, dim, 3, stride=2, padding=1), nn.GroupNorm(32, dim)))
            width = dim
        self.layers = nn.ModuleList(layers)
        self.level_embedding = nn.Parameter(torch.randn(num_levels, dim))
        for module in self.layers.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor], padding_mask: Bool[Tensor, "b h w"]) -> FeaturePyramid:
        """The token sequence of backbone maps; `padding_mask` is the one of the images."""
        levels = [layer(feature) for layer, feature in zip(self.layers, maps, strict=False)]
        source = maps[-1]
        for layer in self.layers[len(maps) :]:
            source = layer(source)
            levels.append(source)
        shapes = tuple((int(level.shape[-2]), int(level.shape[-1])) for level in levels)
        masks = [F.interpolate(padding_mask[None].float(), size=shape)[0].bool() for shape in shapes]
        positions = [
            image_position_encoding(mask, self.dim, pixel_offset=self.position_offset)
            .to(self.level_embedding.dtype)
            .flatten(1, 2)
            + self.level_embedding[index]
            for index, mask in enumerate(masks)
        ]
        precision = at_least_float32(levels[0]).dtype
        return FeaturePyramid(
            tokens=torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1),
            positions=torch.cat(positions, dim=1),
            padding_mask=torch.cat([mask.flatten(1) for mask in masks], dim=1),
            shapes=shapes,
            valid_ratios=torch.stack([_valid_ratio(mask) for mask in masks], dim=1).to(precision),
        )


def _valid_ratio(mask: Bool[Tensor, "b h w"]) -> Float[Tensor, "b 2"]:
    height, width = mask.shape[1:]
    return torch.stack([(~mask[:, 0]).sum(1) / width, (~mask[:, :, 0]).sum(1) / height], dim=-1)
