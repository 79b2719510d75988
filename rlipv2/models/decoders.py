"""Sequential decoding: subjects and objects first, then the relation of each pair."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rlipv2.layers.deformable import DeformableDecoderLayer
from rlipv2.layers.mlp import MLP, box_head, inverse_sigmoid
from rlipv2.layers.multi_branch import MultiBranchFusion
from rlipv2.layers.position_encoding import box_position_encoding
from rlipv2.models.pyramid import FeaturePyramid
from rlipv2.models.queries import PairQueries

Positions = Literal["anchor", "learned"]


@dataclass(frozen=True)
class EntityStates:
    """States and boxes of all entity decoder layers; boxes cx cy w h, 0-1 of the image without padding.

    `references` are what each layer read around, subjects and objects: boxes, or points x y.
    """

    subjects: Float[Tensor, "l b q d"]
    objects: Float[Tensor, "l b q d"]
    subject_boxes: Float[Tensor, "l b q 4"]
    object_boxes: Float[Tensor, "l b q 4"]
    references: tuple[tuple[Tensor, Tensor], ...]


class ReferenceDecoder(nn.Module):
    """Decoder layers that read the image around references.

    Args:
        dim: width.
        positions: where the position of a query comes from: `anchor` from sine features of its box
            (DAB-DETR, ICLR 2022; ParSeDA), `learned` from a table (Deformable DETR, ICLR 2021; ParSeD).
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
        positions: Positions = "anchor",
        num_layers: int = 3,
        feedforward_dim: int = 2048,
        num_levels: int = 4,
        num_heads: int = 8,
        num_points: int = 4,
        dropout: float = 0.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if positions not in get_args(Positions):
            raise ValueError(f"positions={positions!r}: expected one of {get_args(Positions)}")
        self.dim, self.positions = dim, positions
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
        if positions == "anchor":
            self.anchor_projection = MLP(2 * dim, dim, dim, num_layers=2)
            self.position_scale = MLP(dim, dim, dim, num_layers=2)
            for module in (*self.anchor_projection, *self.position_scale):
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)

    def decode(
        self,
        index: int,
        states: Float[Tensor, "b q d"],
        references: Float[Tensor, "b q c"],
        memory: Float[Tensor, "i s d"],
        pyramid: FeaturePyramid,
        *,
        position: Float[Tensor, "b q d"] | None = None,
        attention_mask: Bool[Tensor, "b q q"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """States after layer `index`, read around `references`.

        Args:
            index: layer.
            states: of the queries.
            references: boxes cx cy w h or points x y, 0-1 of the image without padding.
            memory: image tokens; b / i rows of queries after each other read the same image.
            pyramid: their layout.
            position: of the queries; needed for learned positions, not read for others.
            attention_mask: True where a query (row) must not see another (column).
        """
        ratios = pyramid.valid_ratios.repeat(1, 1, references.shape[-1] // 2)
        if len(references) != len(ratios):
            ratios = ratios.repeat_interleave(len(references) // len(ratios), dim=0)
        scaled = references[:, :, None] * ratios[:, None]
        if self.positions == "anchor":
            # Official: the position comes from the anchor in the frame of the first level (docs/parity.md, Q16).
            position = self.anchor_projection(box_position_encoding(scaled[:, :, 0], self.dim // 2).to(states.dtype))
            if index > 0:
                position = position * self.position_scale(states)
        updated: Tensor = self.layers[index](
            states,
            position,
            scaled,
            memory,
            shapes=pyramid.shapes,
            padding_mask=pyramid.padding_mask,
            attention_mask=attention_mask,
        )
        return updated


class EntityDecoder(ReferenceDecoder):
    """Decodes subjects and objects jointly and refines a box for each, layer by layer.

    Official: `ho_decoder` of models/dab_deformable/deformable_transformer.py,
    RLIP_ParSeDABDeformableTransformer_v2 (ParSeDA) and models/ParSetransformer.py,
    RLIP_ParSeDTransformer_v2 (ParSeD).

    Args:
        dim: width.
        num_layers: layers.
        first_size_bias: start value that the first layer's heads add to the logits of width and height.
            Official: -2, meant for points as references, which shrinks anchor boxes (docs/parity.md, Q19).
        options: as in `ReferenceDecoder`.
    """

    def __init__(self, *, dim: int = 256, num_layers: int = 3, first_size_bias: float = -2.0, **options: Any) -> None:
        super().__init__(dim=dim, num_layers=num_layers, **options)
        self.subject_box_heads = _box_heads(dim, num_layers, first_size_bias=first_size_bias)
        self.object_box_heads = _box_heads(dim, num_layers, first_size_bias=first_size_bias)

    def forward(self, queries: PairQueries, memory: Float[Tensor, "i s d"], pyramid: FeaturePyramid) -> EntityStates:
        """States and boxes of every layer."""
        states = queries.content
        subject_boxes, object_boxes = queries.subject_references, queries.object_references
        subjects, objects, all_subject_boxes, all_object_boxes, references = [], [], [], [], []
        for index in range(len(self.layers)):
            references.append((subject_boxes, object_boxes))
            states = self.decode(
                index,
                states,
                torch.cat([subject_boxes, object_boxes], dim=1),
                memory,
                pyramid,
                position=queries.position,
                attention_mask=queries.entity_mask,
            )
            subjects.append(states[:, : queries.num_pairs])
            objects.append(states[:, queries.num_pairs :])
            all_subject_boxes.append(refine_boxes(self.subject_box_heads[index], subjects[-1], subject_boxes))
            all_object_boxes.append(refine_boxes(self.object_box_heads[index], objects[-1], object_boxes))
            # The next layer reads around the new boxes but its loss does not move them.
            subject_boxes, object_boxes = all_subject_boxes[-1].detach(), all_object_boxes[-1].detach()
        return EntityStates(
            subjects=torch.stack(subjects),
            objects=torch.stack(objects),
            subject_boxes=torch.stack(all_subject_boxes),
            object_boxes=torch.stack(all_object_boxes),
            references=tuple(references),
        )


class RelationDecoder(ReferenceDecoder):
    """Decodes the relation of each pair, reading the image between its two boxes.

    The reference is the mean of both boxes' cx cy w h (docs/parity.md, Q18). Both boxes are refined
    further by heads of this decoder, which only moves its references: the heads get no gradient and
    keep their values (docs/parity.md, Q7). Official: as `EntityDecoder` (`verb_decoder`).

    Args:
        dim: width.
        num_layers: layers.
        query: start of the relation queries: `vanilla` the learned content, `mbf` subject and object
            fused, `vanilla_mbf` the sum (published). Learned positions of `vanilla` queries are the sum of
            subject and object state.
        branches: of the fusion of subject and object.
        refine: move the references by the untrained heads. Official: true; false saves their cost.
        options: as in `ReferenceDecoder`.
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
        self.pair_fusion = None if query == "vanilla" else MultiBranchFusion(dim, branches=branches)
        self.refine = refine
        if refine:
            self.subject_box_heads = _box_heads(dim, num_layers).requires_grad_(False)
            self.object_box_heads = _box_heads(dim, num_layers).requires_grad_(False)

    def start(self, queries: PairQueries, entities: EntityStates) -> Float[Tensor, "b q d"]:
        """The relation queries before the first layer."""
        if self.pair_fusion is None:
            return queries.relation_content
        fused: Tensor = self.pair_fusion(entities.subjects[-1], entities.objects[-1])
        return fused if self.query == "mbf" else fused + queries.relation_content

    def forward(
        self,
        queries: PairQueries,
        entities: EntityStates,
        memory: Float[Tensor, "i s d"],
        pyramid: FeaturePyramid,
    ) -> Float[Tensor, "l b q d"]:
        """Relation states of every layer."""
        states = self.start(queries, entities)
        position = queries.relation_position
        if position is None:
            position = entities.subjects[-1] + entities.objects[-1]
        subject_boxes, object_boxes = entities.subject_boxes[-1].detach(), entities.object_boxes[-1].detach()
        outputs = []
        for index in range(len(self.layers)):
            reference = 0.5 * (subject_boxes + object_boxes)
            states = self.decode(
                index,
                states,
                reference,
                memory,
                pyramid,
                position=position,
                attention_mask=queries.relation_mask,
            )
            outputs.append(states)
            if self.refine:
                subject_boxes = refine_boxes(self.subject_box_heads[index], states, subject_boxes).detach()
                object_boxes = refine_boxes(self.object_box_heads[index], states, object_boxes).detach()
        return torch.stack(outputs)


def _box_heads(dim: int, count: int, *, first_size_bias: float = 0.0) -> nn.ModuleList:
    return nn.ModuleList(box_head(dim, size_bias=first_size_bias if index == 0 else 0.0) for index in range(count))


def refine_boxes(
    head: nn.Module, states: Float[Tensor, "b q d"], references: Float[Tensor, "b q c"]
) -> Float[Tensor, "b q 4"]:
    """Boxes cx cy w h, 0-1, from what `head` adds to the logits of the references; points have no size to add to."""
    logits = head(states)
    known = inverse_sigmoid(references)
    if known.shape[-1] == 2:
        known = torch.cat([known, torch.zeros_like(known)], dim=-1)
    return (logits + known).sigmoid()
