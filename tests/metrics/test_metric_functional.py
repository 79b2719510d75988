import numpy as np
import pytest
import torch

from rlipv2.metrics.functional import (
    Detections,
    LabelledPairs,
    TripletTable,
    average_precision,
    best_columns,
    match_pairs,
    rank,
    ranked_detections,
    recall_levels,
)
from rlipv2.metrics.hico.metric import detections_on_device
from tests.metrics.hico_cases import SMALL_HOIS

TABLE = TripletTable(SMALL_HOIS)


def random_scores(kind: str, images: int = 5, pairs: int = 7) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    scores = generator.random((images, pairs, 3)).astype(np.float32)
    if kind == "ties":
        scores = np.round(scores * 4) / 4
    elif kind == "zero":
        scores *= generator.random((images, pairs, 1)) < 0.2
    elif kind == "negative":
        scores -= np.float32(0.5)
    return scores, generator.integers(0, 3, (images, pairs))


@pytest.mark.parametrize("kind", ["plain", "ties", "zero", "negative"])
@pytest.mark.parametrize("k", [1, 3, 6, 12, 100])
def test_ranking_equals_a_stable_sort_of_the_masked_scores(kind: str, k: int) -> None:
    scores, labels = random_scores(kind)
    entries, best = rank(scores, labels, TABLE, k)
    masked = (scores * (TABLE.class_ids.T >= 0)[labels]).reshape(5, -1)
    expected = np.argsort(-masked, axis=1, kind="stable")[:, :k]
    assert entries.tolist() == expected.tolist()
    assert best.tolist() == np.take_along_axis(masked, expected, axis=1).tolist()


@pytest.mark.parametrize("kind", ["plain", "ties", "zero", "negative"])
@pytest.mark.parametrize("k", [3, 12, 100])
def test_ranking_on_a_device_equals_ranking_in_numpy(kind: str, k: int) -> None:
    scores, labels = random_scores(kind)
    generator = np.random.default_rng(4)
    arrays = {
        "subject_labels": np.zeros_like(labels),
        "object_labels": labels,
        "subject_boxes": generator.random((5, 7, 4)).astype(np.float32),
        "object_boxes": generator.random((5, 7, 4)).astype(np.float32),
    }
    expected = ranked_detections(scores, TABLE, k, **arrays)
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    found = detections_on_device(torch.from_numpy(scores), TABLE, k, **tensors)
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(vars(found)[name], values, err_msg=name)


def test_ranking_without_limit_gives_all_entries_that_are_a_class() -> None:
    scores, labels = random_scores("zero")
    entries, best = rank(scores, labels, TABLE, None)
    valid = (TABLE.class_ids.T >= 0)[labels].reshape(5, -1)
    found = [sorted(row[score > -np.inf].tolist()) for row, score in zip(entries, best, strict=True)]
    assert found == [np.flatnonzero(row).tolist() for row in valid]


def test_best_columns_of_more_than_there_are() -> None:
    assert best_columns(np.array([[1.0, 2.0]]), 5).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("hois", "message"),
    [
        (np.zeros((0, 2), int), "shape"),
        (np.zeros((3, 3), int), "shape"),
        (np.zeros((3, 2)), "whole numbers"),
        (np.array([[0, 1], [0, 1]]), "listed twice"),
        (np.array([[0, -1]]), "must lie"),
    ],
)
def test_class_tables_that_make_no_sense_are_refused(hois: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TripletTable(hois)


def matched(
    detected: list[tuple[list[float], list[float]]], labelled: list[tuple[list[float], list[float]]], **options: float
) -> list[bool]:
    """Matches pairs of one image and class, given as (subject box, object box), best first."""

    def columns(pairs: list[tuple[list[float], list[float]]]) -> dict[str, np.ndarray]:
        zeros = np.zeros(len(pairs), np.int64)
        return {
            "images": zeros,
            "subject_boxes": np.array([pair[0] for pair in pairs], np.float32).reshape(-1, 4),
            "object_boxes": np.array([pair[1] for pair in pairs], np.float32).reshape(-1, 4),
            "subject_labels": zeros,
            "object_labels": zeros,
            "relations": zeros,
        }

    found = Detections(**columns(detected), scores=np.linspace(1, 0.1, len(detected), dtype=np.float32))
    truth = LabelledPairs(**columns(labelled))
    classes = {"detection_classes": found.images, "labelled_classes": truth.images}
    return match_pairs(found, truth, **classes, **options).tolist()


SQUARE = [1.0, 1.0, 10.0, 10.0]  # 100 pixels
HALF = [1.0, 1.0, 10.0, 5.0]  # 50 of them
LESS = [1.0, 1.0, 10.0, 4.9]


def test_an_overlap_of_exactly_one_half_is_enough() -> None:
    assert matched([(HALF, SQUARE)], [(SQUARE, SQUARE)]) == [True]
    assert matched([(SQUARE, HALF)], [(SQUARE, SQUARE)]) == [True]


def test_an_overlap_below_one_half_is_not() -> None:
    assert matched([(LESS, SQUARE)], [(SQUARE, SQUARE)]) == [False]
    assert matched([(SQUARE, LESS)], [(SQUARE, SQUARE)]) == [False]


def test_the_second_detection_of_a_pair_is_false() -> None:
    assert matched([(SQUARE, SQUARE), (SQUARE, SQUARE)], [(SQUARE, SQUARE)]) == [True, False]


def test_the_best_pair_is_taken_not_the_first() -> None:
    nearly = [1.0, 1.0, 10.0, 9.0]
    assert matched([(SQUARE, SQUARE), (nearly, nearly)], [(nearly, nearly), (SQUARE, SQUARE)]) == [True, True]


def test_there_is_no_falling_back_to_the_second_best_pair() -> None:
    nearly = [1.0, 1.0, 10.0, 9.0]
    assert matched([(SQUARE, SQUARE), (SQUARE, SQUARE)], [(nearly, nearly), (SQUARE, SQUARE)]) == [True, False]


def test_the_smaller_overlap_decides_which_pair_is_best() -> None:
    nearly, some = [1.0, 1.0, 10.0, 9.0], [1.0, 1.0, 10.0, 7.0]
    # (1, 0.7) against (0.9, 0.9): the second wins and is then taken; the first stays free for its own copy
    assert matched([(SQUARE, SQUARE), (SQUARE, some)], [(SQUARE, some), (nearly, nearly)]) == [True, True]


def test_a_labelled_pair_listed_twice_can_be_found_only_once() -> None:
    assert matched([(SQUARE, SQUARE), (SQUARE, SQUARE)], [(SQUARE, SQUARE), (SQUARE, SQUARE)]) == [True, False]


def test_without_labels_or_detections_nothing_matches() -> None:
    assert matched([(SQUARE, SQUARE)], []) == [False]
    assert matched([], [(SQUARE, SQUARE)]) == []


def hits(*ranks: int, length: int = 10) -> np.ndarray:
    return np.isin(np.arange(length), ranks)


def test_average_precision_without_detections_is_zero() -> None:
    assert average_precision(np.zeros(0, bool), 3, recall_levels("float")) == 0


def test_average_precision_of_a_perfect_ranking_is_one() -> None:
    assert average_precision(hits(0, 1, 2, 3), 4, recall_levels("float")) == pytest.approx(1)


@pytest.mark.parametrize(("found", "labelled"), [(3, 10), (6, 10), (3, 5), (7, 10)])
def test_recalls_of_exactly_three_six_and_seven_tenths_miss_the_official_level(found: int, labelled: int) -> None:
    ranks = np.ones(found, bool)
    levels = round(10 * found / labelled)
    assert average_precision(ranks, labelled, recall_levels("decimal")) == pytest.approx((levels + 1) / 11)
    assert average_precision(ranks, labelled, recall_levels("float")) == pytest.approx(levels / 11)


def test_the_area_under_the_envelope() -> None:
    # precisions 1 and 2/4 at recalls 1/2 and 1
    assert average_precision(hits(0, 3), 2, recall_levels("area")) == pytest.approx((1 + 0.5) / 2)


def test_a_later_higher_precision_counts_for_earlier_recalls() -> None:
    # precisions 1/2, 2/3 at recalls 1/2, 1: the envelope is 2/3 everywhere
    assert average_precision(hits(1, 2), 2, recall_levels("decimal")) == pytest.approx(2 / 3)


def test_unknown_recall_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="recall_levels='voc'"):
        recall_levels("voc")
