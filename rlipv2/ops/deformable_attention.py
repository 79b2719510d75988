"""Multi-scale deformable sampling in plain PyTorch, behind a small table of interchangeable backends.

Deformable DETR (ICLR 2021), section 4.1. Every backend computes, for each query and head, the sum
over levels and points of `weight * bilinear(value_level, location)`, with zeros outside the maps and
`align_corners=False`. A kernel from elsewhere is added with `register_backend`; layers only know names.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Shapes = Sequence[tuple[int, int]]


class SamplingBackend(Protocol):
    """A function with the arguments of `deformable_sampling` without `backend`."""

    def __call__(self, value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor: ...


_BACKENDS: dict[str, SamplingBackend] = {}

# Queries per slice of the gather backend when no graph is recorded: its index and weight tables then
# stay in the processor's cache (2,048 x 8 heads x 64 corners are 4 MB each).
_QUERIES_PER_SLICE = 1024


def register_backend(name: str) -> Callable[[SamplingBackend], SamplingBackend]:
    """Adds a sampling function under a name that `deformable_sampling(backend=name)` then finds."""

    def add(function: SamplingBackend) -> SamplingBackend:
        _BACKENDS[name] = function
        return function

    return add


def backends() -> tuple[str, ...]:
    """Names that `deformable_sampling` accepts besides `auto`."""
    return tuple(_BACKENDS)


def deformable_sampling(
    value: Float[Tensor, "b s h c"],
    shapes: Shapes,
    locations: Float[Tensor, "b q h l p 2"],
    weights: Float[Tensor, "b q h l p"],
    *,
    backend: str = "auto",
) -> Float[Tensor, "b q d"]:
    """Weighted bilinear samples of flattened feature maps, heads concatenated (d = h * c).

    Args:
        value: maps of all levels, flattened row by row and concatenated; padding already zeroed.
        shapes: (height, width) of each level.
        locations: x y, where 0 and 1 are the outer edges of the padded map; outside gives zeros.
        weights: attention of each query to its points, summing to 1 over levels and points.
        backend: a registered name, or `auto`: `gather` on the CPU, `grid_sample` elsewhere.

    Raises:
        ValueError: unknown backend, or shapes that do not add up to the number of tokens.
    """
    if backend == "auto":
        backend = "gather" if value.device.type == "cpu" else "grid_sample"
    if backend not in _BACKENDS:
        raise ValueError(f"backend={backend!r}: unknown; choose one of {('auto', *_BACKENDS)}")
    if sum(height * width for height, width in shapes) != value.shape[1]:
        raise ValueError(f"levels {list(shapes)} do not add up to {value.shape[1]} tokens")
    return _BACKENDS[backend](value, shapes, locations, weights)


@register_backend("grid_sample")
def sample_with_grid(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The reference: one `grid_sample` per level. Official: models/ops/functions/ms_deform_attn_func.py."""
    batch, _, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    grids = 2 * locations - 1
    samples = []
    for level, part in enumerate(value.split([height * width for height, width in shapes], dim=1)):
        maps = part.flatten(2).transpose(1, 2).reshape(batch * heads, channels, *shapes[level])
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        samples.append(F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    stacked = torch.stack(samples, dim=-2).flatten(-2)
    attention = weights.transpose(1, 2).reshape(batch * heads, 1, queries, len(shapes) * points)
    return (stacked * attention).sum(-1).view(batch, heads * channels, queries).transpose(1, 2).contiguous()


@register_backend("gather")
def sample_with_gather(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """One weighted gather over all levels: bilinear corners become row numbers and weights of `embedding_bag`.

    Maps are framed with zeros, so that a clamped location needs no test for being outside. Differs
    from `grid_sample` by rounding only (1e-5 in float32).
    """
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    rows, table = _framed_rows(value, shapes)
    recording = torch.is_grad_enabled() and (value.requires_grad or locations.requires_grad or weights.requires_grad)
    step = queries if recording else _QUERIES_PER_SLICE
    outputs = []
    for image in range(batch):
        for start in range(0, queries, step):
            part = slice(start, start + step)
            index, weight = _corners(locations[image, part], weights[image, part], table, heads)
            outputs.append(
                F.embedding_bag(
                    index.flatten(0, 1), rows[image], mode="sum", per_sample_weights=weight.flatten(0, 1).to(rows.dtype)
                )
            )
    return torch.cat(outputs).view(batch, queries, heads * channels)


def _framed_rows(value: Tensor, shapes: Shapes) -> tuple[Tensor, Tensor]:
    """Values as rows (image, token x head, channels) with a frame of zeros around every level.

    The frame is one token wide above and left, two below and right: a clamped location may touch
    column W and its neighbour. Also returns per level: height, width, framed width, first framed token.
    """
    batch, _, heads, channels = value.shape
    parts, table, first = [], [], 0
    for (height, width), part in zip(
        shapes, value.split([height * width for height, width in shapes], dim=1), strict=True
    ):
        framed = F.pad(part.view(batch, height, width, heads * channels), (0, 0, 1, 2, 1, 2))
        parts.append(framed.flatten(1, 2))
        table.append([height, width, width + 3, first])
        first += (height + 3) * (width + 3)
    rows = torch.cat(parts, dim=1).view(batch, first * heads, channels)
    return rows, torch.tensor(table, device=value.device)


def _corners(locations: Tensor, weights: Tensor, table: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Row numbers and weights (queries, heads, 4 corners x levels x points) of the bilinear neighbours."""
    height, width, framed_width, first = (column.view(-1, 1) for column in table.unbind(1))
    x = (locations[..., 0] * width - 0.5).clamp(min=-1).minimum(width.to(locations.dtype))
    y = (locations[..., 1] * height - 0.5).clamp(min=-1).minimum(height.to(locations.dtype))
    with torch.no_grad():
        left, top = x.floor(), y.floor()
    right_part, lower_part = x - left, y - top
    # int32 halves the memory traffic; embedding_bag takes it as it is.
    token = (top.int() + 1) * framed_width.int() + (left.int() + 1) + first.int()
    row = token * heads + torch.arange(heads, dtype=torch.int32, device=locations.device).view(-1, 1, 1)
    below = (framed_width * heads).int()
    index = torch.stack([row, row + heads, row + below, row + below + heads], dim=2)
    lower, upper = weights * lower_part, weights * (1 - lower_part)
    corner = torch.stack(
        [upper * (1 - right_part), upper * right_part, lower * (1 - right_part), lower * right_part], dim=2
    )
    return index.flatten(2), corner.flatten(2)
