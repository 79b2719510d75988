import copy
import pickle

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

from rlipv2.metrics import OpenImagesSGG
from rlipv2.metrics.matching import _best_by_sorting, best_of_tensor
from rlipv2.structures import Annotation, PairPredictions
from tests.metrics.hico_cases import annotation
from tests.metrics.oi_cases import NUM_OBJECTS, NUM_RELATIONS, OpenImagesCase, Pair, scene

VARIANTS = {
    "official_nms": {},
    "official_no_nms": {"nms": False},
    "corrected_phrase_index_nms": {"phrase_index_bug": False},
}


def run(case: OpenImagesCase, order: np.ndarray, batch_size: int = 64, **options: object) -> OpenImagesSGG:
    metric = OpenImagesSGG(triplets=case.triplets, num_objects=NUM_OBJECTS, num_relations=NUM_RELATIONS, **options)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        predictions, annotations = [case.predictions[row] for row in rows], [case.annotations[row] for row in rows]
        metric.update(predictions, annotations, torch.from_numpy(rows))
    return metric


def figures(metric: OpenImagesSGG) -> dict[str, float]:
    return {key: value.item() for key, value in metric.compute().items()}


def official_name(key: str) -> str:
    """Key of the metric for a figure of the official evaluator."""
    if key.startswith("score_wtd"):
        return "rlipv2/score_wtd" if "wmAP" in key else "rlipv2/score_wtd_map"
    name, _, rest = key.partition("@")
    k, kind = rest.split(" ")
    return f"rlipv2/{name.lower().replace(' ', '_')}_{kind[1:4].lower()}_{k}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_figures_and_counts_equal_the_recorded_ones(oi_dev: OpenImagesCase, variant: str) -> None:
    metric = run(oi_dev, np.arange(1000), **VARIANTS[variant])
    found, expected = figures(metric), dict(oi_dev.expected[variant])
    counts = metric.counts()
    assert {key: counts[key] for key in expected["counts"]} == expected.pop("counts")
    for key, value in expected.items():
        assert found[official_name(key)] == pytest.approx(value, abs=1e-9), key
    names = {"R50": "recall_50", "R100": "recall_100"}
    for key, value in oi_dev.expected["open_images_protocol"].items():
        assert found[f"pysgg/{names.get(key, key.lower())}"] == pytest.approx(value, abs=1e-9), key


def test_every_key_has_the_name_of_its_protocol(oi_dev: OpenImagesCase) -> None:
    keys = figures(run(oi_dev, np.arange(3)))
    assert {key.split("/")[0] for key in keys} == {"rlipv2", "pysgg"}
    assert len(keys) == 18 + 7


@pytest.mark.parametrize("batch_size", [1, 9, 100])
def test_batches_order_and_repetitions_do_not_matter(oi_dev: OpenImagesCase, batch_size: int) -> None:
    expected = run(oi_dev, np.arange(100), 32)
    order = np.random.default_rng(batch_size).permutation(100)
    shuffled = run(oi_dev, np.append(order, order[:7]), batch_size)
    assert figures(shuffled) == figures(expected)
    for key, values in expected.per_class().items():
        np.testing.assert_array_equal(shuffled.per_class()[key], values)


@pytest.mark.parametrize(
    "options",
    [
        {"nms_threshold": 0.5},
        {"nms_alpha": 0.5},
        {"nms_beta": 1.0},
        {"phrase_nms_threshold": 0.9},
        {"phrase_index_bug": False},
        {"nms": False},
    ],
    ids=str,
)
def test_every_option_changes_the_official_figures_only(oi_dev: OpenImagesCase, options: dict) -> None:
    plain, changed = figures(run(oi_dev, np.arange(200))), figures(run(oi_dev, np.arange(200), **options))
    assert plain["rlipv2/score_wtd"] != changed["rlipv2/score_wtd"]
    for key in plain:
        assert key.startswith("rlipv2/") or plain[key] == changed[key]


def test_without_indices_images_are_told_apart_by_their_id(oi_dev: OpenImagesCase) -> None:
    metric = run(oi_dev, np.arange(0))
    for _ in range(2):
        metric.update(oi_dev.predictions[:100], oi_dev.annotations[:100])
    assert figures(metric) == figures(run(oi_dev, np.arange(100)))


def test_images_may_have_different_numbers_of_pairs(oi_dev: OpenImagesCase) -> None:
    """Pairs that are left out equal pairs with the lowest scores."""

    def cut(image: int) -> PairPredictions:
        keep = slice(0, 100 - 30 * (image % 3))
        return PairPredictions(**{name: values[keep] for name, values in vars(oi_dev.predictions[image]).items()})

    together, alone = run(oi_dev, np.arange(0)), run(oi_dev, np.arange(0))
    together.update([cut(image) for image in range(60)], oi_dev.annotations[:60])
    for image in range(60):
        alone.update([cut(image)], [oi_dev.annotations[image]])
    assert figures(together) == figures(alone)


# Scenes of two objects and two relations, small enough to work out by hand.

LEFT, RIGHT, FAR = [0.0, 0.0, 99.0, 99.0], [100.0, 0.0, 199.0, 99.0], [500.0, 500.0, 599.0, 599.0]
BELOW, NOWHERE = [0.0, 300.0, 99.0, 399.0], [900.0, 900.0, 950.0, 950.0]
HOLD, RIDE = [0.9, 0.0], [0.0, 0.9]


def small(triplets: list[tuple[int, int, int]], **options: object) -> OpenImagesSGG:
    table = np.array(triplets, np.int64).reshape(-1, 3)
    return OpenImagesSGG(triplets=table, num_objects=3, num_relations=2, **options)


def evaluated(
    triplets: list[tuple[int, int, int]], images: list[tuple[PairPredictions, Annotation]], **options: object
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    metric = small(triplets, **options)
    metric.update([image[0] for image in images], [image[1] for image in images])
    return figures(metric), metric.per_class()


def labelled(image_id: int, *triplets: tuple[int, list[float], int, int, list[float]]) -> Annotation:
    """Labels of one image: subject class and box, relation, object class and box each."""
    boxes = [box for s, s_box, _, o, o_box in triplets for box in ((s, s_box), (o, o_box))]
    return annotation(image_id, boxes, [(2 * row, 2 * row + 1, r) for row, (_, _, r, _, _) in enumerate(triplets)])


PAIR: Pair = (0, LEFT, 1, RIGHT)
TRUE = (0, LEFT, 0, 1, RIGHT)
MISS: Pair = (0, NOWHERE, 1, NOWHERE)


def test_a_perfect_detection_has_all_figures_at_one() -> None:
    values, _ = evaluated([(0, 0, 1)], [(scene([PAIR], [HOLD]), labelled(1, TRUE))])
    # The literature divides by both relations, though only one is labelled.
    assert {key for key, value in values.items() if value != 1} == {"pysgg/map_rel", "pysgg/map_phr"}
    assert values["pysgg/map_rel"] == 0.5


@pytest.mark.parametrize("pair", [(2, LEFT, 1, RIGHT), (0, LEFT, 2, RIGHT), (0, RIGHT, 1, LEFT)])
def test_both_classes_and_both_boxes_must_match(pair: Pair) -> None:
    values, _ = evaluated([(0, 0, 1)], [(scene([pair], [HOLD]), labelled(1, TRUE))])
    assert values["rlipv2/wmap_rel_100"] == values["pysgg/wmap_rel"] == values["pysgg/recall_100"] == 0


def test_the_box_around_both_is_enough_for_a_phrase() -> None:
    values, _ = evaluated([(0, 0, 1)], [(scene([(0, RIGHT, 1, LEFT)], [HOLD]), labelled(1, TRUE))])
    assert (values["rlipv2/wmap_rel_100"], values["pysgg/wmap_rel"]) == (0, 0)
    assert (values["rlipv2/wmap_phr_100"], values["pysgg/wmap_phr"]) == (1, 1)


def test_an_overlap_of_exactly_one_half_is_enough_but_for_average_precision_of_the_literature() -> None:
    half = [0.0, 0.0, 99.0, 49.0]
    values, _ = evaluated([(0, 0, 1)], [(scene([(0, half, 1, RIGHT)], [HOLD]), labelled(1, TRUE))])
    assert values["rlipv2/wmap_rel_100"] == 1
    assert values["pysgg/wmap_rel"] == 0
    assert values["pysgg/recall_50"] == 1


def test_images_without_boxes_drop_relations_but_count_phrases() -> None:
    images = [(scene([PAIR], [[0.95, 0]]), annotation(1, [], [])), (scene([PAIR], [HOLD]), labelled(2, TRUE))]
    values, _ = evaluated([(0, 0, 1)], images)
    assert values["rlipv2/wmap_rel_100"] == 1
    assert values["rlipv2/wmap_phr_100"] == pytest.approx(0.5)
    assert values["pysgg/wmap_rel"] == values["pysgg/wmap_phr"] == 0.5


def test_images_with_boxes_but_without_relations_count_everywhere() -> None:
    images = [(scene([PAIR], [[0.95, 0]]), annotation(1, [(0, LEFT)], [])), (scene([PAIR], [HOLD]), labelled(2, TRUE))]
    values, _ = evaluated([(0, 0, 1)], images)
    for key in ("rlipv2/wmap_rel_100", "rlipv2/wmap_phr_100", "pysgg/wmap_rel", "pysgg/wmap_phr"):
        assert values[key] == pytest.approx(0.5), key


def test_a_pair_labelled_twice_is_found_once_except_in_the_recall_of_the_literature() -> None:
    twice = annotation(1, [(0, LEFT), (1, RIGHT)], [(0, 1, 0), (0, 1, 0)])
    values, _ = evaluated([(0, 0, 1)], [(scene([PAIR, PAIR], [[0.9, 0], [0.8, 0]]), twice)], nms=False)
    assert values["rlipv2/max_recall_rel_100"] == values["rlipv2/max_recall_phr_100"] == 0.5
    assert values["pysgg/recall_50"] == 1


def index_bug_images() -> list[tuple[PairPredictions, Annotation]]:
    """Ranked A, B, A: suppression leaves A, A, B, so that B is judged by the second A, and that one by B.

    Both A are right and B is wrong; in the second image B is right.
    """
    a, other_a, b = PAIR, (0, BELOW, 1, BELOW), (2, FAR, 1, FAR)
    first = scene([a, b, other_a], [[0.9, 0], [0.8, 0], [0.7, 0]])
    return [
        (first, labelled(1, TRUE, (0, BELOW, 0, 1, BELOW))),
        (scene([(2, LEFT, 1, RIGHT)], [[0.5, 0]]), labelled(2, (2, LEFT, 0, 1, RIGHT))),
    ]


BOTH = [(0, 0, 1), (2, 0, 1)]


def test_phrases_are_judged_by_the_phrase_at_their_place_before_sorting() -> None:
    _, arrays = evaluated(BOTH, index_bug_images())
    assert arrays["rlipv2/phr_100_num_true_positives"].tolist() == [1, 2]
    assert arrays["rlipv2/phr_100_max_recall"].tolist() == [0.5, 2.0]
    assert arrays["rlipv2/rel_100_num_true_positives"].tolist() == [2, 1]


@pytest.mark.parametrize("options", [{"phrase_index_bug": False}, {"nms": False}])
def test_the_phrase_index_is_right_if_told_or_without_suppression(options: dict) -> None:
    _, arrays = evaluated(BOTH, index_bug_images(), **options)
    assert arrays["rlipv2/phr_100_num_true_positives"].tolist() == [2, 1]
    assert arrays["rlipv2/phr_100_max_recall"].tolist() == [1, 1]


def test_the_phrase_index_bug_depends_on_which_triplets_are_labelled_anywhere() -> None:
    images = index_bug_images()[:1]
    _, arrays = evaluated(BOTH[:1], images)
    # B is skipped before it can take a labelled phrase; the second A is still judged by B's overlaps
    assert arrays["rlipv2/phr_100_num_true_positives"].tolist() == [1]


def test_the_phrase_index_bug_differs_between_the_first_50_and_100() -> None:
    # Between both A lie 49 triplets of other kinds: the second A is the 51st.
    fill = [(2, [10.0 * k, 700, 10.0 * k + 5, 705], 1, [10.0 * k, 720, 10.0 * k + 5, 725]) for k in range(49)]
    pairs = [PAIR, *fill, (0, BELOW, 1, BELOW)]
    scores = [[0.9 - 0.01 * row, 0] for row in range(51)]
    images = [(scene(pairs, scores), labelled(1, TRUE, (0, BELOW, 0, 1, BELOW))), index_bug_images()[1]]
    _, arrays = evaluated(BOTH, images)
    assert arrays["rlipv2/phr_50_num_true_positives"].tolist() == [1, 1]
    assert arrays["rlipv2/phr_100_num_true_positives"].tolist() == [1, 2]


def test_micro_recall_of_phrases_leaves_out_triplets_without_detection() -> None:
    label = labelled(1, TRUE, (0, BELOW, 1, 1, BELOW))
    values, _ = evaluated([(0, 0, 1), (0, 1, 1)], [(one_class(), label)])
    assert values["rlipv2/max_recall_rel_100"] == 0.5
    assert values["rlipv2/max_recall_phr_100"] == 1
    assert values["rlipv2/mean_max_recall_phr_100"] == 0.5


def one_class() -> PairPredictions:
    """A correct pair first, then 100 of another triplet, so that the second relation is never ranked."""
    others: list[Pair] = [(2, NOWHERE, 2, NOWHERE)] * 100
    return scene([PAIR, *others], [[0.9, 0.0], *([[0.5, 0.4]] * 100)])


def test_nothing_found_is_zero_and_nothing_labelled_is_nan() -> None:
    values, _ = evaluated([(0, 0, 1)], [(scene([(2, LEFT, 2, LEFT)], [[0.9, 0.8]]), labelled(1, TRUE))])
    assert set(values.values()) == {0.0}
    values, _ = evaluated([], [(scene([PAIR], [HOLD]), annotation(1, [(0, LEFT)], []))])
    assert all(np.isnan(value) for value in values.values())


def test_suppression_of_pairs_then_of_phrases() -> None:
    near, far_subject = (0, [0.0, 0.0, 99.0, 95.0], 1, RIGHT), (0, [0.0, 0.0, 30.0, 99.0], 1, RIGHT)
    images = [(scene([PAIR, near, far_subject], [[0.9, 0], [0.8, 0], [0.7, 0]]), labelled(1, TRUE))]
    # relation 1 has the same three pairs with a score of 0 and no label
    _, arrays = evaluated([(0, 0, 1)], images)
    assert arrays["rlipv2/rel_100_num_detections"].tolist() == [2]  # the second repeats the first
    assert arrays["rlipv2/phr_100_num_detections"].tolist() == [1]  # the box around the third pair is the same
    _, arrays = evaluated([(0, 0, 1)], images, nms=False)
    assert arrays["rlipv2/rel_100_num_detections"].tolist() == arrays["rlipv2/phr_100_num_detections"].tolist() == [3]


def test_the_literature_takes_two_relations_of_each_pair() -> None:
    label = labelled(1, TRUE, (0, LEFT, 1, 1, RIGHT), (0, LEFT, 2, 1, RIGHT))
    triplets = np.array([(0, relation, 1) for relation in range(3)])
    metric = OpenImagesSGG(triplets=triplets, num_objects=2, num_relations=3)
    metric.update([scene([PAIR], [[0.7, 0.9, 0.8]])], [label])
    assert metric.per_class()["pysgg/rel_num_detections"].tolist() == [0, 1, 1]
    assert metric.per_class()["rlipv2/rel_100_num_detections"].tolist() == [1, 1, 1]
    assert metric.compute()["pysgg/recall_100"].item() == pytest.approx(2 / 3)


def test_the_literature_leaves_out_scores_of_almost_zero() -> None:
    for score, count in ((1.0e-5, 0), (1.1e-5, 1)):
        _, arrays = evaluated([(0, 0, 1)], [(scene([PAIR], [[score, 0]]), labelled(1, TRUE))])
        assert arrays["pysgg/rel_num_detections"].tolist() == [count, 0]
        assert arrays["rlipv2/rel_100_num_detections"].tolist() == [1]


def test_recall_of_the_literature_counts_within_50_and_100() -> None:
    pairs: list[Pair] = [*[MISS] * 60, PAIR]
    values, _ = evaluated(
        [(0, 0, 1)], [(scene(pairs, [[0.9 - 0.01 * row, 0] for row in range(61)]), labelled(1, TRUE))], nms=False
    )
    assert (values["pysgg/recall_50"], values["pysgg/recall_100"]) == (0, 1)
    assert (values["rlipv2/max_recall_rel_50"], values["rlipv2/max_recall_rel_100"]) == (0, 1)


def test_an_image_without_pairs_counts_its_labels() -> None:
    empty = PairPredictions(**{name: values[:0] for name, values in vars(scene([PAIR], [HOLD])).items()})
    values, _ = evaluated([(0, 0, 1)], [(empty, labelled(1, TRUE)), (scene([PAIR], [HOLD]), labelled(2, TRUE))])
    assert values["rlipv2/max_recall_rel_50"] == values["pysgg/recall_50"] == 0.5


def test_no_image_at_all_gives_nan_and_keeps_the_names(oi_dev: OpenImagesCase) -> None:
    metric = run(oi_dev, np.arange(0))
    metric.update([], [])
    assert all(torch.isnan(value) for value in metric.compute().values())
    assert metric.compute().keys() == run(oi_dev, np.arange(2)).compute().keys()


def test_half_precision_predictions_are_accepted() -> None:
    prediction = scene([PAIR], [HOLD])
    half = {name: values.half() if values.is_floating_point() else values for name, values in vars(prediction).items()}
    values, _ = evaluated([(0, 0, 1)], [(PairPredictions(**half), labelled(1, TRUE))])
    assert values["rlipv2/score_wtd"] == 1


def test_ranking_by_sorting_as_on_a_gpu_gives_the_same() -> None:
    values = torch.randint(0, 9, (40, 60), generator=torch.Generator().manual_seed(0)).float()
    for k in (2, 50, 100):
        for ours, theirs in zip(_best_by_sorting(values, k), best_of_tensor(values, k), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_reset_copies_and_collections(oi_dev: OpenImagesCase) -> None:
    metric = run(oi_dev, np.arange(50))
    value = metric.compute()["rlipv2/score_wtd"]
    twin = pickle.loads(pickle.dumps(copy.deepcopy(metric)))
    metric.reset()
    metric.update([], [])
    assert torch.isnan(metric.compute()["rlipv2/score_wtd"])
    assert twin.compute()["rlipv2/score_wtd"] == value
    collection = MetricCollection({"open_images": metric}, prefix="test/")
    collection.update(oi_dev.predictions[:50], oi_dev.annotations[:50], torch.arange(50))
    assert collection.compute()["test/rlipv2/score_wtd"] == value


def test_the_state_stays_small(oi_dev: OpenImagesCase) -> None:
    metric = run(oi_dev, np.arange(100))
    size = sum(part.numel() * part.element_size() for name in metric.STATES for part in getattr(metric, name))
    assert size / 100 < 1900  # bytes per image: 10 MB for the 5,322 images of the test split


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"triplets": np.zeros((2, 2), int)}, "triplets: expected whole numbers of shape"),
        ({"triplets": np.zeros((2, 3))}, "triplets: expected whole numbers of shape"),
        ({"triplets": np.array([[0, 0, 1], [0, 2, 1]])}, r"triplets\[1\] = \[0, 2, 1\]"),
        ({"triplets": np.array([[3, 0, 1]])}, r"triplets\[0\] = \[3, 0, 1\]: objects must lie in 0..2"),
        ({"triplets": np.array([[0, -1, 1]])}, r"triplets\[0\]"),
        ({"num_objects": 0}, "num_objects=0"),
        ({"num_relations": -1}, "num_relations=-1"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OpenImagesSGG(**{"triplets": np.array(BOTH), "num_objects": 3, "num_relations": 2} | options)


def with_fields(**fields: torch.Tensor) -> PairPredictions:
    return PairPredictions(**vars(scene([PAIR], [HOLD])) | fields)


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        (with_fields(relation_scores=torch.zeros(1, 5)), labelled(7, TRUE), "score 5 relations"),
        (with_fields(relation_scores=torch.tensor([[torch.nan, 0]])), labelled(7, TRUE), "not finite"),
        (with_fields(subject_labels=torch.tensor([3])), labelled(7, TRUE), "subject labels from 3 to 3"),
        (with_fields(object_labels=torch.tensor([-1])), labelled(7, TRUE), "object labels from -1"),
        (with_fields(), labelled(7, (0, LEFT, 1, 1, RIGHT)), r"index 7: its labelled triplet \[0, 1, 1\]"),
        (with_fields(), labelled(7, (0, LEFT, 2, 1, RIGHT)), "relations of annotations from 2 to 2"),
        (with_fields(), labelled(7, (5, LEFT, 0, 1, RIGHT)), "labels of annotations from 1 to 5"),
        (with_fields(), annotation(7, [(0, LEFT)], [(0, 1, 0)]), "boxes their image does not have"),
    ],
)
def test_bad_updates_are_refused(prediction: PairPredictions, label: Annotation, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(BOTH).update([prediction], [label])


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 predictions, 0 annotations"):
        small(BOTH).update([with_fields()], [], torch.tensor([0]))
