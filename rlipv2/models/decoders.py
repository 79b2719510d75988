"""Sequential decoding: subjects and objects first, then the relation of each pair."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rlipv2.layers.deformable import DeformableDecoderLayer
from rlipv2.layers.mlp import MLP, box_head, inverse_sigmoid
from rlipv2.layers.position_encoding import box_position_encoding
from rlipv2.models.pyramid import FeaturePyramid
from rlipv2.models.queries import MultiBranchFusion, PairQueries


@dataclass(frozen=True)
class EntityStates:
    """States and boxes of all entity decoder layers; boxes cx cy w h, 0-1 of the image without padding."""

    subjects: Float[Tensor, "l b q d"]
    objects: Float[Tensor, "l b q d"]
    subject_boxes: Float[Tensor, "l b q 4"]
    object_boxes: Float[Tensor, "l b q 4"]


class AnchorDecoder(nn.Module):
    """Decoder layers whose query positions are sine features of anchor boxes (DAB-DETR, ICLR 2022).

    Args:
        dim: width.
        num_layers: layers.
        feedforward_dim: hidden width of the layers.
        num_levels: feature levels.
        num_heads: heads.
        num_points: sampling points per head and level.
        dropout: of the layers.
        backend: sampling function of the deformable attention.
    """

    def __init__(
        self,
        *,
        dim: int = 256,
        num_layers: int = 3,
        feedforward_dim: int = 2048,
        num_levels: int = 4,
        num_heads: int = 8,
        num_points: int = 4,
        dropout: float = 0.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.ModuleList(
            DeformableDecoderLayer(
                dim,
                feedforward_dim=feedforward_dim,
                num_levels=num_levels,
                num_heads=num_heads,
                num_points=num_points,
                dropout=dropout,
                backend=backend,
            )
            for _ in range(num_layers)
        )
        self.anchor_projection = MLP(2 * dim, dim, dim, num_layers=2)
        self.position_scale = MLP(dim, dim, dim, num_layers=2)
        for mlp in (self.anchor_projection, self.position_scale):
            for module in mlp:
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)

    def decode(
        self,
        index: int,
        states: Float[Tensor, "b q d"],
        boxes: Float[Tensor, "b q 4"],
        memory: Float[Tensor, "b s d"],
        pyramid: FeaturePyramid,
        attention_mask: Bool[Tensor, "b q q"] | None,
    ) -> Float[Tensor, "b q d"]:
        """States after layer `index`, read around `boxes` (cx cy w h, 0-1 of the image without padding)."""
        reference = boxes[:, :, None] * torch.cat([pyramid.valid_ratios, pyramid.valid_ratios], -1)[:, None]
        # Official: the position comes from the anchor in the frame of the first level (docs/parity.md, Q16).
        position = self.anchor_projection(box_position_encoding(reference[:, :, 0], self.dim // 2))
        if index > 0:
            position = position * self.position_scale(states)
        return self.layers[index](
            states,
            position,
            reference,
            memory,
            shapes=pyramid.shapes,
            padding_mask=pyramid.padding_mask,
            attention_mask=attention_mask,
        )


class EntityDecoder(AnchorDecoder):
    """Decodes subjects and objects jointly and refines a box for each, layer by layer (ParSeDA).

    Official: models/dab_deformable/deformable_transformer.py, RLIP_ParSeDABDeformableTransformer_v2
    (`ho_decoder`).

    Args:
        dim: width.
        num_layers: layers.
        first_size_bias: start value that the first layer's heads add to the logits of width and height.
            Official: -2, meant for points as references, which shrinks anchor boxes (docs/parity.md, Q19).
        options: as in `AnchorDecoder`.
    """

    def __init__(self, *, dim: int = 256, num_layers: int = 3, first_size_bias: float = -2.0, **options: Any) -> None:
        super().__init__(dim=dim, num_layers=num_layers, **options)
        self.subject_box_heads = _box_heads(dim, num_layers, first_size_bias=first_size_bias)
        self.object_box_heads = _box_heads(dim, num_layers, first_size_bias=first_size_bias)

    def forward(
        self,
        queries: PairQueries,
        memory: Float[Tensor, "b s d"],
        pyramid: FeaturePyramid,
        attention_mask: Bool[Tensor, "b n n"] | None = None,
    ) -> EntityStates:
        """States and boxes of every layer. `attention_mask` covers subjects, then objects."""
        num_pairs = queries.subject_boxes.shape[1]
        states = queries.content
        subject_boxes, object_boxes = queries.subject_boxes, queries.object_boxes
        subjects, objects, all_subject_boxes, all_object_boxes = [], [], [], []
        for index in range(len(self.layers)):
            anchors = torch.cat([subject_boxes, object_boxes], dim=1)
            states = self.decode(index, states, anchors, memory, pyramid, attention_mask)
            subjects.append(states[:, :num_pairs])
            objects.append(states[:, num_pairs:])
            all_subject_boxes.append(_refine(self.subject_box_heads[index], subjects[-1], subject_boxes))
            all_object_boxes.append(_refine(self.object_box_heads[index], objects[-1], object_boxes))
            # The next layer reads around the new boxes but its loss does not move them.
            subject_boxes, object_boxes = all_subject_boxes[-1].detach(), all_object_boxes[-1].detach()
        return EntityStates(
            subjects=torch.stack(subjects),
            objects=torch.stack(objects),
            subject_boxes=torch.stack(all_subject_boxes),
            object_boxes=torch.stack(all_object_boxes),
        )


class RelationDecoder(AnchorDecoder):
    """Decodes the relation of each pair, reading the image between its two boxes.

    The reference is the mean of both boxes' cx cy w h (docs/parity.md, Q18). Both boxes are refined
    further by heads of this decoder, which only moves its references: the heads get no gradient and
    keep their values (docs/parity.md, Q7). Official: as `EntityDecoder` (`verb_decoder`).

    Args:
        dim: width.
        num_layers: layers.
        query: start of the relation queries: `vanilla` the learned content, `mbf` subject and object
            fused, `vanilla_mbf` the sum (published).
        branches: of the fusion of subject and object.
        refine: move the references by the untrained heads. Official: true; false saves their cost.
        options: as in `AnchorDecoder`.
    """

    def __init__(
        self,
        *,
        dim: int = 256,
        num_layers: int = 3,
        query: Literal["vanilla", "mbf", "vanilla_mbf"] = "vanilla_mbf",
        branches: int = 16,
        refine: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(dim=dim, num_layers=num_layers, **options)
        if query not in ("vanilla", "mbf", "vanilla_mbf"):
            raise ValueError(f"query={query!r}: expected vanilla, mbf or vanilla_mbf")
        self.query = query
        self.pair_fusion = MultiBranchFusion(dim, branches=branches)
        self.refine = refine
        if refine:
            self.subject_box_heads = _box_heads(dim, num_layers).requires_grad_(False)
            self.object_box_heads = _box_heads(dim, num_layers).requires_grad_(False)

    def start(self, queries: PairQueries, entities: EntityStates) -> Float[Tensor, "b q d"]:
        """The relation queries before the first layer."""
        if self.query == "vanilla":
            return queries.relation_content
        fused = self.pair_fusion(entities.subjects[-1], entities.objects[-1])
        return fused if self.query == "mbf" else fused + queries.relation_content

    def forward(
        self,
        queries: PairQueries,
        entities: EntityStates,
        memory: Float[Tensor, "b s d"],
        pyramid: FeaturePyramid,
        attention_mask: Bool[Tensor, "b q q"] | None = None,
    ) -> Float[Tensor, "l b q d"]:
        """Relation states of every layer."""
        states = self.start(queries, entities)
        subject_boxes, object_boxes = entities.subject_boxes[-1].detach(), entities.object_boxes[-1].detach()
        outputs = []
        for index in range(len(self.layers)):
            reference = 0.5 * (subject_boxes + object_boxes)
            states = self.decode(index, states, reference, memory, pyramid, attention_mask)
            outputs.append(states)
            if self.refine:
                subject_boxes = _refine(self.subject_box_heads[index], states, subject_boxes).detach()
                object_boxes = _refine(self.object_box_heads[index], states, object_boxes).detach()
        return torch.stack(outputs)


def _box_heads(dim: int, count: int, *, first_size_bias: float = 0.0) -> nn.ModuleList:
    return nn.ModuleList(box_head(dim, size_bias=first_size_bias if index == 0 else 0.0) for index in range(count))


def _refine(head: nn.Module, states: Tensor, boxes: Tensor) -> Tensor:
    return (head(states) + inverse_sigmoid(boxes)).sigmoid()
