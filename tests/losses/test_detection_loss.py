import pytest
import torch
from torch.nn.functional import one_hot
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from rlipv2.losses import DETECTION_WEIGHTS, BoxMatcher, DetectionCriterion, weighted_sum
from rlipv2.ops.boxes import cxcywh_to_xyxy
from rlipv2.structures import DetectionOutput, DetectionTarget


def boxes(*shape):
    return torch.cat([torch.rand(*shape, 2) * 0.4 + 0.3, torch.rand(*shape, 2) * 0.2 + 0.1], -1)


def target(count, classes=4, annotated=None):
    annotated = torch.ones(classes, dtype=torch.bool) if annotated is None else torch.tensor(annotated)
    return DetectionTarget(boxes(count), torch.randint(classes, (count,)), annotated)


def output(layers=2, batch=2, queries=6, classes=4):
    return DetectionOutput(torch.randn(layers, batch, queries, classes), boxes(layers, batch, queries))


def test_a_perfect_prediction_is_matched_and_costs_nothing():
    truth = [target(3), target(2)]
    predicted = output(layers=1)
    order = torch.tensor([4, 0, 2])
    predicted.logits.fill_(-20.0)
    for image, one in enumerate(truth):
        rows = order[: len(one)]
        predicted.boxes[0, image, rows] = one.boxes
        predicted.logits[0, image, rows, one.labels] = 20.0
    ((first, second),) = BoxMatcher()(predicted, truth)
    assert dict(zip(first[1].tolist(), first[0].tolist(), strict=True)) == {0: 4, 1: 0, 2: 2}
    assert dict(zip(second[1].tolist(), second[0].tolist(), strict=True)) == {0: 4, 1: 0}
    losses = DetectionCriterion()(predicted, truth)
    assert float(weighted_sum(losses, DETECTION_WEIGHTS)) == pytest.approx(0, abs=1e-5)


def test_losses_are_sums_over_all_boxes_divided_by_their_number():
    truth, predicted = [target(3), target(1)], output()
    losses = DetectionCriterion()(predicted, truth)
    for layer, suffix in ((0, "_layer0"), (1, "")):
        matches = BoxMatcher()(predicted, truth)[layer]
        focal = l1 = giou = torch.tensor(0.0)
        for image, (queries, rows) in enumerate(matches):
            wanted = torch.zeros(6, 4)
            wanted[queries] = one_hot(truth[image].labels[rows], 4).float()
            focal = focal + sigmoid_focal_loss(predicted.logits[layer, image], wanted, reduction="sum")
            found, true = predicted.boxes[layer, image, queries], truth[image].boxes[rows]
            l1 = l1 + (found - true).abs().sum()
            giou = giou + generalized_box_iou_loss(cxcywh_to_xyxy(found), cxcywh_to_xyxy(true), reduction="sum")
        torch.testing.assert_close(losses[f"loss_class{suffix}"], focal / 4)
        torch.testing.assert_close(losses[f"loss_box{suffix}"], l1 / 4)
        torch.testing.assert_close(losses[f"loss_giou{suffix}"], giou / 4)
    assert len(losses) == 6


def test_costs_weigh_class_distance_and_overlap_as_in_deformable_detr():
    truth, predicted = [target(1)], output(layers=1, batch=1, queries=3)
    cost = BoxMatcher()._costs(predicted, 0, truth[0])[0, :, 0]
    p = predicted.logits[0, 0, :, truth[0].labels[0]].sigmoid()
    by_class = 0.25 * (1 - p) ** 2 * -p.log() - 0.75 * p**2 * -(1 - p).log()
    l1 = (predicted.boxes[0, 0] - truth[0].boxes).abs().sum(-1)
    overlap = 1 - generalized_box_iou_loss(
        cxcywh_to_xyxy(predicted.boxes[0, 0]), cxcywh_to_xyxy(truth[0].boxes).expand(3, 4)
    )
    torch.testing.assert_close(cost, 2 * by_class + 5 * l1 - 2 * overlap)


def test_images_without_boxes_give_only_a_class_loss():
    losses = DetectionCriterion()(output(), [target(0), target(0)])
    assert float(losses["loss_box"]) == float(losses["loss_giou"]) == 0
    assert float(losses["loss_class"]) > 0


def test_more_boxes_than_queries_leave_some_unmatched():
    ((queries, rows),) = BoxMatcher()(output(layers=1, batch=1, queries=3), [target(5)])[0]
    assert len(queries) == len(rows) == 3


def test_classes_that_the_dataset_of_an_image_does_not_label_get_no_loss():
    truth = [target(2, annotated=[True, True, True, False])]
    truth = [DetectionTarget(truth[0].boxes, truth[0].labels.clamp(max=2), truth[0].annotated)]
    predicted = output(batch=1)
    ignoring, negative = DetectionCriterion(), DetectionCriterion(unlabelled="negative")
    before = [criterion(predicted, truth)["loss_class"] for criterion in (ignoring, negative)]
    predicted.logits[..., 3] += 5.0
    after = [criterion(predicted, truth)["loss_class"] for criterion in (ignoring, negative)]
    torch.testing.assert_close(after[0], before[0])
    assert after[1] > before[1] + 0.5


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="predictions of 2 images, targets of 1"):
        DetectionCriterion()(output(), [target(1)])
    with pytest.raises(ValueError, match="image 1 of the batch: its target counts in 9 classes, the predictions in 4"):
        DetectionCriterion()(output(), [target(1), target(1, classes=9)])
    with pytest.raises(ValueError, match="unlabelled='drop'"):
        DetectionCriterion(unlabelled="drop")
    broken = output()
    broken.boxes[0, 1] = float("nan")
    with pytest.raises(ValueError, match="decoder layer 0, image 1 of the batch: 6 of 6 matching costs"):
        DetectionCriterion()(broken, [target(1), target(1)])
