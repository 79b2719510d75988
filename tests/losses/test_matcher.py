import dataclasses

import pytest
import torch

from rlipv2.losses import PairMatcher
from rlipv2.losses.targets import PackedTargets
from tests.losses.scenes import by_hand, random_output, random_targets, select

# Rows: queries of `by_hand`; columns: targets. Worked out with pencil and paper.
CLASSES = torch.tensor([[-0.7, -0.9], [-1.0, -0.8], [-0.4, -0.4]])
RELATIONS = torch.tensor(
    [[-0.7 / 1.0001, -0.4 / 2.0001], [-0.5 / 1.0001, -0.5 / 2.0001], [-0.1 / 1.0001, -0.5 / 2.0001]]
)
L1 = torch.tensor([[0.0, 1.5], [0.5, 1.5], [1.5, 0.0]])
# For the missing object: GIoU of the subject plus GIoU of the predicted object with the point at the origin.
GIOU = torch.tensor([[1.0, 1 / 12 - 1 / 2], [0.0, 1 / 12], [1 / 12, 1.0]])


def costs(**options) -> torch.Tensor:
    output, targets = by_hand()
    return PairMatcher(**options).costs(output, PackedTargets.pack(targets))[0, 0]


NOTHING = {"object_cost": 0.0, "relation_cost": 0.0, "box_cost": 0.0, "giou_cost": 0.0}


@pytest.mark.parametrize(
    ("option", "expected"),
    [("object_cost", CLASSES), ("relation_cost", RELATIONS), ("box_cost", L1), ("giou_cost", -GIOU)],
)
def test_each_cost_equals_the_value_by_hand(option, expected):
    torch.testing.assert_close(costs(**NOTHING | {option: 1.0}), expected, atol=1e-6, rtol=0)


def test_weights_of_the_published_recipes():
    torch.testing.assert_close(costs(), CLASSES + RELATIONS + 2.5 * L1 - GIOU, atol=1e-5, rtol=0)


def test_without_subject_class_only_the_object_counts():
    expected = torch.tensor([[-0.5, -0.3], [-0.2, -0.7], [-0.1, -0.1]])
    torch.testing.assert_close(costs(**NOTHING | {"object_cost": 1.0, "subject_class": False}), expected)


def test_assignment_by_hand():
    queries, targets = PairMatcher()(*by_hand())[0][0]
    assert queries.tolist() == [0, 2]
    assert targets.tolist() == [0, 1]


def test_permuted_targets_permute_the_matches():
    output, targets = random_output(), random_targets(5, 3)
    order = torch.tensor([3, 0, 4, 1, 2])
    before = PairMatcher()(output, targets)
    after = PairMatcher()(output, [select(targets[0], order), targets[1]])
    for layer in range(3):
        assert after[layer][0][0].equal(before[layer][0][0])
        assert order[after[layer][0][1]].equal(before[layer][0][1])


def test_layers_and_images_are_matched_on_their_own():
    output, targets = random_output(), random_targets(5, 3)
    together = PairMatcher()(output, targets)
    for layer in range(3):
        alone = PairMatcher()(output.layer(layer), targets)[0]
        assert all(
            a.equal(b)
            for left, right in zip(alone, together[layer], strict=True)
            for a, b in zip(left, right, strict=True)
        )


@pytest.mark.parametrize("sizes", [(0, 0), (0, 4), (4, 0), (11, 2)])
def test_number_of_matches_is_the_smaller_of_queries_and_targets(sizes):
    matches = PairMatcher()(random_output(), random_targets(*sizes))
    assert [[len(queries) for queries, _ in layer] for layer in matches] == [[min(8, size) for size in sizes]] * 3


def test_nan_names_layer_and_image():
    output, targets = random_output(), random_targets(2, 2)
    output.subject_boxes[1, 1, 3, 0] = float("nan")
    with pytest.raises(ValueError, match="decoder layer 1, image 1 of the batch"):
        PairMatcher()(output, targets)


def test_missing_subject_logits_are_an_error():
    output, targets = random_output(), random_targets(2, 2)
    with pytest.raises(ValueError, match="subject_class=True"):
        PairMatcher()(dataclasses.replace(output, subject_logits=None), targets)


def test_targets_of_another_batch_or_label_space_are_an_error():
    with pytest.raises(ValueError, match="2 images, the targets 3"):
        PairMatcher()(random_output(), random_targets(1, 1, 1))
    with pytest.raises(ValueError, match="4 relation logits"):
        PairMatcher()(random_output(), random_targets(1, 1, relations=6))
    with pytest.raises(ValueError, match=r"lengths \[4, 6\]"):
        PairMatcher()(random_output(), random_targets(1) + random_targets(1, relations=6))
