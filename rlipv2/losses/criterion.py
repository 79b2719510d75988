"""The training loss of relation detection.

RLIPv2 (ICCV 2023). Official: models/hoi.py, SetCriterionHOI.
"""

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from rlipv2.losses.denoising import DenoisingLoss
from rlipv2.losses.dense import DenseLoss
from rlipv2.losses.functional import background_cross_entropy, cardinality_error, class_error
from rlipv2.losses.pairs import PairBoxes, PseudoScores, RelationLabels
from rlipv2.losses.targets import Assignment, Matches, PackedTargets
from rlipv2.structures import DenseOutput, DetectionTarget, RelationOutput, RelationTarget

_PAIR_WEIGHTS = {
    "loss_object_class": 1.0,
    "loss_subject_class": 1.0,
    "loss_relation": 1.0,
    "loss_subject_box": 2.5,
    "loss_object_box": 2.5,
    "loss_subject_giou": 1.0,
    "loss_object_giou": 1.0,
}
DENSE_WEIGHTS = {"dense_loss_class": 1.0, "dense_loss_box": 2.5, "dense_loss_giou": 1.0}

LOSS_WEIGHTS: Mapping[str, float] = MappingProxyType(
    _PAIR_WEIGHTS | {f"denoising_{name}": weight for name, weight in _PAIR_WEIGHTS.items()} | DENSE_WEIGHTS
)
"""Weights of every official script, and the same for the parts that are ours."""


class RelationCriterion(nn.Module):
    """Matches predictions to targets in every decoder layer and gives the un-weighted named losses.

    All layers and images are computed together, in float32 whatever the autocast; the host waits for the device
    once, in the matcher.

    Args:
        matcher: gives `[layer][image]` -> (query indices, target indices), as `PairMatcher`.
        subject_class: whether subjects are classified; the official HICO few-shot recipe has it off.
        background_weight: weight of unmatched pairs in the class losses.
        relation_quality: "giou" for Relation Quality Labels (RQL), None for labels of 0 and 1.
        pseudo_relations: a `PseudoRelations` for pre-training (RPL), or None.
        label_offset: "matched" as the official code, which, after an image with more targets than queries, makes
            the soft labels of the following images from other targets; "targets" makes them from their own.
        missing_object_quality: "official" or "subject", see `RelationLabels`.
        denoising: loss of `output.denoising`; None ignores it.
        dense: loss of `output.dense`; None ignores it.

    Raises:
        ValueError: an option outside its choices.
    """

    def __init__(
        self,
        matcher: Callable[[RelationOutput, PackedTargets], Matches],
        *,
        subject_class: bool = True,
        background_weight: float = 0.1,
        relation_quality: Literal["giou"] | None = "giou",
        pseudo_relations: PseudoScores | None = None,
        label_offset: Literal["matched", "targets"] = "matched",
        missing_object_quality: Literal["official", "subject"] = "official",
        denoising: DenoisingLoss | None = None,
        dense: DenseLoss | None = None,
    ) -> None:
        super().__init__()
        if label_offset not in ("matched", "targets"):
            raise ValueError(f"label_offset={label_offset!r}: expected 'matched' or 'targets'")
        self.matcher = matcher
        self.subject_class = subject_class
        self.background_weight = background_weight
        self.label_offset: Literal["matched", "targets"] = label_offset
        self.labels = RelationLabels(relation_quality, pseudo_relations, missing_object_quality)
        self.denoising = denoising
        self.dense = dense

    def forward(self, output: RelationOutput, targets: Sequence[RelationTarget]) -> dict[str, Float[Tensor, ""]]:
        """Losses by name: `loss_relation` of the last layer, `loss_relation_layer0` of the first, and so on.

        Also, without gradient and for the last layer only, `object_class_error`, `subject_class_error` and
        `cardinality_error`. Keys of the optional parts start with `denoising_` and `dense_`.
        A batch without targets has box losses of 0 and a relation loss that is not divided.

        Raises:
            ValueError: output and targets do not fit each other, predictions that are not finite, or a relation
                quality below 0 (`RelationLabels`).
        """
        with torch.autocast(output.object_logits.device.type, enabled=False):
            output = _in_float32(output)
            packed = PackedTargets.pack(targets)
            packed.check(output)
            num_pairs, num_denoising = self._normalizers(output, packed)
            losses = self._pair_losses(output, packed, num_pairs)
            if self.denoising is not None and output.denoising is not None:
                denoised = _in_float32(dataclasses.replace(output.denoising, relation_text=output.relation_text))
                losses |= by_layer(self.denoising(denoised, packed, num_pairs=num_denoising), "denoising_")
            if self.dense is not None and output.dense:
                losses |= self.dense_losses(output.dense, packed)
        return losses

    def dense_losses(
        self, outputs: Sequence[DenseOutput], targets: Sequence[RelationTarget] | PackedTargets
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of the dense heads alone, under the names that they have in `forward`.

        Raises:
            ValueError: the criterion was built without `dense`.
        """
        return named_dense_losses(self.dense, outputs, targets)

    def _pair_losses(
        self, output: RelationOutput, packed: PackedTargets, num_pairs: Tensor | float
    ) -> dict[str, Tensor]:
        assignment = Assignment.from_matches(
            self.matcher(output, packed),
            packed,
            num_queries=output.object_logits.shape[2],
            label_offset=self.label_offset,
        )
        boxes = PairBoxes.gather(output, packed, assignment, assignment.targets)
        losses, logs = self._class_losses(output, packed, assignment)
        logits = output.relation_logits.flatten(1, 2)
        labels = assignment.scatter(self.labels(output, packed, assignment, boxes), logits.shape[1])
        losses["loss_relation"] = self.labels.loss(logits, labels)
        losses |= boxes.losses(num_pairs)
        sizes = torch.tensor(packed.sizes).to(logits.device, non_blocking=True)
        logs["cardinality_error"] = cardinality_error(output.object_logits[-1:], sizes)[0]
        return by_layer(losses) | logs

    def _class_losses(
        self, output: RelationOutput, packed: PackedTargets, assignment: Assignment
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        losses, logs = {}, {}
        for name, (logits, labels) in self._classified(output, packed).items():
            rows = logits.flatten(1, 2)
            classes = assignment.classes(labels, rows.shape[1], background=rows.shape[2] - 1)
            losses[f"loss_{name}_class"] = background_cross_entropy(rows, classes, self.background_weight)
            matched = rows[-1].detach()[assignment.rows[-1]]
            logs[f"{name}_class_error"] = class_error(matched, labels[assignment.targets[-1]])
        return losses, logs

    def _classified(self, output: RelationOutput, packed: PackedTargets) -> dict[str, tuple[Tensor, Tensor]]:
        """Logits of all queries and labels of all targets of what is classified: objects, and subjects if asked for."""
        parts = {"object": (output.object_logits, packed.object_labels)}
        if self.subject_class:
            if output.subject_logits is None:
                raise ValueError("the criterion has subject_class=True, but the model gives no subject_logits")
            parts["subject"] = (output.subject_logits, packed.subject_labels)
        return parts

    def _normalizers(self, output: RelationOutput, packed: PackedTargets) -> list[Tensor | float]:
        """Number of pairs, and of denoising rows: means over the processes, at least 1."""
        copies = 0
        if self.denoising is not None and output.denoising is not None:
            copies = self.denoising.copies(output.denoising, packed.sizes)
        return means_over_processes([len(packed), copies * len(packed)], output.object_logits.device)


def means_over_processes(counts: Sequence[float], device: torch.device) -> list[Tensor | float]:
    """The mean of each count over the processes, at least 1."""
    if not (dist.is_available() and dist.is_initialized()):
        return [max(float(count), 1.0) for count in counts]
    total = torch.tensor([float(count) for count in counts], device=device)
    dist.all_reduce(total)
    return list((total / dist.get_world_size()).clamp(min=1))


def named_dense_losses(
    loss: DenseLoss | None,
    outputs: Sequence[DenseOutput],
    targets: Sequence[RelationTarget] | Sequence[DetectionTarget] | PackedTargets,
) -> dict[str, Float[Tensor, ""]]:
    """Losses of dense heads under the names that all criteria give them.

    Raises:
        ValueError: there is no such loss.
    """
    if loss is None:
        raise ValueError("this criterion has no dense loss; build it with dense=DenseLoss()")
    return by_layer(loss(outputs, targets), "dense_")


def weighted_sum(
    losses: Mapping[str, Tensor], weights: Mapping[str, float], *, known: Collection[str] = LOSS_WEIGHTS
) -> Float[Tensor, ""]:
    """The training loss: every loss times the weight of its base name, which holds for all layers.

    Values whose name does not speak of a loss (`object_class_error`, ...) are logs and stay out. `known` are names
    that may have a weight without being in `losses`: those of parts that are off.

    >>> losses = {"loss_a": torch.tensor(1.0), "loss_a_layer0": torch.tensor(2.0), "error": torch.tensor(9.0)}
    >>> weighted_sum(losses, {"loss_a": 0.5})
    tensor(1.5000)

    Raises:
        ValueError: a loss without weight, or a weight whose name is neither in `losses` nor in `known`.
    """
    bases = {key: re.sub(r"_layer\d+$", "", key) for key in losses if re.match(r"(denoising_|dense_)?loss_", key)}
    missing = set(bases.values()) - weights.keys()
    unknown = weights.keys() - set(bases.values()) - set(known)
    if missing or unknown:
        raise ValueError(
            f"loss weights: no weight for {sorted(missing)}, unknown names {sorted(unknown)}; "
            "give every loss a weight (0 switches it off) under one of its names"
        )
    if not bases:
        raise ValueError(f"nothing to sum: none of {sorted(losses)} is a loss")
    # One sum per distinct weight instead of one product per loss: fewer launches on the device.
    by_weight: dict[float, list[Tensor]] = {}
    for key, base in bases.items():
        by_weight.setdefault(float(weights[base]), []).append(losses[key])
    return torch.stack([weight * torch.stack(values).sum() for weight, values in by_weight.items()]).sum()


def by_layer(losses: Mapping[str, Float[Tensor, " l"]], prefix: str = "") -> dict[str, Tensor]:
    """One entry per loss and layer; the last layer has the plain name."""
    named = {}
    for name, values in losses.items():
        *auxiliary, last = values.unbind(0)
        named[prefix + name] = last
        named |= {f"{prefix}{name}_layer{index}": value for index, value in enumerate(auxiliary)}
    return named


def _in_float32(output: RelationOutput) -> RelationOutput:
    fields = {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    tensors: dict[str, Any] = {name: value.float() for name, value in fields.items() if isinstance(value, Tensor)}
    return dataclasses.replace(output, **tensors)
