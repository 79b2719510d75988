"""One-to-one assignment of predicted pairs to labelled pairs.

RLIPv2 (ICCV 2023). Official: models/matcher.py, HungarianMatcherHOI.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rlipv2.losses.functional import pair_giou
from rlipv2.losses.targets import Matches, PackedTargets
from rlipv2.ops.boxes import cxcywh_to_xyxy, pairwise_giou
from rlipv2.structures import RelationOutput, RelationTarget


class PairMatcher:
    """Finds, per decoder layer and image, the assignment of queries to targets of least total cost.

    The costs of all layers are computed together and come to the host in one transfer. Relation labels are
    taken as 0 and 1 here, whatever softness the relation loss gives them.

    Args:
        object_cost: weight of minus the probability of the object label, and of the subject label.
        relation_cost: weight of the relation cost.
        box_cost: weight of the larger L1 distance (cx cy w h, summed) of subject and object.
        giou_cost: weight of minus the worse GIoU of subject and object.
        subject_class: whether the subject label counts; needs `output.subject_logits`.
    """

    def __init__(
        self,
        *,
        object_cost: float = 1.0,
        relation_cost: float = 1.0,
        box_cost: float = 2.5,
        giou_cost: float = 1.0,
        subject_class: bool = True,
    ) -> None:
        self.object_cost = object_cost
        self.relation_cost = relation_cost
        self.box_cost = box_cost
        self.giou_cost = giou_cost
        self.subject_class = subject_class

    @torch.no_grad()
    def __call__(self, output: RelationOutput, targets: Sequence[RelationTarget] | PackedTargets) -> Matches:
        """Matches as [layer][image] -> (query indices ascending, target indices), both on the CPU.

        An image with T targets and q queries gives min(q, T) matches.

        Raises:
            ValueError: a cost that is not finite (NaN in predictions or targets), or an output that does not fit
                the targets.
        """
        packed = targets if isinstance(targets, PackedTargets) else PackedTargets.pack(targets)
        packed.check(output)
        if not len(packed):
            packed.any_missing = False
            none = torch.empty(0, dtype=torch.int64)
            return [[(none, none)] * len(packed.sizes) for _ in output.object_logits]
        with torch.autocast(output.object_logits.device.type, enabled=False):
            costs = self._to_host(self.costs(output, packed), packed)
        return [
            [
                assign(cost, size, where=f"decoder layer {layer}, image {image} of the batch")
                for image, (cost, size) in enumerate(zip(images, packed.sizes, strict=True))
            ]
            for layer, images in enumerate(costs)
        ]

    def costs(self, output: RelationOutput, packed: PackedTargets) -> Float[Tensor, "l b q m"]:
        """Cost of every query with every target of its image; columns beyond an image's targets mean nothing."""
        column = _columns(packed)
        missing = packed.missing_object[column][:, None]
        subject_boxes, object_boxes = packed.subject_boxes[column], packed.object_boxes[column]
        classes = class_cost(output.object_logits, packed.object_labels[column])
        if self.subject_class:
            if output.subject_logits is None:
                raise ValueError("the matcher has subject_class=True, but the model gives no subject_logits")
            classes = classes + class_cost(output.subject_logits, packed.subject_labels[column])
        l1 = torch.maximum(
            l1_distance(output.subject_boxes, subject_boxes),
            l1_distance(output.object_boxes, object_boxes) * ~missing,
        )
        giou = pair_giou(
            _pairwise_giou(output.subject_boxes, subject_boxes),
            _pairwise_giou(output.object_boxes, object_boxes),
            missing,
        )
        relations = relation_cost(output.relation_logits, packed.relations[column])
        return self.object_cost * classes + self.relation_cost * relations + self.box_cost * l1 - self.giou_cost * giou

    @staticmethod
    def _to_host(costs: Tensor, packed: PackedTargets) -> np.ndarray:
        """One transfer for the costs and for the question whether any target has no object box."""
        flat = torch.cat([costs.flatten(), packed.missing_object.any()[None].to(costs)]).cpu().numpy()
        packed.any_missing = bool(flat[-1])
        return flat[:-1].reshape(costs.shape)


def class_cost(logits: Float[Tensor, "l b q o"], labels: Int[Tensor, "b m"]) -> Float[Tensor, "l b q m"]:
    """Minus the softmax probability of each target's label."""
    columns = labels[None, :, None].expand(*logits.shape[:-1], -1)
    return -logits.float().softmax(-1).gather(-1, columns)


def relation_cost(logits: Float[Tensor, "l b q r"], relations: Float[Tensor, "b m r"]) -> Float[Tensor, "l b q m"]:
    """Minus half of (mean probability of the target's relations + mean of 1 - probability of all others).

    A target without any relation has only the second half.
    """
    positive = relations / (relations.sum(-1, keepdim=True) + 1e-4)
    negative = (1 - relations) / ((1 - relations).sum(-1, keepdim=True) + 1e-4)
    # p @ positive + (1 - p) @ negative with one matrix product
    gain = logits.float().sigmoid() @ (positive - negative).transpose(1, 2)
    return -0.5 * (gain + negative.sum(-1)[:, None])


def l1_distance(boxes: Float[Tensor, "l b q 4"], targets: Float[Tensor, "b m 4"]) -> Float[Tensor, "l b q m"]:
    """Sum of the absolute differences of cx cy w h."""
    return torch.cdist(boxes.float(), targets.expand(len(boxes), -1, -1, -1), p=1)


def _pairwise_giou(boxes: Tensor, targets: Tensor) -> Tensor:
    return pairwise_giou(cxcywh_to_xyxy(boxes.float()), cxcywh_to_xyxy(targets))


def _columns(packed: PackedTargets) -> Int[Tensor, "b m"]:
    """Rows of `packed` per image, filled up with row 0 to the largest number of targets of an image."""
    width = max(packed.sizes)
    starts = zip(packed.offsets, packed.sizes, strict=True)
    rows = [[*range(start, start + size), *[0] * (width - size)] for start, size in starts]
    return torch.tensor(rows).to(packed.object_labels.device, non_blocking=True)


def assign(cost: np.ndarray, size: int, *, where: str) -> tuple[Tensor, Tensor]:
    """Query and target indices of the cheapest assignment for costs (queries, targets), of which `size` columns count.

    Raises:
        ValueError: a cost that is not finite; `where` tells the layer and image.
    """
    cost = cost[:, :size]
    if not np.isfinite(cost).all():
        raise ValueError(
            f"{where}: {(~np.isfinite(cost)).sum()} of {cost.size} matching costs are not finite, so predictions or "
            "target boxes hold NaN or infinity; look for a diverged training (lower the learning rate, clip gradients)"
        )
    queries, targets = linear_sum_assignment(cost)
    return torch.from_numpy(queries), torch.from_numpy(targets)
