"""Matching and losses of object detection: sigmoid focal classes, L1 and GIoU of boxes, every decoder layer.

Deformable DETR (ICLR 2021). Official code of that project: models/matcher.py, models/deformable_detr.py.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rlipv2.losses.criterion import DENSE_WEIGHTS, by_layer, means_over_processes, named_dense_losses
from rlipv2.losses.dense import DenseLoss
from rlipv2.losses.functional import box_giou, box_l1
from rlipv2.losses.matcher import assign
from rlipv2.ops.boxes import cxcywh_to_xyxy, pairwise_giou
from rlipv2.structures import DenseOutput, DetectionOutput, DetectionTarget

DETECTION_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"loss_class": 2.0, "loss_box": 5.0, "loss_giou": 2.0} | DENSE_WEIGHTS
)
"""Weights of Deformable DETR, DAB-DETR gives the class loss 1; and those of the dense loss, which is ours."""

BoxMatches = list[tuple[Tensor, Tensor]]
"""Per image of a layer: query indices, target indices, on the CPU."""


class BoxMatcher:
    """Finds, per decoder layer and image, the assignment of queries to boxes of least total cost.

    Args:
        class_cost: weight of the focal cost of the box's class.
        box_cost: weight of the L1 distance (cx cy w h, summed).
        giou_cost: weight of minus the GIoU.
        alpha: of the focal cost.
        gamma: of the focal cost.
    """

    def __init__(
        self,
        *,
        class_cost: float = 2.0,
        box_cost: float = 5.0,
        giou_cost: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ) -> None:
        self.class_cost, self.box_cost, self.giou_cost = class_cost, box_cost, giou_cost
        self.alpha, self.gamma = alpha, gamma

    @torch.no_grad()
    def __call__(self, output: DetectionOutput, targets: Sequence[DetectionTarget]) -> list[BoxMatches]:
        """Matches as [layer][image] -> (query indices, target indices); min(queries, boxes) of each image.

        Raises:
            ValueError: a cost that is not finite (NaN in predictions or targets).
        """
        costs = [self._costs(output, image, target).cpu().numpy() for image, target in enumerate(targets)]
        return [
            [
                assign(cost[layer], len(target), where=f"decoder layer {layer}, image {image} of the batch")
                for image, (cost, target) in enumerate(zip(costs, targets, strict=True))
            ]
            for layer in range(len(output.logits))
        ]

    def _costs(self, output: DetectionOutput, image: int, target: DetectionTarget) -> Float[Tensor, "l q m"]:
        """Cost of every query with every box of an image."""
        logits = output.logits[:, image].float()[..., target.labels]
        probability = logits.sigmoid()
        positive = self.alpha * (1 - probability).pow(self.gamma) * F.softplus(-logits)
        negative = (1 - self.alpha) * probability.pow(self.gamma) * F.softplus(logits)
        boxes = output.boxes[:, image].float()
        l1 = torch.cdist(boxes, target.boxes.expand(len(boxes), -1, -1), p=1)
        giou = pairwise_giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(target.boxes))
        return self.class_cost * (positive - negative) + self.box_cost * l1 - self.giou_cost * giou


class DetectionCriterion(nn.Module):
    """Un-weighted losses of all decoder layers: `loss_class`, `loss_box`, `loss_giou`.

    All are sums divided by the number of boxes, the mean over processes, at least 1. Names without suffix are
    the last layer, `_layer0` the first.

    Args:
        matcher: assigns queries to boxes.
        alpha: weight of positive entries in the focal loss, 1 - alpha of the others.
        gamma: exponent of the focal loss.
        unlabelled: what a class means that the dataset of an image does not label (joined datasets): `ignore` gives
            it no loss in this image, `negative` takes it for absent.
        dense: loss of `output.dense`; None ignores it.

    Raises:
        ValueError: an unknown option.
    """

    def __init__(
        self,
        *,
        matcher: BoxMatcher | None = None,
        alpha: float = 0.25,
        gamma: float = 2.0,
        unlabelled: str = "ignore",
        dense: DenseLoss | None = None,
    ) -> None:
        super().__init__()
        if unlabelled not in ("ignore", "negative"):
            raise ValueError(f"unlabelled={unlabelled!r}: expected ignore or negative")
        self.matcher = matcher or BoxMatcher()
        self.alpha, self.gamma, self.unlabelled = alpha, gamma, unlabelled
        self.dense = dense

    def forward(self, output: DetectionOutput, targets: Sequence[DetectionTarget]) -> dict[str, Float[Tensor, ""]]:
        """Losses by name.

        Raises:
            ValueError: targets of another number of images or of another label space.
        """
        _check(output, targets)
        with torch.autocast(output.logits.device.type, enabled=False):
            dense = output.dense
            output = DetectionOutput(logits=output.logits.float(), boxes=output.boxes.float())
            layers = [
                self._layer(output.logits[layer], output.boxes[layer], matches, targets)
                for layer, matches in enumerate(self.matcher(output, targets))
            ]
            (count,) = means_over_processes([sum(map(len, targets))], output.logits.device)
        losses = by_layer({name: torch.stack([layer[name] for layer in layers]) / count for name in layers[0]})
        return losses | self.dense_losses(dense, targets) if self.dense is not None and dense else losses

    def dense_losses(
        self, outputs: Sequence[DenseOutput], targets: Sequence[DetectionTarget]
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of the dense heads alone, under the names that they have in `forward`.

        Raises:
            ValueError: the criterion was built without `dense`.
        """
        return named_dense_losses(self.dense, outputs, targets)

    def _layer(
        self,
        logits: Float[Tensor, "b q o"],
        boxes: Float[Tensor, "b q 4"],
        matches: BoxMatches,
        targets: Sequence[DetectionTarget],
    ) -> dict[str, Tensor]:
        image = torch.cat([torch.full_like(queries, index) for index, (queries, _) in enumerate(matches)])
        query = torch.cat([queries for queries, _ in matches])
        labels = torch.cat([target.labels[rows] for target, (_, rows) in zip(targets, matches, strict=True)])
        true = torch.cat([target.boxes[rows] for target, (_, rows) in zip(targets, matches, strict=True)])
        wanted = torch.zeros_like(logits)
        wanted[image, query, labels] = 1.0
        focal = self.focal(logits, wanted)
        if self.unlabelled == "ignore":
            focal = focal * torch.stack([target.annotated for target in targets])[:, None]
        matched = boxes[image, query][None]
        return {
            "loss_class": focal.sum(),
            "loss_box": box_l1(matched, true[None]).sum(),
            "loss_giou": (1 - box_giou(matched, true[None])).sum(),
        }

    def focal(self, logits: Float[Tensor, "*n"], wanted: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Focal loss of RetinaNet per entry for targets of 0 and 1, as `torchvision.ops.sigmoid_focal_loss`."""
        signed = torch.where(wanted > 0, logits, -logits)
        weight = torch.where(wanted > 0, self.alpha, 1 - self.alpha)
        return weight * (-signed).sigmoid().pow(self.gamma) * F.softplus(-signed)


def _check(output: DetectionOutput, targets: Sequence[DetectionTarget]) -> None:
    images, classes = output.logits.shape[1], output.logits.shape[-1]
    if len(targets) != images:
        raise ValueError(f"predictions of {images} images, targets of {len(targets)}")
    for number, target in enumerate(targets):
        if len(target.annotated) != classes:
            raise ValueError(
                f"image {number} of the batch: its target counts in {len(target.annotated)} classes, the predictions "
                f"in {classes}; targets must count in the label space of the batch"
            )
