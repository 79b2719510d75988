"""The maths of the losses: one value per decoder layer, all layers at once, no reduction over layers.

Letters beyond those of `rlipv2.structures`: n rows of a layer (queries of all images), k matched pairs of a layer.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from rlipv2.ops.boxes import cxcywh_to_xyxy, elementwise_giou


def focal_loss(logits: Float[Tensor, "l n r"], targets: Float[Tensor, "l n r"]) -> Float[Tensor, " l"]:
    """Focal loss of CornerNet (gamma 2, beta 4, no alpha), summed and divided by the number of ones in `targets`.

    Not divided where a layer has no positive. Official: models/hoi.py, `_neg_loss`.
    """
    probability = clamped_sigmoid(logits)
    positive = targets.eq(1)
    hit = (1 - probability).square() * probability.log()
    miss = (1 - targets).pow(4) * probability.square() * (1 - probability).log()
    return -torch.where(positive, hit, miss).sum((1, 2)) / positive.sum((1, 2)).clamp(min=1)


def quality_focal_loss(logits: Float[Tensor, "l n r"], targets: Float[Tensor, "l n r"]) -> Float[Tensor, " l"]:
    """Focal loss towards soft targets (beta 2), summed and divided by the number of targets above 0.

    Not divided where a layer has no positive. Carries a gradient to `targets`. Equal to `focal_loss` for
    targets of 0 and 1. Li et al., NeurIPS 2020. Official: models/hoi.py, `_neg_loss` for soft labels.
    """
    probability = clamped_sigmoid(logits)
    entropy = (1 - targets) * (1 - probability).log() + targets * probability.log()
    total = ((targets - probability).square() * entropy).sum((1, 2))
    return -total / (targets > 0).sum((1, 2)).clamp(min=1)


def clamped_sigmoid(logits: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Probabilities in [1e-6, 1 - 1e-6]; no gradient where the bound is reached."""
    return logits.sigmoid().clamp(min=1e-6, max=1 - 1e-6)


def background_cross_entropy(
    logits: Float[Tensor, "l n o"], classes: Int[Tensor, "l n"], background_weight: float
) -> Float[Tensor, " l"]:
    """Mean cross-entropy in which rows of the last class (background) weigh `background_weight`, others 1.

    0, still with a graph, where a layer has no rows.
    """
    losses = F.cross_entropy(logits.flatten(0, 1), classes.flatten(), reduction="none").view_as(classes)
    weights = torch.where(classes == logits.shape[-1] - 1, background_weight, 1.0).to(losses)
    return (weights * losses).sum(1) / weights.sum(1).clamp(min=1e-12)


def box_l1(boxes: Float[Tensor, "l k 4"], targets: Float[Tensor, "l k 4"]) -> Float[Tensor, "l k"]:
    """Sum of the absolute differences of the four numbers cx cy w h (on corners the values would differ)."""
    return (boxes - targets).abs().sum(-1)


def box_giou(boxes: Float[Tensor, "l k 4"], targets: Float[Tensor, "l k 4"]) -> Float[Tensor, "l k"]:
    """Generalised IoU of boxes given as cx cy w h."""
    return elementwise_giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets))


def pair_giou(
    subject: Float[Tensor, "*#n"], object_: Float[Tensor, "*#n"], missing_object: Bool[Tensor, "*#n"]
) -> Float[Tensor, "*_"]:
    """The worse GIoU of the two boxes; the sum of both for a target without an object box.

    The GIoU with an all-zero object box is at most 0 and grows in size with the distance of the predicted
    object from the corner of the image, so the sum may fall below -1. Official: models/matcher.py.
    """
    return torch.minimum(subject, object_ + missing_object * subject)


def class_error(logits: Float[Tensor, "k o"], classes: Int[Tensor, " k"]) -> Float[Tensor, ""]:
    """Per cent of rows whose largest logit is not at their class; 100 without rows, as in the official logs."""
    if not len(classes):
        return logits.new_full((), 100.0)
    return 100 - 100 * (logits.argmax(-1) == classes).float().mean()


def cardinality_error(object_logits: Float[Tensor, "l b q o"], num_targets: Int[Tensor, " b"]) -> Float[Tensor, " l"]:
    """Mean over images of |pairs not predicted as background - pairs labelled|."""
    predicted = (object_logits.argmax(-1) != object_logits.shape[-1] - 1).sum(-1)
    return (predicted - num_targets).abs().float().mean(-1)


def sigmoid_focal_sum(
    logits: Float[Tensor, "b s o"],
    classes: Int[Tensor, "b s"],
    positive: Bool[Tensor, "b s"],
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Tensor, ""]:
    """Sum of the focal loss of RetinaNet, where row (b, s) has the class `classes[b, s]` if it is positive, else none.

    Same value as `torchvision.ops.sigmoid_focal_loss` with one-hot targets, without building these: all entries
    count as negatives, then the few positive ones are exchanged.
    """

    def negative(values: Tensor) -> Tensor:
        return (1 - alpha) * values.sigmoid().pow(gamma) * F.softplus(values)

    own = logits.gather(-1, classes[..., None]).squeeze(-1)
    exchange = alpha * (-own).sigmoid().pow(gamma) * F.softplus(-own) - negative(own)
    return negative(logits).sum() + (exchange * positive).sum()
