import numpy as np
import pytest

from rlipv2.ops.nms import pairs_within_groups, pairwise_nms, pixel_iou, suppress


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_pixel_iou_counts_the_last_pixel() -> None:
    # 10 x 10 pixels each, 5 x 10 in common
    assert pixel_iou(boxes([0, 0, 9, 9]), boxes([5, 0, 14, 9])).tolist() == [np.float32(50 / 150)]


def test_continuous_iou_does_not() -> None:
    assert pixel_iou(boxes([0, 0, 10, 10]), boxes([5, 0, 15, 10]), extent=0.0).tolist() == [np.float32(50 / 150)]


def test_one_common_column_counts_only_where_touching_is_allowed() -> None:
    a, b = boxes([0, 0, 4, 9]), boxes([4, 0, 8, 9])
    assert pixel_iou(a, b).tolist() == [np.float32(10 / 90)]
    assert pixel_iou(a, b, touching=False).tolist() == [0]


@pytest.mark.parametrize("touching", [True, False])
def test_boxes_apart_and_boxes_without_area_have_no_overlap(touching: bool) -> None:
    a, b = boxes([0, 0, 4, 4], [3, 3, 3, 3]), boxes([9, 9, 12, 12], [3, 3, 3, 3])
    assert pixel_iou(a, b, extent=0.0, touching=touching).tolist() == [0, 0]


def test_pairs_within_groups_are_all_ordered_pairs() -> None:
    groups = np.random.default_rng(0).integers(0, 6, 40)
    earlier, later = pairs_within_groups(groups)
    expected = {(i, j) for i in range(40) for j in range(i + 1, 40) if groups[i] == groups[j]}
    assert set(zip(earlier.tolist(), later.tolist(), strict=True)) == expected
    assert len(earlier) == len(expected)


def test_a_removed_row_removes_nothing() -> None:
    assert suppress(np.array([0, 1, 2]), np.array([1, 2, 3]), 4).tolist() == [True, False, True, False]


def test_suppression_equals_the_greedy_loop() -> None:
    generator = np.random.default_rng(1)
    table = np.triu(generator.random((60, 60)) < 0.08, k=1)
    keep = np.ones(60, bool)
    for row in range(60):
        if keep[row]:
            keep &= ~table[row]
    assert suppress(*np.nonzero(table), 60).tolist() == keep.tolist()


def test_overlap_is_the_weighted_product_of_both_boxes() -> None:
    # subjects equal, objects overlap by 1/2: 0.5 ** 0.5 = 0.707 > 0.7, but 0.5 ** 0.55 = 0.683
    subjects, objects = boxes([0, 0, 9, 9], [0, 0, 9, 9]), boxes([0, 0, 9, 9], [0, 0, 9, 4])
    groups = np.zeros(2, np.int64)
    assert pairwise_nms(groups, subjects, objects).tolist() == [True, False]
    assert pairwise_nms(groups, subjects, objects, beta=0.55).tolist() == [True, True]
    assert pairwise_nms(groups, subjects, objects, threshold=0.72).tolist() == [True, True]


def test_groups_do_not_touch_each_other() -> None:
    same = boxes([0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9])
    assert pairwise_nms(np.array([4, 2, 4]), same, same).tolist() == [True, True, False]


def test_no_detections_give_no_rows() -> None:
    assert pairwise_nms(np.zeros(0, np.int64), boxes(), boxes()).shape == (0,)


def test_negative_exponents_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        pairwise_nms(np.zeros(0, np.int64), boxes(), boxes(), alpha=-1.0)
