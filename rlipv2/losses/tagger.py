"""The training loss of the Relation Tagger, whose pairs are given: pair k of an image answers to its target k.

RLIPv2 (ICCV 2023). Official: models/hoi.py, SetCriterionHOI, loss_verb_tagger.
"""

import torch
from torch import Tensor

from rlipv2.losses.criterion import RelationCriterion, by_layer
from rlipv2.losses.dense import DenseLoss
from rlipv2.losses.functional import background_cross_entropy, class_error
from rlipv2.losses.pairs import PairBoxes
from rlipv2.losses.targets import Assignment, Matches, PackedTargets
from rlipv2.structures import RelationOutput


def given_pairs(output: RelationOutput, targets: PackedTargets) -> Matches:
    """Target k is matched with pair k, in every layer; stands in the place of a `PairMatcher`.

    Raises:
        ValueError: an image with more targets than pairs.
    """
    layers, _, pairs, _ = output.object_logits.shape
    if max(targets.sizes) > pairs:
        raise ValueError(
            f"an image has {max(targets.sizes)} target pairs, the model takes {pairs}: give data and model the same "
            "num_pairs"
        )
    rows = [torch.arange(size) for size in targets.sizes]
    return [[(row, row) for row in rows] for _ in range(layers)]


class TaggerCriterion(RelationCriterion):
    """Un-weighted named losses of given pairs, under the names of `RelationCriterion`.

    The targets hold all pairs of an image, those without a relation too, as clean boxes and labels: where the queries
    were made from noisy ones, box and class losses are denoising losses. Pairs beyond the targets of an image are
    padding and give nothing. Differences to `RelationCriterion`: no matching; class losses are means over the pairs of
    this process, so that the background weighs only where a target itself is labelled as background (V-COCO's missing
    objects); the relation loss is the focal loss over these pairs alone; labels are neither softened by quality nor
    extended by pseudo relations; class errors are given for every layer (`object_class_error_layer0`, ...), and there
    is no cardinality error. A batch without pairs has losses of 0.

    Args:
        subject_class: whether subjects are classified, as in every official tagger recipe.
        background_weight: weight in the class losses of targets that are labelled as background.
        dense: loss of `output.dense`, not in the paper; None ignores it.
    """

    def __init__(
        self, *, subject_class: bool = True, background_weight: float = 0.1, dense: DenseLoss | None = None
    ) -> None:
        super().__init__(
            given_pairs,
            subject_class=subject_class,
            background_weight=background_weight,
            relation_quality=None,
            dense=dense,
        )

    def _pair_losses(
        self, output: RelationOutput, packed: PackedTargets, num_pairs: Tensor | float
    ) -> dict[str, Tensor]:
        assignment = Assignment.from_matches(
            self.matcher(output, packed), packed, num_queries=output.object_logits.shape[2], label_offset="targets"
        )
        boxes = PairBoxes.gather(output, packed, assignment, assignment.targets)
        losses, logs = self._class_losses(output, packed, assignment)
        labels = self.labels(output, packed, assignment, boxes)
        losses["loss_relation"] = self.labels.loss(assignment.gather(output.relation_logits), labels)
        return by_layer(losses | boxes.losses(num_pairs)) | by_layer(logs)

    def _class_losses(
        self, output: RelationOutput, packed: PackedTargets, assignment: Assignment
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        losses, logs = {}, {}
        for name, (logits, labels) in self._classified(output, packed).items():
            rows, classes = assignment.gather(logits), labels[assignment.targets]
            losses[f"loss_{name}_class"] = background_cross_entropy(rows, classes, self.background_weight)
            pairs = zip(rows.detach(), classes, strict=True)
            logs[f"{name}_class_error"] = torch.stack([class_error(*layer) for layer in pairs])
        return losses, logs
