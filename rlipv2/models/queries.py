"""What the decoders start from: pairs of references and contents, learned or made from given pairs."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rlipv2.layers.mlp import at_least_float32, inverse_sigmoid
from rlipv2.structures import RelationTarget


@dataclass(frozen=True)
class PairQueries:
    """Queries for pairs: pair i is (subject i, object i).

    Attributes:
        subject_references: first references, 0-1: boxes cx cy w h or points x y.
        object_references: the same for objects.
        content: subjects, then objects.
        relation_content: learned part of the relation queries.
        position: learned positions of subjects, then objects; None where positions come from the references.
        relation_position: learned positions of the relations; None for the sum of both entity states.
        entity_mask: True where an entity (row) must not see another (column); subjects, then objects.
        relation_mask: the same between relations.
    """

    subject_references: Float[Tensor, "b q c"]
    object_references: Float[Tensor, "b q c"]
    content: Float[Tensor, "b 2*q d"]
    relation_content: Float[Tensor, "b q d"]
    position: Float[Tensor, "b 2*q d"] | None = None
    relation_position: Float[Tensor, "b q d"] | None = None
    entity_mask: Bool[Tensor, "b 2*q 2*q"] | None = None
    relation_mask: Bool[Tensor, "b q q"] | None = None

    @property
    def num_pairs(self) -> int:
        """Pairs per image."""
        return self.subject_references.shape[1]


class AnchorQueries(nn.Module):
    """Learned contents and learned anchor boxes for pairs (ParSeDA).

    Rows 0 .. num_pairs-1 of every table are subjects, the rest objects. The relation query starts from the
    sum of both rows of its own table. Official: models/hoi.py, RLIP_ParSeDA
    (`tgt_embed`, `verb_tgt_embed`, `refpoint_embed`).

    Args:
        num_pairs: pairs; the official `num_queries` is twice that.
        dim: width.
        anchors: start of the anchor boxes. `normal` draws logits from N(0, 1) (official); `grid` puts
            the pairs on a grid with both boxes of a pair near each other (not in the paper: learns
            faster where training is very short).
    """

    positions: ClassVar[Literal["anchor", "learned"]] = "anchor"

    def __init__(self, num_pairs: int = 100, dim: int = 256, *, anchors: str = "normal") -> None:
        super().__init__()
        if anchors not in ("normal", "grid"):
            raise ValueError(f"anchors={anchors!r}: expected normal or grid")
        self.num_pairs = num_pairs
        self.content = nn.Parameter(torch.randn(2 * num_pairs, dim))
        self.relation_content = nn.Parameter(torch.randn(2 * num_pairs, dim))
        self.anchors = nn.Parameter(torch.randn(2 * num_pairs, 4))
        if anchors == "grid":
            self._reset_to_grid()

    def _reset_to_grid(self) -> None:
        """Pairs side by side over the image, both boxes of a pair 0.2 to 0.35 wide, contents half shared."""
        columns = math.ceil(math.sqrt(self.num_pairs))
        rows = math.ceil(self.num_pairs / columns)
        index = torch.arange(self.num_pairs)
        centers = torch.stack([(index % columns + 0.5) / columns, (index // columns + 0.5) / rows], -1)
        subjects = torch.cat([centers, torch.empty(self.num_pairs, 2).uniform_(0.2, 0.35)], -1)
        objects = torch.cat(
            [
                (centers + 0.03 * torch.randn_like(centers)).clamp(0.02, 0.98),
                torch.empty(self.num_pairs, 2).uniform_(0.2, 0.35),
            ],
            -1,
        )
        with torch.no_grad():
            self.anchors.copy_(torch.logit(torch.cat([subjects, objects])))
            shared = torch.randn(self.num_pairs, self.content.shape[1]).repeat(2, 1)
            self.content.copy_((self.content + shared) / math.sqrt(2))

    def forward(
        self, texts: Float[Tensor, "b t d"], num_objects: int, targets: list[RelationTarget] | None = None
    ) -> PairQueries:
        """The same queries for every image of `texts`."""
        boxes = at_least_float32(self.anchors).sigmoid().expand(len(texts), -1, -1)
        return PairQueries(
            subject_references=boxes[:, : self.num_pairs],
            object_references=boxes[:, self.num_pairs :],
            content=self.content.expand(len(texts), -1, -1),
            relation_content=_sum_of_halves(self.relation_content).expand(len(texts), -1, -1),
        )


class LearnedQueries(nn.Module):
    """Learned positions and contents for pairs, with points as first references (ParSeD).

    Rows 0 .. num_pairs-1 of every table are subjects, the rest objects. Official:
    models/ParSetransformer.py, RLIP_ParSeDTransformer_v2 (`query_embed` holds the three tables side by
    side; `reference_points_sub`, `reference_points_obj`, `verb_query_embed`).

    Args:
        num_pairs: pairs; the official `num_queries` is twice that.
        dim: width.
        relation_position: learned positions of the relations (published); without, as in RLIPv1 and with
            `vanilla` relation queries, the sum of subject and object state takes their place.
    """

    positions: ClassVar[Literal["anchor", "learned"]] = "learned"

    def __init__(self, num_pairs: int = 100, dim: int = 256, *, relation_position: bool = True) -> None:
        super().__init__()
        self.num_pairs = num_pairs
        self.position = nn.Parameter(torch.randn(2 * num_pairs, dim))
        self.content = nn.Parameter(torch.randn(2 * num_pairs, dim))
        self.relation_content = nn.Parameter(torch.randn(2 * num_pairs, dim))
        self.relation_position = nn.Parameter(torch.randn(num_pairs, dim)) if relation_position else None
        self.subject_reference, self.object_reference = _reference_layer(dim), _reference_layer(dim)

    def forward(
        self, texts: Float[Tensor, "b t d"], num_objects: int, targets: list[RelationTarget] | None = None
    ) -> PairQueries:
        """The same queries for every image of `texts`."""
        batch = len(texts)
        subjects, objects = self.position.chunk(2)
        return PairQueries(
            subject_references=_points(self.subject_reference, subjects).expand(batch, -1, -1),
            object_references=_points(self.object_reference, objects).expand(batch, -1, -1),
            content=self.content.expand(batch, -1, -1),
            relation_content=_sum_of_halves(self.relation_content).expand(batch, -1, -1),
            position=self.position.expand(batch, -1, -1),
            relation_position=_expand(self.relation_position, batch),
        )


@dataclass(frozen=True)
class PairNoise:
    """Random numbers for given pairs; the first axis is subject, object; n counts the pairs of a batch.

    Attributes:
        boxes: 0-1, one per coordinate.
        label_chances: 0-1; a label is replaced where this is below the noise level.
        labels: the replacements.
    """

    boxes: Float[Tensor, "2 n 4"]
    label_chances: Float[Tensor, "2 n"]
    labels: Tensor


class GivenPairQueries(nn.Module):
    """Queries made from given pairs of labelled boxes: what the Relation Tagger asks about.

    A box becomes the position, the text of its label (last fusion stage, without gradient) the content.
    In training both are noisy. Pair k of an image fills row k; images with fewer pairs are padded with
    rows that no other row sees. Official: models/verb_tagger_helper.py.

    Args:
        num_pairs: most pairs of an image.
        dim: width.
        relation_position: see `LearnedQueries`.
        box_noise: centres move by up to this part of half the size, sizes change by up to this part.
        label_noise: probability that a label is replaced.
        noise_labels: labels to draw replacements from: `batch` the first ones, as many as the batch has
            images, if there are that many (official: the bound is read from the wrong axis; docs/parity.md),
            `all` every object.
        entity_mask: hide rows that hold the same box and label in several pairs from each other (training
            only): `official` only when every image has exactly `num_pairs` pairs (a test over the whole
            batch; docs/parity.md), `exact` always, `none` never.
        keep_empty: decode all `num_pairs` rows even if no image fills them (official; their outputs mean
            nothing and no other row sees them).

    Raises:
        ValueError: unknown options, or more pairs than `num_pairs`.
    """

    positions: ClassVar[Literal["anchor", "learned"]] = "learned"

    def __init__(
        self,
        num_pairs: int = 100,
        dim: int = 256,
        *,
        relation_position: bool = True,
        box_noise: float = 0.4,
        label_noise: float = 0.2,
        noise_labels: Literal["batch", "all"] = "batch",
        entity_mask: Literal["official", "exact", "none"] = "official",
        keep_empty: bool = False,
    ) -> None:
        super().__init__()
        if noise_labels not in ("batch", "all"):
            raise ValueError(f"noise_labels={noise_labels!r}: expected batch or all")
        if entity_mask not in ("official", "exact", "none"):
            raise ValueError(f"entity_mask={entity_mask!r}: expected official, exact or none")
        self.num_pairs, self.keep_empty = num_pairs, keep_empty
        self.box_noise, self.label_noise = box_noise, label_noise
        self.noise_labels, self.entity_mask = noise_labels, entity_mask
        self.box_projection = nn.Linear(4, dim)
        self.relation_content = nn.Parameter(torch.randn(2 * num_pairs, dim))
        self.relation_position = nn.Parameter(torch.randn(num_pairs, dim)) if relation_position else None
        self.subject_reference, self.object_reference = _reference_layer(dim), _reference_layer(dim)

    def forward(
        self, texts: Float[Tensor, "b t d"], num_objects: int, targets: list[RelationTarget] | None = None
    ) -> PairQueries:
        """Queries for the pairs `targets`; `num_objects` texts are objects, background last.

        Raises:
            ValueError: no targets, another number of them than images, more pairs than `num_pairs`, or labels that
                are not rows of the object texts.
        """
        counts = self._counts(targets, len(texts))
        assert targets is not None
        rows = self.num_pairs if self.keep_empty else max(1, *counts)
        boxes = torch.stack(
            [torch.cat([t.subject_boxes for t in targets]), torch.cat([t.object_boxes for t in targets])]
        )
        labels = torch.stack(
            [torch.cat([t.subject_labels for t in targets]), torch.cat([t.object_labels for t in targets])]
        )
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < num_objects:
            raise ValueError(
                f"labels of pairs range from {int(labels.min())} to {int(labels.max())}, but the label space has "
                f"{num_objects - 1} objects: labels are rows of its objects, counted from 0"
            )
        images = torch.repeat_interleave(torch.tensor(counts, device=texts.device))
        slots = torch.cat([torch.arange(count, device=texts.device) for count in counts])
        empty = torch.ones(len(targets), rows, dtype=torch.bool, device=texts.device)
        empty[images, slots] = False
        mask = self._same_entity(boxes, labels, images, slots, rows=rows, counts=counts) if self.training else None
        if self.training:
            limit = len(targets) if self.noise_labels == "batch" else num_objects
            noise = self.draw_noise(boxes.shape[1], min(limit, num_objects - 1))
            boxes, labels = self._shift(boxes, noise), self._replace(labels, noise)
        position = texts.new_zeros(2, len(targets), rows, self.box_projection.out_features)
        content = texts.new_zeros(position.shape)
        logits = inverse_sigmoid(boxes).to(self.box_projection.weight.dtype)
        position[:, images, slots] = self.box_projection(logits).to(position)
        content[:, images, slots] = texts.detach()[images, labels]
        return PairQueries(
            subject_references=_points(self.subject_reference, position[0]),
            object_references=_points(self.object_reference, position[1]),
            content=torch.cat([content[0], content[1]], dim=1),
            relation_content=_sum_of_halves(self.relation_content)[:rows].expand(len(targets), -1, -1),
            position=torch.cat([position[0], position[1]], dim=1),
            relation_position=_expand(
                None if self.relation_position is None else self.relation_position[:rows], len(targets)
            ),
            entity_mask=_hide(empty.repeat(1, 2), mask),
            relation_mask=_hide(empty),
        )

    def draw_noise(self, count: int, num_labels: int) -> PairNoise:
        """Random numbers for `count` pairs, replacement labels below `num_labels`."""
        device = self.box_projection.weight.device
        return PairNoise(
            boxes=torch.rand(2, count, 4, device=device),
            label_chances=torch.rand(2, count, device=device),
            labels=torch.randint(max(1, num_labels), (2, count), device=device),
        )

    def _counts(self, targets: list[RelationTarget] | None, num_images: int) -> list[int]:
        if targets is None:
            raise ValueError("the Relation Tagger labels given pairs: pass targets with boxes and labels of each image")
        if len(targets) != num_images or not targets:
            raise ValueError(f"{num_images} images but {len(targets)} targets: pass one target for each image")
        counts = [len(target) for target in targets]
        if max(counts) > self.num_pairs:
            raise ValueError(
                f"image {counts.index(max(counts))} of the batch has {max(counts)} pairs, but this tagger takes "
                f"{self.num_pairs} at once; split them into groups"
            )
        return counts

    def _shift(self, boxes: Float[Tensor, "2 n 4"], noise: PairNoise) -> Float[Tensor, "2 n 4"]:
        reach = torch.cat([boxes[..., 2:] / 2, boxes[..., 2:]], dim=-1)
        return (boxes + (2 * noise.boxes - 1) * reach * self.box_noise).clamp(0, 1)

    def _replace(self, labels: Tensor, noise: PairNoise) -> Tensor:
        return torch.where(noise.label_chances < self.label_noise, noise.labels, labels)

    def _same_entity(
        self, boxes: Tensor, labels: Tensor, images: Tensor, slots: Tensor, *, rows: int, counts: list[int]
    ) -> Bool[Tensor, "b n n"] | None:
        """True between different rows of one image that hold the same clean box and label."""
        full = all(count == self.num_pairs for count in counts)
        if self.entity_mask == "none" or (self.entity_mask == "official" and not full):
            return None
        keys = torch.cat([boxes, labels[..., None].to(boxes)], dim=-1)
        # NaN differs from itself, so empty rows are equal to nothing.
        table = keys.new_full((2, len(counts), rows, 5), float("nan"))
        table[:, images, slots] = keys
        entities = torch.cat([table[0], table[1]], dim=1)
        same = (entities[:, :, None] == entities[:, None]).all(-1)
        return same & ~torch.eye(2 * rows, dtype=torch.bool, device=same.device)


def _reference_layer(dim: int) -> nn.Linear:
    layer = nn.Linear(dim, 2)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _points(layer: nn.Module, positions: Tensor) -> Tensor:
    return at_least_float32(layer(positions)).sigmoid()


def _sum_of_halves(table: Float[Tensor, "2*q d"]) -> Float[Tensor, "q d"]:
    subjects, objects = table.chunk(2)
    return subjects + objects


def _expand(table: Tensor | None, batch: int) -> Tensor | None:
    return None if table is None else table.expand(batch, -1, -1)


def _hide(empty: Bool[Tensor, "b n"], other: Bool[Tensor, "b n n"] | None = None) -> Bool[Tensor, "b n n"] | None:
    """Hides empty rows from all, but for the first row of an image without any: attention needs something to see."""
    if other is None and not empty.any():
        return None
    visible = ~empty
    visible[:, 0] |= empty.all(1)
    hidden = (~visible)[:, None, :].expand(-1, empty.shape[1], -1)
    return hidden if other is None else hidden | other
