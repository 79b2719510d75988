import dataclasses

import pytest
import torch

from rlipv2.losses import DenseLoss, PairMatcher, RelationCriterion
from rlipv2.losses.dense import distinct_boxes
from rlipv2.losses.targets import PackedTargets
from rlipv2.structures import DenseOutput, DetectionTarget, RelationTarget
from tests.losses.scenes import random_output, random_targets


def grid(*cells: int, images: int = 1, objects: int = 5) -> DenseOutput:
    """One level per entry of `cells`, with so many cells along each side of the image."""
    centers, strides, levels = [], [], []
    for level, count in enumerate(cells):
        line = (torch.arange(count) + 0.5) / count
        centers.append(torch.cartesian_prod(line, line).flip(-1))
        strides.append(torch.full((count**2, 2), 1 / count))
        levels.append(torch.full((count**2,), level))
    tokens = sum(count**2 for count in cells)
    return DenseOutput(
        logits=torch.randn(images, tokens, objects),
        boxes=torch.rand(images, tokens, 4) * 0.5 + 0.2,
        centers=torch.cat(centers).expand(images, -1, -1),
        strides=torch.cat(strides).expand(images, -1, -1),
        padding_mask=torch.zeros(images, tokens, dtype=torch.bool),
        levels=torch.cat(levels),
    )


def target(*pairs: tuple[list[float], list[float]], labels: tuple[int, int] = (0, 1)) -> RelationTarget:
    return RelationTarget(
        subject_boxes=torch.tensor([subject for subject, _ in pairs]).reshape(-1, 4),
        object_boxes=torch.tensor([object_ for _, object_ in pairs]).reshape(-1, 4),
        subject_labels=torch.full((len(pairs),), labels[0]),
        object_labels=torch.full((len(pairs),), labels[1]),
        relations=torch.zeros(len(pairs), 3),
    )


def assign(output: DenseOutput, *boxes: list[float], **options) -> tuple[torch.Tensor, torch.Tensor]:
    index, positive = DenseLoss(**options).assign(
        output, torch.tensor([boxes]), torch.ones(1, len(boxes), dtype=torch.bool)
    )
    return index[0], positive[0]


def test_positive_tokens_lie_in_the_central_part():
    _, positive = assign(grid(8), [0.5, 0.5, 1.0, 1.0], radius=1.5)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[3:5, 3:5] = True  # centres at 1/16 and 3/16 from the middle: 0.5 and 1.5 cells
    expected[2:6, 2:6] = True
    assert positive.reshape(8, 8).equal(expected)


def test_central_part_is_cut_to_the_box():
    _, positive = assign(grid(8), [0.5, 0.5, 0.25, 1.0], radius=1.5)
    assert positive.reshape(8, 8).any(0).tolist() == [False] * 3 + [True] * 2 + [False] * 3


@pytest.mark.parametrize("center", [(0.43, 0.31), (0.01, 0.99)])
def test_a_box_smaller_than_a_cell_has_the_token_around_its_centre(center):
    _, positive = assign(grid(8), [*center, 0.02, 0.02])
    row, column = int(center[1] * 8), int(center[0] * 8)
    assert positive.nonzero().flatten().tolist() == [row * 8 + column]


def test_the_smallest_box_gets_the_token():
    index, positive = assign(grid(8), [0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 0.25, 0.25])
    assert index.reshape(8, 8)[3, 3] == 1
    assert index.reshape(8, 8)[2, 2] == 0
    assert positive.reshape(8, 8)[2, 2]


@pytest.mark.parametrize(("side", "level"), [(0.05, 0), (0.3, 0), (0.4, 1), (0.7, 1), (0.8, 2), (1.0, 2)])
def test_boxes_go_to_the_level_of_their_size(side, level):
    output = grid(32, 16, 8)  # 8 sqrt(2) cells are 0.354, 0.707 and 1.41 of the image
    _, positive = assign(output, [0.5, 0.5, side, side / 2], cells_per_box=8.0)
    assert set(output.levels[positive].tolist()) == {level}


def test_shared_boxes_count_once_and_keep_their_label_as_an_object():
    a, b, c, none = [0.3, 0.3, 0.2, 0.2], [0.6, 0.6, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4], [0.0] * 4
    packed = PackedTargets.pack([target((a, b), (a, c), (b, none)), target()])
    boxes, labels, valid = distinct_boxes(packed, num_classes=5)
    assert valid.sum(1).tolist() == [3, 0]
    found = {
        tuple(box): label for box, label in zip(boxes[0][valid[0]].tolist(), labels[0][valid[0]].tolist(), strict=True)
    }
    assert found == {tuple(torch.tensor(box).tolist()): label for box, label in ((a, 0), (b, 1), (c, 1))}


def test_true_boxes_and_certain_classes_have_almost_no_loss():
    output, truth = grid(8), [0.5, 0.5, 0.5, 0.5]
    _, positive = assign(output, truth)
    logits = torch.full_like(output.logits, -20)
    logits[0, positive, 1] = 20
    boxes = torch.where(positive[None, :, None], torch.tensor(truth), output.boxes)
    losses = DenseLoss()(
        [dataclasses.replace(output, logits=logits, boxes=boxes)], [target((truth, truth), labels=(1, 1))]
    )
    assert all(value.abs().item() < 1e-6 for value in losses.values())


def test_box_losses_by_hand():
    output = dataclasses.replace(grid(8), boxes=torch.tensor([0.5, 0.5, 1.0, 1.0]).expand(1, 64, 4))
    losses = DenseLoss()([output], [target(([0.25, 0.5, 0.5, 1.0], [0.0] * 4))])
    assert losses["loss_box"].item() == pytest.approx(0.75)
    assert losses["loss_giou"].item() == pytest.approx(0.5)


def test_padding_gives_no_loss_and_no_gradient():
    output, targets = grid(8, images=2), random_targets(2, 3)
    mask = torch.zeros(2, 64, dtype=torch.bool)
    mask[:, 50:] = True
    poisoned = dataclasses.replace(
        output,
        padding_mask=mask,
        logits=torch.where(mask[..., None], torch.nan, output.logits).requires_grad_(),
        boxes=torch.where(mask[..., None], torch.nan, output.boxes).requires_grad_(),
    )
    losses = DenseLoss()([poisoned], targets)
    torch.testing.assert_close(losses, DenseLoss()([dataclasses.replace(output, padding_mask=mask)], targets))
    sum(value.sum() for value in losses.values()).backward()
    assert all(leaf.grad.isfinite().all() and leaf.grad[mask].eq(0).all() for leaf in (poisoned.logits, poisoned.boxes))


def test_images_without_boxes_only_have_negatives():
    output = grid(8, 4)
    losses = DenseLoss()([output, output], [target()])
    assert losses["loss_class"].shape == (2,)
    assert losses["loss_class"].gt(0).all()
    assert losses["loss_box"].eq(0).all()
    assert losses["loss_giou"].eq(0).all()


def test_gradient_descent_finds_boxes_and_classes():
    output, targets = grid(8, 4), [target(([0.3, 0.4, 0.3, 0.5], [0.7, 0.6, 0.2, 0.1]), labels=(2, 4))]
    logits, boxes = output.logits.clone().requires_grad_(), output.boxes.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits, boxes], lr=0.05)
    for _ in range(300):
        losses = DenseLoss()([dataclasses.replace(output, logits=logits, boxes=boxes)], targets)
        optimizer.zero_grad()
        sum(value.sum() for value in losses.values()).backward()
        optimizer.step()
    best = logits[0].sigmoid().amax(0).tolist()
    assert [score > 0.5 for score in best] == [False, False, True, False, True]
    torch.testing.assert_close(
        boxes[0, logits[0, :, 4].argmax()], torch.tensor([0.7, 0.6, 0.2, 0.1]), atol=0.05, rtol=0
    )


def test_errors_name_the_problem():
    with pytest.raises(ValueError, match="label 7 of a box"):
        DenseLoss()([grid(4)], [target(([0.5] * 4, [0.5] * 4), labels=(0, 7))])
    with pytest.raises(ValueError, match="2 images, targets of 1"):
        DenseLoss()([grid(4, images=2)], [target()])
    with pytest.raises(ValueError, match="no dense output"):
        DenseLoss()([], [target()])


def test_criterion_adds_prefixed_losses_only_when_asked():
    output = dataclasses.replace(random_output(), dense=(grid(8, images=2), grid(4, images=2)))
    targets = random_targets(3, 2)
    plain = RelationCriterion(PairMatcher())(output, targets)
    both = RelationCriterion(PairMatcher(), dense=DenseLoss())(output, targets)
    assert both.keys() - plain.keys() == {
        f"dense_loss_{name}{end}" for name in ("class", "box", "giou") for end in ("", "_layer0")
    }


def test_detection_targets_give_the_losses_of_pairs_with_the_same_boxes():
    output = grid(4, 8)
    boxes = [[0.3, 0.3, 0.2, 0.2], [0.7, 0.6, 0.4, 0.3]]
    pairs = target((boxes[0], boxes[1]))
    alone = DetectionTarget(torch.tensor(boxes), torch.tensor([0, 1]), torch.ones(5, dtype=torch.bool))
    expected, losses = DenseLoss()([output], [pairs]), DenseLoss()([output], [alone])
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
