"""Terms of predicted rows that have a target: boxes, and the soft relation labels made from them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rlipv2.losses.functional import box_giou, box_l1, focal_loss, pair_giou, quality_focal_loss
from rlipv2.losses.targets import Assignment, PackedTargets
from rlipv2.structures import RelationOutput

PseudoScores = Callable[[Tensor | None, Tensor], Tensor]
"""(pooled features of the relation texts, multi-hot rows of the targets) -> score of every relation per target."""


@dataclass(frozen=True)
class PairBoxes:
    """Predicted boxes of the assigned rows, beside their targets; cx cy w h, 0-1."""

    subjects: Float[Tensor, "l k 4"]
    objects: Float[Tensor, "l k 4"]
    target_subjects: Float[Tensor, "l k 4"]
    target_objects: Float[Tensor, "l k 4"]
    missing_object: Bool[Tensor, "l k"]
    subject_giou: Float[Tensor, "l k"]
    object_giou: Float[Tensor, "l k"]

    @classmethod
    def gather(
        cls, output: RelationOutput, packed: PackedTargets, assignment: Assignment, targets: Int[Tensor, "l k"]
    ) -> "PairBoxes":
        """Boxes of the assigned rows against the boxes of `targets`."""
        subjects, objects = assignment.gather(output.subject_boxes), assignment.gather(output.object_boxes)
        target_subjects, target_objects = packed.subject_boxes[targets], packed.object_boxes[targets]
        return cls(
            subjects=subjects,
            objects=objects,
            target_subjects=target_subjects,
            target_objects=target_objects,
            missing_object=packed.missing_object[targets],
            subject_giou=box_giou(subjects, target_subjects),
            object_giou=box_giou(objects, target_objects),
        )

    def losses(self, num_pairs: Tensor | float) -> dict[str, Float[Tensor, " l"]]:
        """L1 and GIoU losses per layer; 0 without rows.

        Subject terms are divided by `num_pairs`. Object terms leave out targets without an object box and are
        divided by the number of the others in this process + 1e-4, also with several processes (official code).
        """
        has_object = (~self.missing_object).float()
        num_objects = has_object.sum(1) + 1e-4
        return {
            "loss_subject_box": box_l1(self.subjects, self.target_subjects).sum(1) / num_pairs,
            "loss_object_box": (has_object * box_l1(self.objects, self.target_objects)).sum(1) / num_objects,
            "loss_subject_giou": (1 - self.subject_giou).sum(1) / num_pairs,
            "loss_object_giou": (has_object * (1 - self.object_giou)).sum(1) / num_objects,
        }

    @torch.no_grad()
    def quality(self, missing_object: Literal["official", "subject"]) -> Float[Tensor, "l k"]:
        """(GIoU + 1) / 2 with the worse GIoU of the pair, in [0, 1]; see `RelationLabels` for missing objects."""
        if missing_object == "official":
            giou = pair_giou(self.subject_giou, self.object_giou, self.missing_object)
        else:
            worse = torch.minimum(self.subject_giou, self.object_giou)
            giou = torch.where(self.missing_object, self.subject_giou, worse)
        return (giou + 1) / 2


@dataclass(frozen=True)
class RelationLabels:
    """What the relation logits of assigned rows are trained towards, and with which loss.

    Attributes:
        relation_quality: "giou" scales the labels with the quality of the predicted boxes (Relation Quality
            Labels; official `giou_verb_label`) and trains with the quality focal loss; None keeps 0 and 1 and
            trains with the focal loss.
        pseudo_relations: adds soft labels before the scaling; needs `relation_quality`.
        missing_object_quality: quality of a row whose target has no object box. "official" adds the GIoU of
            the predicted object with the all-zero box, which may give a quality below 0: an error. "subject"
            takes the subject box alone.
    """

    relation_quality: Literal["giou"] | None = "giou"
    pseudo_relations: PseudoScores | None = None
    missing_object_quality: Literal["official", "subject"] = "official"

    def __post_init__(self) -> None:
        if self.relation_quality not in ("giou", None):
            raise ValueError(f"relation_quality={self.relation_quality!r}: expected 'giou' or None")
        if self.missing_object_quality not in ("official", "subject"):
            raise ValueError(
                f"missing_object_quality={self.missing_object_quality!r}: expected 'official' or 'subject'"
            )
        if self.pseudo_relations is not None and self.relation_quality is None:
            raise ValueError("pseudo_relations are soft labels: they need relation_quality='giou'")

    def __call__(
        self, output: RelationOutput, packed: PackedTargets, assignment: Assignment, boxes: PairBoxes
    ) -> Float[Tensor, "l k r"]:
        """Labels in [0, 1] of the assigned rows; `boxes` are those of `assignment.targets`.

        Raises:
            ValueError: a quality below 0, from a target without object box.
        """
        labels = packed.relations[assignment.targets]
        if self.relation_quality is None:
            return labels
        soft_targets = assignment.targets
        if assignment.quality_targets is not None:
            soft_targets = assignment.quality_targets
            with torch.no_grad():
                boxes = PairBoxes.gather(output, packed, assignment, soft_targets)
        quality = boxes.quality(self.missing_object_quality)
        self._check(quality, packed)
        if self.pseudo_relations is not None:
            labels = labels + self.pseudo_relations(output.relation_text, packed.relations)[soft_targets]
        return labels * quality[..., None]

    def loss(self, logits: Float[Tensor, "l n r"], labels: Float[Tensor, "l n r"]) -> Float[Tensor, " l"]:
        """The focal loss that belongs to the labels, per layer."""
        return focal_loss(logits, labels) if self.relation_quality is None else quality_focal_loss(logits, labels)

    def _check(self, quality: Tensor, packed: PackedTargets) -> None:
        # Only missing objects can make it negative; the host looks at the values only where there are some.
        if self.missing_object_quality == "official" and packed.has_missing_objects() and bool((quality < 0).any()):
            raise ValueError(
                f"relation quality {quality.min():.4f} is below 0: a target has no object box (all zero) and no "
                "predicted subject box is near its subject, where the official code stops with an assertion; pass "
                "missing_object_quality='subject', or relation_quality=None as the official V-COCO recipe"
            )
