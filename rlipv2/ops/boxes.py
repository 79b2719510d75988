"""Box formats, clipping, and the generalised form of intersection over union.

Written for leading axes (layers, images) that `torchvision.ops` does not take; on plain lists of boxes
with an area the numbers are equal to torchvision's (tests/ops/test_boxes.py).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def cxcywh_to_xyxy(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Corners x1 y1 x2 y2 of boxes given as center and size, in the same unit.

    >>> cxcywh_to_xyxy(torch.tensor([0.5, 0.5, 0.5, 1.0]))
    tensor([0.2500, 0.0000, 0.7500, 1.0000])
    """
    center, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([center - 0.5 * size, center + 0.5 * size], dim=-1)


def xyxy_to_cxcywh(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Center and size of boxes given by their corners, in the same unit.

    >>> xyxy_to_cxcywh(torch.tensor([0.25, 0.0, 0.75, 1.0]))
    tensor([0.5000, 0.5000, 0.5000, 1.0000])
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def box_area(boxes_xyxy: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Width times height."""
    x1, y1, x2, y2 = boxes_xyxy.unbind(-1)
    return (x2 - x1) * (y2 - y1)


def clip_boxes(
    boxes_xyxy: Float[Tensor, "n 4"], relations: Int[Tensor, "h 3"], *, height: int, width: int
) -> tuple[Float[Tensor, "m 4"], Int[Tensor, "k 3"], Bool[Tensor, " n"]]:
    """Boxes cut to an image, the relations among those with an area left, and which boxes these are.

    Args:
        boxes_xyxy: in pixels of the image.
        relations: rows (subject box, object box, relation); they are renumbered, and go with their boxes. An
            object box of -1 (none) stays -1.
        height: of the image.
        width: of the image.
    """
    limits = torch.tensor([width, height, width, height], dtype=boxes_xyxy.dtype)
    boxes = boxes_xyxy.clamp(min=0).minimum(limits)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    if kept.all():
        return boxes, relations, kept
    # one more row than boxes: index -1 finds it
    rows = torch.cat([torch.cumsum(kept, 0) - 1, torch.tensor([-1])])
    kept_or_none = torch.cat([kept, torch.tensor([True])])
    relations = relations[kept_or_none[relations[:, :2]].all(dim=1)]
    return boxes[kept], torch.cat([rows[relations[:, :2]], relations[:, 2:]], dim=1), kept


def union_box(a_xyxy: Float[Tensor, "*#n 4"], b_xyxy: Float[Tensor, "*#n 4"]) -> Float[Tensor, "*_ 4"]:
    """The smallest box around both, row by row; leading axes broadcast."""
    low = torch.minimum(a_xyxy[..., :2], b_xyxy[..., :2])
    high = torch.maximum(a_xyxy[..., 2:], b_xyxy[..., 2:])
    return torch.cat([low, high], dim=-1)


def elementwise_giou(a_xyxy: Float[Tensor, "*#n 4"], b_xyxy: Float[Tensor, "*#n 4"]) -> Float[Tensor, "*_"]:
    """Generalised IoU of a[i] and b[i], in (-1, 1]; leading axes broadcast.

    IoU minus the share of the smallest enclosing box that neither covers (Rezatofighi et al., CVPR 2019).
    0 where both boxes are the same point, for which the official code gives NaN.
    """
    intersection, union = _overlap(a_xyxy, b_xyxy)
    hull = box_area(union_box(a_xyxy, b_xyxy))
    return _ratio(intersection, union) - _ratio(hull - union, hull)


def pairwise_giou(a_xyxy: Float[Tensor, "*#b n 4"], b_xyxy: Float[Tensor, "*#b m 4"]) -> Float[Tensor, "*_ n m"]:
    """Generalised IoU of every a with every b, see `elementwise_giou`."""
    return elementwise_giou(a_xyxy[..., :, None, :], b_xyxy[..., None, :, :])


def pairwise_iou(a_xyxy: Float[Tensor, "*#b n 4"], b_xyxy: Float[Tensor, "*#b m 4"]) -> Float[Tensor, "*_ n m"]:
    """Intersection over union of every a with every b, 0 to 1; 0 where both are without area."""
    return _ratio(*_overlap(a_xyxy[..., :, None, :], b_xyxy[..., None, :, :]))


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of intersection and union."""
    size = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    intersection = size[..., 0] * size[..., 1]  # not .prod(-1): its gradient makes the host wait for the GPU
    return intersection, box_area(a) + box_area(b) - intersection


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return part / whole.clamp(min=torch.finfo(whole.dtype).tiny)
