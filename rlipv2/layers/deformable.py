"""Deformable attention and the encoder and decoder layers built on it (post-norm)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rlipv2.ops.deformable_attention import deformable_sampling


class MultiScaleDeformableAttention(nn.Module):
    """Attention of each query to a few learned points around its reference on every level.

    Deformable DETR, equation 3. Official: models/ops/modules/ms_deform_attn.py.

    Args:
        dim: width of queries and memory.
        num_levels: feature levels.
        num_heads: heads; must divide `dim`.
        num_points: points per head and level.
        backend: sampling function, see `rlipv2.ops.deformable_attention`.
    """

    def __init__(
        self, dim: int, *, num_levels: int = 4, num_heads: int = 8, num_points: int = 4, backend: str = "auto"
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim={dim} is not divisible by num_heads={num_heads}")
        self.num_levels, self.num_heads, self.num_points, self.backend = num_levels, num_heads, num_points, backend
        self.sampling_offsets = nn.Linear(dim, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(dim, num_heads * num_levels * num_points)
        self.value_projection = nn.Linear(dim, dim)
        self.output_projection = nn.Linear(dim, dim)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Offsets start on rays, one direction per head, one step further out per point."""
        angle = torch.arange(self.num_heads, dtype=torch.float32) * (2 * math.pi / self.num_heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().max(-1, keepdim=True).values
        steps = torch.arange(1, self.num_points + 1, dtype=torch.float32).view(1, 1, -1, 1)
        offsets = direction.view(-1, 1, 1, 2) * steps.expand(self.num_heads, self.num_levels, -1, -1)
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for linear in (self.value_projection, self.output_projection):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        query: Float[Tensor, "b q d"],
        reference: Float[Tensor, "b q l c"],
        memory: Float[Tensor, "i s d"],
        *,
        shapes: Sequence[tuple[int, int]],
        padding_mask: Bool[Tensor, "i s"] | None,
    ) -> Float[Tensor, "b q d"]:
        """Samples `memory` around `reference`: points x y (c = 2) or boxes cx cy w h (c = 4), 0-1 of the padded map.

        Values on padding (`padding_mask` True) count as zero. With more rows of queries than images, b / i rows after
        each other read the same image, whose values are projected once.
        """
        rows = query.shape
        if len(query) != len(memory):
            query = query.reshape(len(memory), -1, query.shape[-1])
            reference = reference.reshape(*query.shape[:2], *reference.shape[2:])
        value = self.value_projection(memory)
        if padding_mask is not None:
            value = value.masked_fill(padding_mask[..., None], 0.0)
        split = (*query.shape[:2], self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).view(*split, 2)
        weights = self.attention_weights(query).view(*split[:3], -1).softmax(-1).view(split)
        reference = reference[:, :, None, :, None, :]
        if reference.shape[-1] == 2:
            scale = offsets.new_tensor([(width, height) for height, width in shapes])
            locations = reference + offsets / scale[None, None, None, :, None, :]
        else:
            locations = reference[..., :2] + offsets / self.num_points * reference[..., 2:] * 0.5
        # At least float32: half precision cannot address positions in large maps.
        precision = torch.promote_types(value.dtype, torch.float32)
        sampled = deformable_sampling(
            value.to(precision).view(*value.shape[:2], self.num_heads, -1),
            shapes,
            locations.to(precision),
            weights.to(precision),
            backend=self.backend,
        )
        update: Tensor = self.output_projection(sampled.to(query.dtype))
        return update.view(rows)


class FeedForward(nn.Module):
    """Linear, ReLU, linear, with dropout after each: the residual branch of a transformer layer."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden_dim)
        self.linear2 = nn.Linear(hidden_dim, dim)
        self.dropout = dropout
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Same shape as `tokens`."""
        hidden = F.dropout(F.relu(self.linear1(tokens), inplace=True), self.dropout, self.training)
        return F.dropout(self.linear2(hidden), self.dropout, self.training)


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then feed-forward.

    Official: models/deformable_transformer.py, DeformableTransformerEncoderLayer.
    """

    def __init__(
        self,
        dim: int,
        *,
        feedforward_dim: int = 2048,
        num_levels: int = 4,
        num_heads: int = 8,
        num_points: int = 4,
        dropout: float = 0.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.attention = MultiScaleDeformableAttention(
            dim, num_levels=num_levels, num_heads=num_heads, num_points=num_points, backend=backend
        )
        self.attention_norm = nn.LayerNorm(dim)
        self.feedforward = FeedForward(dim, feedforward_dim, dropout)
        self.feedforward_norm = nn.LayerNorm(dim)
        self.dropout = dropout

    def forward(
        self,
        tokens: Float[Tensor, "b s d"],
        position: Float[Tensor, "b s d"],
        reference: Float[Tensor, "b s l 2"],
        *,
        shapes: Sequence[tuple[int, int]],
        padding_mask: Bool[Tensor, "b s"] | None,
    ) -> Float[Tensor, "b s d"]:
        """Updated tokens; padded ones are updated too but never read as values."""
        update = self.attention(tokens + position, reference, tokens, shapes=shapes, padding_mask=padding_mask)
        tokens = self.attention_norm(tokens + F.dropout(update, self.dropout, self.training))
        return self.feedforward_norm(tokens + self.feedforward(tokens))


class DeformableDecoderLayer(nn.Module):
    """Self-attention between queries, deformable attention to the image, feed-forward, in this order.

    Official: models/deformable_transformer.py, DeformableTransformerDecoderLayer.
    """

    def __init__(
        self,
        dim: int,
        *,
        feedforward_dim: int = 2048,
        num_levels: int = 4,
        num_heads: int = 8,
        num_points: int = 4,
        dropout: float = 0.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(dim, num_heads, dropout=dropout, batch_first=True)
        self.self_attention_norm = nn.LayerNorm(dim)
        self.cross_attention = MultiScaleDeformableAttention(
            dim, num_levels=num_levels, num_heads=num_heads, num_points=num_points, backend=backend
        )
        self.cross_attention_norm = nn.LayerNorm(dim)
        self.feedforward = FeedForward(dim, feedforward_dim, dropout)
        self.feedforward_norm = nn.LayerNorm(dim)
        self.dropout = dropout
        nn.init.xavier_uniform_(self.self_attention.out_proj.weight)

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        position: Float[Tensor, "b q d"],
        reference: Float[Tensor, "b q l c"],
        memory: Float[Tensor, "i s d"],
        *,
        shapes: Sequence[tuple[int, int]],
        padding_mask: Bool[Tensor, "i s"] | None,
        attention_mask: Bool[Tensor, "b q q"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """Updated queries. `attention_mask` is True where a query (row) must not see another (column).

        `memory` may have fewer rows than the queries, see `MultiScaleDeformableAttention`.
        """
        positioned = queries + position
        if attention_mask is not None:
            attention_mask = attention_mask.repeat_interleave(self.self_attention.num_heads, dim=0)
        update, _ = self.self_attention(positioned, positioned, queries, attn_mask=attention_mask, need_weights=False)
        queries = self.self_attention_norm(queries + F.dropout(update, self.dropout, self.training))
        update = self.cross_attention(queries + position, reference, memory, shapes=shapes, padding_mask=padding_mask)
        queries = self.cross_attention_norm(queries + F.dropout(update, self.dropout, self.training))
        return self.feedforward_norm(queries + self.feedforward(queries))
