"""The distinct boxes of ranked triplets."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rlipv2.ops.boxes import pairwise_iou


@dataclass(frozen=True)
class Entities:
    """Distinct things of one image, in the order in which the triplets name them, and who takes part in which triplet.

    Attributes:
        boxes: x1 y1 x2 y2 in original pixels, of the best triplet that a thing takes part in.
        labels: row of the label space's objects.
        scores: of that triplet.
        names: of the labels.
        subject_index: row of `boxes` per triplet.
        object_index: the same; -1 for a relation without object (V-COCO).
    """

    boxes: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    scores: Float[Tensor, " n"]
    names: tuple[str, ...]
    subject_index: Int[Tensor, " k"]
    object_index: Int[Tensor, " k"]

    def __len__(self) -> int:
        return len(self.labels)


def merge_boxes(
    boxes: Float[Tensor, "m 4"], labels: Int[Tensor, " m"], apart: Bool[Tensor, " m"], *, threshold: float
) -> tuple[Int[Tensor, " n"], Int[Tensor, " m"]]:
    """Rows that stand for themselves, and for every row the number of the one (0 to n - 1) that stands for it.

    A row joins the representative of the same label that it overlaps most with, if that is at least `threshold`;
    with none it becomes one.

    Args:
        boxes: x1 y1 x2 y2, best first.
        labels: one number per row.
        apart: True where a row must not join what the row before it belongs to.
        threshold: intersection over union.
    """
    overlaps = pairwise_iou(boxes, boxes) * (labels[:, None] == labels)
    chosen: list[int] = []
    owner: list[int] = []
    for row in range(len(boxes)):
        near = overlaps[row, chosen].clone()
        if apart[row]:
            near[owner[-1]] = -1.0
        best = int(near.argmax()) if len(near) else -1
        if best < 0 or near[best] < threshold or near[best] <= 0:
            best = len(chosen)
            chosen.append(row)
        owner.append(best)
    return torch.tensor(chosen, dtype=torch.long), torch.tensor(owner, dtype=torch.long)
