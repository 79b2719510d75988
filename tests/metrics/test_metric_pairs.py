import numpy as np
import pytest

from rlipv2.metrics.figures import class_figures, rows_of
from rlipv2.metrics.functional import Detections
from rlipv2.metrics.pairs import (
    MAX_LABEL,
    PairArrays,
    TripletClasses,
    best_of_array,
    merge_detections,
    ranks_in_image,
    triplet_keys,
    triplets_of,
    union_boxes,
)

TRIPLETS = np.array([[5, 0, 2], [0, 3, 1], [5, 0, 2], [0, 2, MAX_LABEL]])


def test_triplets_and_their_keys_are_the_same() -> None:
    extremes = np.array([[MAX_LABEL] * 3, [0] * 3, [0, MAX_LABEL, 0]])
    np.testing.assert_array_equal(triplets_of(triplet_keys(*extremes.T)), extremes)


def test_triplet_classes_ascend_and_are_listed_once() -> None:
    classes = TripletClasses(TRIPLETS)
    assert classes.triplets.tolist() == [[0, 2, MAX_LABEL], [0, 3, 1], [5, 0, 2]]
    assert classes.find(triplet_keys(*TRIPLETS.T)).tolist() == [2, 1, 2, 0]
    assert classes.find(triplet_keys(*np.array([[5, 0, 3], [9, 9, 9], [0, 0, 0]]).T)).tolist() == [-1, -1, -1]


def test_no_triplet_class_finds_nothing() -> None:
    classes = TripletClasses(np.zeros((0, 3), int))
    assert (len(classes), classes.find(np.array([7])).tolist()) == (0, [-1])


def test_equal_scores_are_ranked_by_pair_then_relation() -> None:
    zeros = np.zeros((2, 3), np.int64)
    pairs = PairArrays(np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 4), np.float32), zeros, zeros + np.arange(3))
    scores = np.array([[[1, 2], [2, 2], [0, 3]], [[0, 0], [0, 0], [0, 0]]], np.float32)
    found = pairs.best(scores, 4)
    assert found.images.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found.object_labels.tolist() == [2, 0, 1, 1, 0, 0, 1, 1]
    assert found.relations.tolist() == [1, 1, 0, 1, 0, 1, 0, 1]
    assert len(pairs.best(scores, 100)) == 12


def test_best_of_array_gives_columns_and_values() -> None:
    columns, values = best_of_array(np.array([[1.0, 3.0, 2.0]]), 2)
    assert (columns.tolist(), values.tolist()) == ([[1, 2]], [[3.0, 2.0]])


def test_lists_are_merged_in_order_of_images() -> None:
    def part(*images: int) -> Detections:
        rows, boxes = np.array(images), np.zeros((len(images), 4))
        return Detections(rows, boxes, boxes, rows, rows, rows, np.linspace(1, 0.5, len(images)))

    merged = merge_detections([part(1, 1, 4), part(0, 2)])
    assert merged.images.tolist() == [0, 1, 1, 2, 4]
    assert merged.scores.tolist() == [1, 1, 0.75, 0.5, 0.5]
    assert ranks_in_image(merged.images).tolist() == [0, 0, 1, 0, 0]


def test_the_union_of_boxes_holds_both() -> None:
    generator = np.random.default_rng(0)
    a, b = (np.sort(generator.random((9, 2, 2)), axis=1).reshape(9, 4) for _ in range(2))
    union = union_boxes(a, b)
    assert ((union[:, :2] <= a[:, :2]) & (union[:, :2] <= b[:, :2])).all()
    assert ((union[:, 2:] >= a[:, 2:]) & (union[:, 2:] >= b[:, 2:])).all()
    np.testing.assert_array_equal(union, union_boxes(b, a))


def test_rows_of_images_without_rows_are_none() -> None:
    assert rows_of(np.array([0, 2, 0]), np.array([0, 2])).tolist() == []
    assert rows_of(np.array([3, 2]), np.array([1, 0])).tolist() == [3, 4, 0, 1, 2]


def test_figures_per_class_by_hand() -> None:
    classes = np.array([1, 0, 1, -1, 1, 2])
    positive = np.array([True, True, False, True, True, True])
    figures = class_figures(classes, np.array([0.3, 0.9, 0.9, 1, 0.5, 0.1]), positive, np.array([1, 2, 0, 4]), None)
    # class 1: miss, hit, hit of two labelled pairs
    np.testing.assert_allclose(figures.ap, [1, 2 / 3, np.nan, 0])
    np.testing.assert_allclose(figures.max_recall, [1, 1, np.nan, 0])
    assert figures.num_detections.tolist() == [1, 3, 0, 0]
    assert figures.mean_ap() == pytest.approx(5 / 9)
