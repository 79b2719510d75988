import math

import pytest
import torch
import torchvision
from torch.nn import functional as F

from rlipv2.losses.functional import (
    background_cross_entropy,
    cardinality_error,
    class_error,
    focal_loss,
    pair_giou,
    quality_focal_loss,
    sigmoid_focal_sum,
)


def test_focal_loss_by_hand():
    logits, targets = torch.tensor([[[0.8, 0.4]]]).logit(), torch.tensor([[[1.0, 0.0]]])
    assert focal_loss(logits, targets).item() == pytest.approx(-(0.04 * math.log(0.8) + 0.16 * math.log(0.6)))


def test_focal_loss_is_divided_by_the_positives_of_its_layer_or_not_at_all():
    logits = torch.zeros(3, 1, 4)
    targets = torch.tensor([[[0.0, 0, 0, 0]], [[1.0, 0, 0, 0]], [[1.0, 1, 0, 0]]])
    total = -4 * 0.25 * math.log(0.5)
    torch.testing.assert_close(focal_loss(logits, targets), torch.tensor([total, total, total / 2]))


def test_hard_and_quality_focal_loss_agree_on_binary_targets():
    logits, targets = torch.randn(3, 10, 4), (torch.rand(3, 10, 4) < 0.2).float()
    torch.testing.assert_close(focal_loss(logits, targets), quality_focal_loss(logits, targets))


def test_quality_focal_loss_by_hand():
    logits, targets = torch.tensor([[[0.8, 0.4]]]).logit(), torch.tensor([[[0.5, 0.25]]])
    first = 0.09 * (0.5 * math.log(0.2) + 0.5 * math.log(0.8))
    second = 0.15**2 * (0.75 * math.log(0.6) + 0.25 * math.log(0.4))
    assert quality_focal_loss(logits, targets).item() == pytest.approx(-(first + second) / 2)


def test_extreme_logits_stay_finite_and_have_no_gradient():
    logits = torch.tensor([[[200.0, -200.0]]], requires_grad=True)
    loss = quality_focal_loss(logits, torch.tensor([[[0.0, 1.0]]])).sum()
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.eq(0).all()


def test_background_cross_entropy_equals_torch_with_class_weights():
    logits, classes = torch.randn(3, 10, 6), torch.randint(6, (3, 10))
    weights = torch.tensor([1.0] * 5 + [0.1])
    expected = torch.stack([F.cross_entropy(a, b, weight=weights) for a, b in zip(logits, classes, strict=True)])
    torch.testing.assert_close(background_cross_entropy(logits, classes, 0.1), expected)


def test_pair_giou_is_the_worse_one_or_the_sum_without_object():
    subject, object_ = torch.tensor([0.5, 0.2, 0.4]), torch.tensor([0.1, 0.6, -0.3])
    missing = torch.tensor([False, False, True])
    torch.testing.assert_close(pair_giou(subject, object_, missing), torch.tensor([0.1, 0.2, 0.1]))


def test_class_error_counts_wrong_rows_in_per_cent():
    logits = torch.eye(4)
    assert class_error(logits, torch.tensor([0, 1, 2, 0])).item() == 25
    assert class_error(logits[:0], torch.zeros(0, dtype=torch.int64)).item() == 100


def test_cardinality_error_averages_images():
    logits = torch.zeros(1, 2, 3, 2)
    logits[0, 0, :2, 0] = 1  # image 0: two pairs predicted, the third and image 1 (below) background
    logits[0, 0, 2, 1] = 1
    logits[0, 1, :, 1] = 1
    assert cardinality_error(logits, torch.tensor([1, 3])).tolist() == [(1 + 3) / 2]


def test_sigmoid_focal_sum_equals_torchvision():
    logits = (torch.randn(2, 7, 5) * 4).requires_grad_()
    classes, positive = torch.randint(5, (2, 7)), torch.rand(2, 7) < 0.4
    ours = sigmoid_focal_sum(logits, classes, positive)
    one_hot = F.one_hot(classes, 5) * positive[..., None]
    reference = torchvision.ops.sigmoid_focal_loss(logits, one_hot.float(), reduction="sum")
    torch.testing.assert_close(ours, reference)
    torch.testing.assert_close(*(torch.autograd.grad(value, logits)[0] for value in (ours, reference)))
