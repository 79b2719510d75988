"""Loss of auxiliary dense heads: every token of the feature maps predicts a class and a box (not in the paper)."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rlipv2.losses.functional import box_giou, box_l1, sigmoid_focal_sum
from rlipv2.losses.targets import PackedTargets
from rlipv2.structures import DenseOutput, DetectionTarget, RelationTarget


class DenseLoss:
    """Focal loss over object texts, and L1 and GIoU of the boxes of positive tokens.

    After FCOS (ICCV 2019): a token is positive for a box on whose level the box belongs, if its centre lies in
    the central part of the box. Where several boxes claim a token, the smallest gets it. The true boxes are
    the distinct subject and object boxes of the targets, or the boxes of detection targets. Works alone too, to
    train a backbone on detection.

    Args:
        cells_per_box: a box belongs to the level whose cells are closest to 1 / `cells_per_box` of its longer
            side (ratio). The default is the middle of FCOS's range of 8 to 16 cells.
        radius: half size of the central part in cells. It is cut to the box, but never below half a cell, so
            that every box has a token.
        alpha: weight of positive entries in the focal loss, 1 - alpha of the others.
        gamma: exponent of the focal loss.
    """

    def __init__(
        self, *, cells_per_box: float = 8 * math.sqrt(2), radius: float = 1.5, alpha: float = 0.25, gamma: float = 2.0
    ) -> None:
        self.cells_per_box = cells_per_box
        self.radius = radius
        self.alpha = alpha
        self.gamma = gamma

    def __call__(
        self,
        outputs: Sequence[DenseOutput],
        targets: Sequence[RelationTarget] | Sequence[DetectionTarget] | PackedTargets,
    ) -> dict[str, Float[Tensor, " l"]]:
        """`loss_class`, `loss_box`, `loss_giou` per element of `outputs`, each divided by its positive tokens.

        Without any box only the focal loss of the negatives is left, undivided. Every column counts for every image,
        also those that the dataset of a detection target does not label.

        Raises:
            ValueError: outputs of another number of images, or a label beyond the columns of the logits.
        """
        if not outputs:
            raise ValueError("no dense output: the model has no auxiliary dense head switched on")
        rows, device = _box_rows(targets)
        for output in outputs:
            if len(output.logits) != len(rows):
                raise ValueError(f"dense output of {len(output.logits)} images, targets of {len(rows)}")
        boxes, labels, valid = _distinct_boxes(rows, device, num_classes=outputs[0].logits.shape[-1])
        with torch.autocast(boxes.device.type, enabled=False):
            losses = [self._losses(output, boxes, labels, valid) for output in outputs]
        return {name: torch.stack([row[name] for row in losses]) for name in losses[0]}

    @torch.no_grad()
    def assign(
        self, output: DenseOutput, boxes: Float[Tensor, "b n 4"], valid: Bool[Tensor, "b n"]
    ) -> tuple[Int[Tensor, "b s"], Bool[Tensor, "b s"]]:
        """Index of each token's box, and which tokens are positive. Boxes are cx cy w h, 0-1; n at least 1."""
        cell = output.strides.float()[:, :, None]
        center, size = boxes[:, None, :, :2], boxes[:, None, :, 2:]
        valid = valid[:, None] & ~output.padding_mask[..., None]
        reach = torch.minimum(torch.maximum(size / 2, cell / 2), self.radius * cell)
        central = ((output.centers.float()[:, :, None] - center).abs() <= reach).all(-1)
        misfit = ((size / cell).amax(-1) / self.cells_per_box).log2().abs().masked_fill(~valid, math.inf)
        # All tokens of a level have the same misfit but for rounding.
        on_level = misfit <= misfit.amin(1, keepdim=True) + 1e-3
        area = (boxes[..., 2] * boxes[..., 3])[:, None].expand_as(misfit)
        smallest, index = area.masked_fill(~(central & on_level & valid), math.inf).min(-1)
        return index, smallest.isfinite()

    def _losses(self, output: DenseOutput, boxes: Tensor, labels: Tensor, valid: Tensor) -> dict[str, Tensor]:
        index, positive = self.assign(output, boxes, valid)
        count = positive.sum().clamp(min=1)
        # far below any logit: neither value nor gradient from padding, whatever stands there
        logits = output.logits.float().masked_fill(output.padding_mask[..., None], -1e4)
        classes = labels.gather(1, index)
        focal = sigmoid_focal_sum(logits, classes, positive, alpha=self.alpha, gamma=self.gamma)
        true = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        predicted = torch.where(positive[..., None], output.boxes.float(), true)
        giou = torch.where(positive, 1 - box_giou(predicted, true), 0)
        return {
            "loss_class": focal / count,
            "loss_box": box_l1(predicted, true).sum() / count,
            "loss_giou": giou.sum() / count,
        }


def distinct_boxes(
    packed: PackedTargets, *, num_classes: int
) -> tuple[Float[Tensor, "b n 4"], Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """Boxes, labels and validity per image, every box once, filled up to a common number of at least 1.

    Pairs share boxes. A box that is both object and subject keeps its label as an object: the official HICO
    and V-COCO recipes give subjects a label that is not their class. Missing objects and boxes without area are
    left out.

    Raises:
        ValueError: a label that is not below `num_classes`.
    """
    return _distinct_boxes(*_box_rows(packed), num_classes=num_classes)


def _box_rows(
    targets: Sequence[RelationTarget] | Sequence[DetectionTarget] | PackedTargets,
) -> tuple[list[np.ndarray], torch.device]:
    """Per image the rows (cx cy w h label) of its boxes, objects before subjects, and the device they come from."""
    if not isinstance(targets, PackedTargets):
        detection = [target for target in targets if isinstance(target, DetectionTarget)]
        if detection:
            boxes = [torch.cat([target.boxes, target.labels[:, None]], 1) for target in detection]
            return [rows.cpu().numpy() for rows in boxes], boxes[0].device
        targets = PackedTargets.pack([target for target in targets if isinstance(target, RelationTarget)])
    sides = torch.stack(
        [
            torch.cat([targets.object_boxes, targets.object_labels[:, None]], 1),
            torch.cat([targets.subject_boxes, targets.subject_labels[:, None]], 1),
        ]
    )
    rows = sides.cpu().numpy()
    starts = zip(targets.offsets, targets.sizes, strict=True)
    return [rows[:, start : start + size].reshape(-1, 5) for start, size in starts], sides.device


def _distinct_boxes(
    rows: Sequence[np.ndarray], device: torch.device, *, num_classes: int
) -> tuple[Float[Tensor, "b n 4"], Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
    images = [_distinct(image) for image in rows]
    width = max(1, *(len(image) for image in images))
    boxes = np.zeros((len(images), width, 5), np.float32)
    for number, image in enumerate(images):
        if len(image) and image[:, 4].max() >= num_classes:
            raise ValueError(
                f"image {number} of the batch: label {int(image[:, 4].max())} of a box, but the dense head has "
                f"{num_classes} object texts; targets must count in the label space of the batch"
            )
        boxes[number, : len(image)] = image
    filled = torch.from_numpy(boxes).to(device, non_blocking=True)
    return filled[..., :4], filled[..., 4].long(), filled[..., 2] > 0


def _distinct(rows: np.ndarray) -> np.ndarray:
    rows = rows[(rows[:, 2] > 0) & (rows[:, 3] > 0)]
    first = np.unique(rows[:, :4], axis=0, return_index=True)[1]
    return rows[np.sort(first)]
