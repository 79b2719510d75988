"""Queries for single objects, and the decoder that turns them into states and boxes (detection pre-training)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rlipv2.layers.mlp import box_head
from rlipv2.models.decoders import ReferenceDecoder, refine_boxes
from rlipv2.models.pyramid import FeaturePyramid


@dataclass(frozen=True)
class ObjectQueries:
    """Queries for single objects.

    Attributes:
        references: first references, 0-1: boxes cx cy w h or points x y.
        content: start of the states.
        position: learned positions; None where positions come from the references.
    """

    references: Float[Tensor, "b q c"]
    content: Float[Tensor, "b q d"]
    position: Float[Tensor, "b q d"] | None = None


class ObjectAnchorQueries(nn.Module):
    """Learned contents and learned anchor boxes (DAB-DETR).

    Args:
        num_queries: objects predicted per image.
        dim: width.
    """

    positions: ClassVar[Literal["anchor", "learned"]] = "anchor"

    def __init__(self, num_queries: int = 300, dim: int = 256) -> None:
        super().__init__()
        self.content = nn.Parameter(torch.randn(num_queries, dim))
        self.anchors = nn.Parameter(torch.randn(num_queries, 4))

    def forward(self, batch_size: int) -> ObjectQueries:
        """The same queries for every image."""
        return ObjectQueries(
            references=self.anchors.sigmoid().expand(batch_size, -1, -1),
            content=self.content.expand(batch_size, -1, -1),
        )


class ObjectLearnedQueries(nn.Module):
    """Learned contents and positions, with points as first references (Deformable DETR).

    Args:
        num_queries: objects predicted per image.
        dim: width.
    """

    positions: ClassVar[Literal["anchor", "learned"]] = "learned"

    def __init__(self, num_queries: int = 300, dim: int = 256) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(num_queries, dim))
        self.content = nn.Parameter(torch.randn(num_queries, dim))
        self.reference = nn.Linear(dim, 2)
        nn.init.xavier_uniform_(self.reference.weight)
        nn.init.zeros_(self.reference.bias)

    def forward(self, batch_size: int) -> ObjectQueries:
        """The same queries for every image."""
        return ObjectQueries(
            references=self.reference(self.position).sigmoid().expand(batch_size, -1, -1),
            content=self.content.expand(batch_size, -1, -1),
            position=self.position.expand(batch_size, -1, -1),
        )


class ObjectDecoder(ReferenceDecoder):
    """Decodes objects and refines a box for each, layer by layer.

    Args:
        dim: width.
        num_layers: layers.
        first_size_bias: start value that the first layer's head adds to the logits of width and height. -2 as in
            both projects; it is meant for points as references and shrinks anchor boxes (docs/parity.md, Q19).
        options: as in `ReferenceDecoder`.
    """

    def __init__(self, *, dim: int = 256, num_layers: int = 6, first_size_bias: float = -2.0, **options: Any) -> None:
        super().__init__(dim=dim, num_layers=num_layers, **options)
        self.box_heads = nn.ModuleList(
            box_head(dim, size_bias=0.0 if index else first_size_bias) for index in range(num_layers)
        )

    def forward(
        self, queries: ObjectQueries, memory: Float[Tensor, "b s d"], pyramid: FeaturePyramid
    ) -> tuple[Float[Tensor, "l b q d"], Float[Tensor, "l b q 4"]]:
        """States and boxes of every layer."""
        states, references = queries.content, queries.references
        all_states, all_boxes = [], []
        for index, head in enumerate(self.box_heads):
            states = self.decode(index, states, references, memory, pyramid, position=queries.position)
            boxes = refine_boxes(head, states, references)
            all_states.append(states)
            all_boxes.append(boxes)
            # The next layer reads around the new boxes but its loss does not move them.
            references = boxes.detach()
        return torch.stack(all_states), torch.stack(all_boxes)
