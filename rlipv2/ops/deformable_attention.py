"""Multi-scale deformable sampling in plain PyTorch, behind a small table of interchangeable backends.

Deformable DETR (ICLR 2021), section 4.1. Every backend computes, for each query and head, the sum
over levels and points of `weight * bilinear(value_level, location)`, with zeros outside the maps and
`align_corners=False`. A kernel from elsewhere is added with `register_backend`; layers only know names.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Shapes = Sequence[tuple[int, int]]


@runtime_checkable
class SamplingBackend(Protocol):
    """A function with the arguments of `deformable_sampling` without `backend`."""

    def __call__(self, value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
        """See `deformable_sampling`."""
        ...


_BACKENDS: dict[str, SamplingBackend] = {}

# Queries per call of the gather backend when no graph is recorded: its index and weight tables then stay
# in the processor's cache (1,024 x 8 heads x 64 corners are 2 MB each).
_QUERIES_PER_CALL = 1024


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
    rows, levels = _framed_rows(value, shapes)
    flat_locations, flat_weights = locations.flatten(0, 1), weights.flatten(0, 1)
    # First row of each query's image and of each head.
    start = torch.arange(batch, dtype=torch.int32, device=value.device) * (rows.shape[0] // batch)
    start = start.repeat_interleave(queries)[:, None] + torch.arange(heads, dtype=torch.int32, device=value.device)
    recording = torch.is_grad_enabled() and (value.requires_grad or locations.requires_grad or weights.requires_grad)
    outputs = []
    # A compiled graph makes its own blocks, and would be made anew for every number of calls.
    step = len(flat_locations) if recording or torch.compiler.is_compiling() else _QUERIES_PER_CALL
    for first in range(0, len(flat_locations), step):
        part = slice(first, first + step)
        index, weight = _corners(flat_locations[part], flat_weights[part], levels, start[part])
        outputs.append(F.embedding_bag(index, rows, mode="sum", per_sample_weights=weight))
    return torch.cat(outputs).view(batch, queries, heads * channels)


@register_backend("take")
def sample_with_take(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The same rows and weights as `gather`, in nothing but indexing, products and sums, one corner at a time.

    For exported graphs: `embedding_bag` becomes a loop over queries there, and some versions of TensorRT get
    `GridSample` wrong without saying so. Takes more memory than the other two.
    """
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    rows, levels = _framed_rows(value, shapes)
    start = torch.arange(batch, dtype=torch.int32, device=value.device) * (rows.shape[0] // batch)
    start = start.repeat_interleave(queries)[:, None] + torch.arange(heads, dtype=torch.int32, device=value.device)
    index, weight = _corners(locations.flatten(0, 1), weights.flatten(0, 1), levels, start)
    corners = zip(index.long().chunk(4, dim=1), weight.chunk(4, dim=1), strict=True)
    samples = torch.stack([(rows[index] * weight[..., None]).sum(1) for index, weight in corners]).sum(0)
    return samples.view(batch, queries, heads * channels)


class _Levels(NamedTuple):
    """Geometry of the framed maps, one row per level, shaped to broadcast over (queries, heads, levels, points)."""

    size: Tensor  # width, height
    row_length: Tensor
    first_row: Tensor  # of the token at column 0 and row 0 within the image


def _framed_rows(value: Tensor, shapes: Shapes) -> tuple[Tensor, _Levels]:
    """Values as rows (image x token x head, channels), with a frame of zeros around every level.

    The frame is one token wide above and left, two below and right: a clamped location may touch
    column W and its right neighbour.
    """
    batch, _, heads, channels = value.shape
    parts, row_lengths, first_rows, tokens = [], [], [], 0
    maps = value.flatten(2).split([height * width for height, width in shapes], dim=1)
    for (height, width), part in zip(shapes, maps, strict=True):
        parts.append(F.pad(part.unflatten(1, (height, width)), (0, 0, 1, 2, 1, 2)).flatten(1, 2))
        row_lengths.append((width + 3) * heads)
        first_rows.append((tokens + width + 4) * heads)
        tokens += (height + 3) * (width + 3)
    size = torch.tensor([(width, height) for height, width in shapes], dtype=value.dtype, device=value.device)
    integers = torch.tensor([row_lengths, first_rows], dtype=torch.int32, device=value.device)
    levels = _Levels(size.view(len(shapes), 1, 2), *integers.view(2, len(shapes), 1))
    return torch.cat(parts, dim=1).view(batch * tokens * heads, channels), levels


def _corners(locations: Tensor, weights: Tensor, levels: _Levels, start: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers and weights (queries x heads, 4 corners x levels x points) of the bilinear neighbours."""
    position = torch.clamp(locations * levels.size - 0.5, min=-torch.ones_like(levels.size), max=levels.size)
    corner = position.detach().floor()
    right, lower = (position - corner).unbind(-1)
    column, row = corner.int().unbind(-1)
    # int32 halves the memory traffic; embedding_bag takes it as it is.
    heads = start.shape[1]
    upper_left = row * levels.row_length + column * heads + (levels.first_row + start[:, :, None, None])
    below = upper_left + levels.row_length
    index = torch.stack([upper_left, upper_left + heads, below, below + heads], dim=2)
    lower_weight = weights * lower
    upper_weight = weights - lower_weight
    upper_right, lower_right = upper_weight * right, lower_weight * right
    corner_weights = torch.stack(
        [upper_weight - upper_right, upper_right, lower_weight - lower_right, lower_right], dim=2
    )
    return index.flatten(2).flatten(0, 1), corner_weights.flatten(2).flatten(0, 1)
