"""Targets of a batch laid end to end, and which predicted row answers to which of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rlipv2.structures import RelationOutput, RelationTarget

Matches = list[list[tuple[Tensor, Tensor]]]
"""[layer][image] -> (indices of queries, indices of targets of that image), on the CPU."""


@dataclass
class PackedTargets:
    """The targets of all images in one tensor per field, image after image.

    Attributes:
        subject_boxes: cx cy w h, 0-1, as `RelationTarget`; letter t counts the targets of the batch.
        missing_object: true where the object box is all zero.
        sizes: number of targets per image.
        any_missing: whether `missing_object` has a true entry, once the host knows it.
    """

    subject_boxes: Float[Tensor, "t 4"]
    object_boxes: Float[Tensor, "t 4"]
    subject_labels: Int[Tensor, " t"]
    object_labels: Int[Tensor, " t"]
    relations: Float[Tensor, "t r"]
    sizes: tuple[int, ...]
    missing_object: Bool[Tensor, " t"] = field(init=False)
    any_missing: bool | None = None

    def __post_init__(self) -> None:
        self.missing_object = (self.object_boxes == 0).all(-1)

    def __len__(self) -> int:
        return len(self.object_labels)

    @classmethod
    def pack(cls, targets: Sequence[RelationTarget]) -> "PackedTargets":
        """Concatenates the targets of a batch; boxes and relations become float32.

        Raises:
            ValueError: no image at all, or relation rows of different length.
        """
        widths = {target.relations.shape[-1] for target in targets}
        if len(widths) != 1:
            raise ValueError(
                f"targets of {len(targets)} images have relation rows of lengths {sorted(widths)}: "
                "expected at least one image and one label space for the batch; collate samples to a common one"
            )
        return cls(
            subject_boxes=torch.cat([target.subject_boxes for target in targets]).float(),
            object_boxes=torch.cat([target.object_boxes for target in targets]).float(),
            subject_labels=torch.cat([target.subject_labels for target in targets]),
            object_labels=torch.cat([target.object_labels for target in targets]),
            relations=torch.cat([target.relations for target in targets]).float(),
            sizes=tuple(len(target) for target in targets),
        )

    @property
    def offsets(self) -> list[int]:
        """Row of the first target of each image."""
        return list(accumulate(self.sizes[:-1], initial=0))

    def has_missing_objects(self) -> bool:
        """Whether a target has no object box; waits for the GPU unless the matcher has found out already."""
        if self.any_missing is None:
            self.any_missing = bool(self.missing_object.any())
        return self.any_missing

    def check(self, output: RelationOutput) -> None:
        """Checks that `output` was made for these images and this label space.

        Raises:
            ValueError: other number of images or relation texts.
        """
        images, relations = output.relation_logits.shape[1], output.relation_logits.shape[-1]
        if images != len(self.sizes):
            raise ValueError(f"the output holds {images} images, the targets {len(self.sizes)}: pass the same batch")
        if relations != self.relations.shape[-1]:
            raise ValueError(
                f"the output has {relations} relation logits, the targets have {self.relations.shape[-1]} relations: "
                "both must count in the label space of the batch"
            )


@dataclass(frozen=True)
class Assignment:
    """Which predicted row answers to which target, for all layers; k rows per layer.

    Attributes:
        rows: position of the query among the queries of all images.
        targets: position in `PackedTargets`.
        quality_targets: targets whose boxes and pseudo relations make the soft labels, where these are not
            `targets`: a quirk of the official code (`RelationCriterion`, `label_offset`).
    """

    rows: Int[Tensor, "l k"]
    targets: Int[Tensor, "l k"]
    quality_targets: Int[Tensor, "l k"] | None = None

    @classmethod
    def from_matches(
        cls,
        matches: Matches,
        packed: PackedTargets,
        *,
        num_queries: int,
        label_offset: Literal["matched", "targets"],
    ) -> "Assignment":
        """Lays the matches of all layers and images end to end and brings them to the device of the targets.

        Raises:
            ValueError: layers with different numbers of matched pairs.
        """
        counts = [[len(queries) for queries, _ in layer] for layer in matches]
        if any(count != counts[0] for count in counts):
            raise ValueError(f"matched pairs per [layer][image] are {counts}: every layer must match equally many")

        def per_pair(values: Sequence[int]) -> Tensor:
            return torch.tensor(list(values)).repeat_interleave(torch.tensor(counts[0]))

        queries = torch.stack([torch.cat([queries for queries, _ in layer]) for layer in matches])
        targets = torch.stack([torch.cat([targets for _, targets in layer]) for layer in matches])
        rows = queries + per_pair(range(0, num_queries * len(counts[0]), num_queries))
        # Official code: the offset of an image grows by the matched pairs of the images before it, not by their
        # targets, so images after one with more targets than queries read soft labels of other targets.
        quirk = label_offset == "matched" and tuple(counts[0]) != packed.sizes
        offsets = [packed.offsets, *([list(accumulate(counts[0][:-1], initial=0))] if quirk else [])]
        stacked = torch.stack([rows, *(targets + per_pair(offset) for offset in offsets)])
        on_device = stacked.to(packed.object_labels.device, non_blocking=True)
        return cls(on_device[0], on_device[1], on_device[2] if quirk else None)

    @classmethod
    def repeated(cls, packed: PackedTargets, *, num_layers: int, num_rows: int, copies: int) -> "Assignment":
        """Row k of an image answers to its target k % T for the first copies * T of `num_rows` rows."""
        rows: list[int] = []
        targets: list[int] = []
        for image, (size, offset) in enumerate(zip(packed.sizes, packed.offsets, strict=True)):
            rows += range(image * num_rows, image * num_rows + copies * size)
            targets += [*range(offset, offset + size)] * copies
        stacked = torch.tensor([rows, targets], dtype=torch.int64)[:, None].expand(-1, num_layers, -1)
        on_device = stacked.to(packed.object_labels.device, non_blocking=True)
        return cls(on_device[0], on_device[1])

    def gather(self, values: Float[Tensor, "l b q c"]) -> Float[Tensor, "l k c"]:
        """The predictions of the assigned rows."""
        return values.flatten(1, 2).gather(1, self.rows[..., None].expand(-1, -1, values.shape[-1]))

    def scatter(self, values: Float[Tensor, "l k c"], num_rows: int) -> Float[Tensor, "l n c"]:
        """A tensor of zeros with `values` at the assigned rows."""
        zeros = values.new_zeros(values.shape[0], num_rows, values.shape[-1])
        return zeros.scatter(1, self.rows[..., None].expand_as(values), values)

    def classes(self, labels: Int[Tensor, " t"], num_rows: int, background: int) -> Int[Tensor, "l n"]:
        """The label of each row, `background` for rows without a target."""
        rows = labels.new_full((len(self.rows), num_rows), background)
        return rows.scatter(1, self.rows, labels[self.targets])
