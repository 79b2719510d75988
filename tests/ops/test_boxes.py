import pytest
import torch
import torchvision

from rlipv2.ops.boxes import (
    box_area,
    clip_boxes,
    cxcywh_to_xyxy,
    elementwise_giou,
    pairwise_giou,
    union_box,
    xyxy_to_cxcywh,
)


def random_boxes(*shape: int) -> torch.Tensor:
    corners = torch.rand(*shape, 2, 2).sort(dim=-2).values
    return corners.flatten(-2)


@pytest.mark.parametrize("shape", [(0,), (7,), (2, 3, 5)])
def test_formats_round_trip(shape):
    boxes = random_boxes(*shape)
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


def test_formats_agree_with_torchvision():
    boxes = random_boxes(9)
    assert xyxy_to_cxcywh(boxes).equal(torchvision.ops.box_convert(boxes, "xyxy", "cxcywh"))
    assert cxcywh_to_xyxy(boxes).equal(torchvision.ops.box_convert(boxes, "cxcywh", "xyxy"))
    assert box_area(boxes).equal(torchvision.ops.box_area(boxes))


@pytest.mark.parametrize(("n", "m"), [(6, 4), (0, 4), (6, 0)])
def test_pairwise_values_equal_torchvision(n, m):
    a, b = random_boxes(n), random_boxes(m)
    torch.testing.assert_close(
        pairwise_giou(a, b), torchvision.ops.generalized_box_iou(a, b).reshape(n, m), atol=1e-6, rtol=0
    )


def test_values_worked_out_by_hand():
    left, top = torch.tensor([0.0, 0.0, 0.5, 1.0]), torch.tensor([0.0, 0.0, 1.0, 0.5])
    # intersection 1/4, union 3/4, enclosing box 1
    assert elementwise_giou(left, top).item() == pytest.approx(1 / 3 - 1 / 4)


def test_leading_axes_broadcast():
    a, b = random_boxes(3, 2, 5), random_boxes(2, 4)
    giou = pairwise_giou(a, b)
    assert giou.shape == (3, 2, 5, 4)
    torch.testing.assert_close(giou[1, 0], pairwise_giou(a[1, 0], b[0]))


def test_elementwise_is_the_diagonal_of_pairwise():
    a, b = random_boxes(6), random_boxes(6)
    torch.testing.assert_close(elementwise_giou(a, b), pairwise_giou(a, b).diagonal())


def test_apart_boxes_have_negative_giou():
    a, b = torch.tensor([0.0, 0.0, 0.1, 0.1]), torch.tensor([0.9, 0.9, 1.0, 1.0])
    assert elementwise_giou(a, b).item() == pytest.approx(-0.98)


def test_points_give_zero_and_finite_gradients():
    point = torch.zeros(1, 4, requires_grad=True)
    giou = elementwise_giou(point, torch.zeros(1, 4))
    giou.sum().backward()
    assert giou.item() == 0
    assert point.grad.isfinite().all()


def test_union_box_encloses_both():
    assert union_box(torch.tensor([0.0, 2, 3, 4]), torch.tensor([1.0, 1, 2, 5])).tolist() == [0, 1, 3, 5]


def test_boxes_are_clipped_and_empty_ones_go_with_their_relations():
    boxes = torch.tensor([[5.0, 5, 5, 9], [-3, -2, 10, 10], [90, 40, 120, 60], [8, 8, 4, 12], [200, 10, 210, 20]])
    relations = torch.tensor([[1, 2, 7], [1, 0, 8], [2, 1, 9], [3, 2, 10], [4, 1, 11]])
    clipped, left, kept = clip_boxes(boxes, relations, height=50, width=100)
    assert clipped.tolist() == [[0, 0, 10, 10], [90, 40, 100, 50]]
    assert left.tolist() == [[0, 1, 7], [1, 0, 9]]
    assert kept.tolist() == [False, True, True, False, False]


def test_clipping_no_boxes_gives_no_boxes():
    clipped, left, kept = clip_boxes(torch.zeros(0, 4), torch.zeros(0, 3, dtype=torch.int64), height=50, width=100)
    assert (clipped.shape, left.shape, kept.shape) == ((0, 4), (0, 3), (0,))


def test_relations_without_object_stay_with_their_subject():
    boxes = torch.tensor([[5.0, 5, 5, 9], [-3, -2, 10, 10], [8, 8, 12, 12]])
    relations = torch.tensor([[0, -1, 7], [2, -1, 8], [2, 0, 9], [1, 2, 10]])
    _, left, _ = clip_boxes(boxes, relations, height=50, width=100)
    assert left.tolist() == [[1, -1, 8], [0, 1, 10]]
