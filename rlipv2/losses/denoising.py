"""Loss of query denoising: decoder rows that started from noisy copies of the targets (not in the paper)."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from rlipv2.losses.pairs import PairBoxes, PseudoScores, RelationLabels
from rlipv2.losses.targets import Assignment, PackedTargets
from rlipv2.structures import RelationOutput, RelationTarget


class DenoisingLoss:
    """The losses of matched pairs for rows whose target is known: row k of an image answers to target k % T.

    Rows of an image beyond `copies * T` are padding and give nothing; `copies` is the number of rows divided
    by the largest T of the batch. Idea: DN-DETR (CVPR 2022). The arguments are those of `RelationCriterion`.
    """

    def __init__(
        self,
        *,
        subject_class: bool = True,
        relation_quality: Literal["giou"] | None = "giou",
        pseudo_relations: PseudoScores | None = None,
        missing_object_quality: Literal["official", "subject"] = "subject",
    ) -> None:
        self.subject_class = subject_class
        self.labels = RelationLabels(relation_quality, pseudo_relations, missing_object_quality)

    @staticmethod
    def copies(output: RelationOutput, sizes: Sequence[int]) -> int:
        """How often each target is repeated.

        Raises:
            ValueError: a number of rows that is no multiple of the largest number of targets.
        """
        rows, largest = output.object_logits.shape[2], max(sizes)
        if rows % max(largest, 1):
            raise ValueError(
                f"{rows} denoising rows for at most {largest} targets: expected whole copies of the targets"
            )
        return rows // max(largest, 1)

    def __call__(
        self,
        output: RelationOutput,
        targets: Sequence[RelationTarget] | PackedTargets,
        *,
        num_pairs: Tensor | float | None = None,
    ) -> dict[str, Float[Tensor, " l"]]:
        """Losses per decoder layer, named as those of `RelationCriterion`; all 0 without rows.

        Args:
            output: `RelationOutput.denoising`, float32.
            targets: the targets of the batch.
            num_pairs: divisor of the subject box losses; by default the number of rows that are no padding.

        Raises:
            ValueError: an output that does not fit the targets, or without subject logits where they are needed.
        """
        packed = targets if isinstance(targets, PackedTargets) else PackedTargets.pack(targets)
        packed.check(output)
        layers, _, rows, _ = output.object_logits.shape
        copies = self.copies(output, packed.sizes)
        assignment = Assignment.repeated(packed, num_layers=layers, num_rows=rows, copies=copies)
        boxes = PairBoxes.gather(output, packed, assignment, assignment.targets)
        labels = self.labels(output, packed, assignment, boxes)
        num_pairs = float(max(copies * len(packed), 1)) if num_pairs is None else num_pairs
        losses = {"loss_object_class": self._classes(output.object_logits, packed.object_labels, assignment)}
        if self.subject_class:
            if output.subject_logits is None:
                raise ValueError("the denoising loss has subject_class=True, but the model gives no subject_logits")
            losses["loss_subject_class"] = self._classes(output.subject_logits, packed.subject_labels, assignment)
        losses["loss_relation"] = self.labels.loss(assignment.gather(output.relation_logits), labels)
        return losses | boxes.losses(num_pairs)

    @staticmethod
    def _classes(
        logits: Float[Tensor, "l b q o"], labels: Int[Tensor, " t"], assignment: Assignment
    ) -> Float[Tensor, " l"]:
        rows, classes = assignment.gather(logits), labels[assignment.targets]
        entropy = F.cross_entropy(rows.flatten(0, 1), classes.flatten(), reduction="none").view(classes.shape)
        return torch.sum(entropy, 1) / max(classes.shape[1], 1)
