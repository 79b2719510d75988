import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

from rlipv2 import vocabularies
from rlipv2.metrics import HICODetMAP
from rlipv2.structures import Annotation, PairPredictions
from tests.metrics.hico_cases import SMALL_HOIS, SMALL_RARE, SynthCase, annotation, pair_predictions

VOCABULARY = vocabularies.load("hico")
PERSON = [10.0, 10.0, 49.0, 99.0]
BICYCLE = [30.0, 50.0, 89.0, 99.0]
NOWHERE = [200.0, 200.0, 240.0, 240.0]


def small_metric(**options) -> HICODetMAP:
    return HICODetMAP(hois=SMALL_HOIS, rare=SMALL_RARE, **options)


def riding(image_id: int) -> Annotation:
    return annotation(image_id, [(0, PERSON), (1, BICYCLE)], [(0, 1, 0)])


def found(*scores: float) -> PairPredictions:
    """A correct pair with these scores for ride, hold and look."""
    return pair_predictions([(PERSON, BICYCLE, 1)], [list(scores)])


def changed(**fields: torch.Tensor) -> PairPredictions:
    """A correct pair with other fields."""
    return PairPredictions(**vars(found(1, 0, 0)) | fields)


def missed(*scores: float) -> PairPredictions:
    return pair_predictions([(NOWHERE, NOWHERE, 1)], [list(scores)])


def run(synth: SynthCase, batch_size: int = 16, order: np.ndarray | None = None, **options) -> HICODetMAP:
    metric = HICODetMAP.from_vocabulary(VOCABULARY, **options)
    order = np.arange(120) if order is None else order
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        predictions, annotations = [synth.predictions[row] for row in rows], [synth.annotations[row] for row in rows]
        metric.update(predictions, annotations, torch.from_numpy(rows))
    return metric


@pytest.mark.parametrize("nms", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 120])
def test_figures_per_class_equal_the_official_ones(synth: SynthCase, nms: bool, batch_size: int) -> None:
    arrays = run(synth, batch_size, nms=nms).per_class()
    kind = "nms" if nms else "no_nms"
    np.testing.assert_allclose(arrays["ap"], synth.expected_arrays[f"ap_{kind}"], atol=1e-6)
    np.testing.assert_allclose(arrays["max_recall"], synth.expected_arrays[f"max_recall_{kind}"], atol=1e-6)
    np.testing.assert_array_equal(arrays["num_labelled"], synth.expected_arrays["n_gt"])
    with_truth = arrays["num_labelled"] > 0
    for ours, theirs in (("num_detections", "n_det"), ("num_true_positives", "n_tp")):
        np.testing.assert_array_equal(arrays[ours][with_truth], synth.expected_arrays[f"{theirs}_{kind}"][with_truth])


@pytest.mark.parametrize("nms", [True, False])
def test_means_equal_the_official_ones(synth: SynthCase, nms: bool) -> None:
    expected = synth.expected["official"]["nms" if nms else "no_nms"]
    values = run(synth, nms=nms).compute()
    names = {"map_full": "mAP", "map_rare": "mAP rare", "map_non_rare": "mAP non-rare"}
    for ours, theirs in (names | {"mean_max_recall": "mean max recall"}).items():
        assert values[ours].item() == pytest.approx(expected[theirs], abs=1e-9)


@pytest.mark.parametrize("split", ["uc_rf", "uc_nf", "uo"])
def test_zero_shot_means_equal_the_official_ones(synth: SynthCase, split: str) -> None:
    expected = synth.expected["official"]["nms"][split]
    values = run(synth, split=split).compute()
    assert values["map_unseen"].item() == pytest.approx(expected["unseen"], abs=1e-9)
    assert values["map_seen"].item() == pytest.approx(expected["seen"], abs=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"recall_levels": "decimal"},
        {"recall_levels": "area"},
        {"empty_images": "count"},
        {"nms_beta": 1.0},
        {"top_k": 200},
        {"top_k": None},
    ],
    ids=str,
)
def test_every_option_changes_the_result(synth: SynthCase, options: dict) -> None:
    assert run(synth, **options).compute()["map_full"] != run(synth).compute()["map_full"]


def test_the_order_of_images_does_not_matter(synth: SynthCase) -> None:
    expected = run(synth).compute()
    shuffled = run(synth, order=np.random.default_rng(0).permutation(120)).compute()
    assert {key: value.item() for key, value in shuffled.items()} == {k: v.item() for k, v in expected.items()}


def test_images_that_come_again_do_not_count(synth: SynthCase) -> None:
    expected = run(synth).compute()
    repeated = run(synth, order=np.concatenate([np.arange(120), [3, 0, 119]])).compute()
    assert repeated["map_full"] == expected["map_full"]
    assert repeated["matlab/map_full"] == expected["matlab/map_full"]


def test_without_indices_images_are_told_apart_by_their_id(synth: SynthCase) -> None:
    metric = HICODetMAP.from_vocabulary(VOCABULARY)
    for _ in range(2):
        metric.update(synth.predictions, synth.annotations)
    assert metric.compute()["map_full"] == run(synth).compute()["map_full"]


def test_pairs_that_were_left_out_equal_pairs_with_a_score_of_zero(synth: SynthCase) -> None:
    """Images then have different numbers of pairs, as in zero-shot evaluation without fine-tuning."""
    keep = [torch.arange(100) % (2 + row % 3) > 0 for row in range(120)]

    def short(row: int) -> PairPredictions:
        full = synth.predictions[row]
        return PairPredictions(**{name: values[keep[row]] for name, values in vars(full).items()})

    def zeroed(row: int) -> PairPredictions:
        values = vars(synth.predictions[row])
        return PairPredictions(**values | {"relation_scores": values["relation_scores"] * keep[row][:, None]})

    results = []
    for change in (short, zeroed):
        metric = HICODetMAP.from_vocabulary(VOCABULARY)
        metric.update([change(row) for row in range(120)], synth.annotations)
        results.append(metric.compute()["map_full"].item())
    assert results[0] == results[1]


def test_a_pair_may_be_right_for_several_relations() -> None:
    metric = small_metric()
    metric.update([found(0.9, 0.8, 0)], [annotation(1, [(0, PERSON), (1, BICYCLE)], [(0, 1, 0), (0, 1, 1)])])
    values = metric.compute()
    assert values["map_full"] == 1
    assert values["map_rare"] == 1


def test_half_the_pixels_are_less_than_half_of_a_continuous_box() -> None:
    label = annotation(1, [(0, [1.0, 1.0, 10.0, 10.0]), (1, [1.0, 1.0, 10.0, 10.0])], [(0, 1, 0)])
    half = pair_predictions([([1.0, 1.0, 10.0, 5.0], [1.0, 1.0, 10.0, 10.0], 1)], [[0.9, 0, 0]])
    for convention, expected in (("pixel", 1), ("continuous", 0)):
        metric = small_metric(box_convention=convention)
        metric.update([half], [label])
        assert metric.compute()["map_full"] == expected


def test_a_wrong_object_class_never_matches() -> None:
    metric = small_metric()
    metric.update([pair_predictions([(PERSON, BICYCLE, 2)], [[0, 0.9, 0]])], [riding(1)])
    assert metric.compute()["map_full"] == 0


def test_images_without_boxes_are_dropped_unless_told_otherwise() -> None:
    results = {}
    for empty_images in ("drop", "count"):
        metric = small_metric(empty_images=empty_images)
        metric.update([missed(0.9, 0, 0), found(0.5, 0, 0)], [annotation(1, [], []), riding(2)])
        results[empty_images] = metric.compute()
    assert results["drop"]["map_full"] == 1
    assert results["count"]["map_full"] == 0.5
    assert results["drop"]["matlab/map_full"] == 0.5


def test_images_with_boxes_but_without_relations_do_count() -> None:
    metric = small_metric()
    metric.update([missed(0.9, 0, 0), found(0.5, 0, 0)], [annotation(1, [(0, PERSON)], []), riding(2)])
    assert metric.compute()["map_full"] == 0.5


def test_known_object_leaves_out_images_without_a_labelled_pair_of_the_object() -> None:
    metric = small_metric()
    cup = annotation(1, [(0, PERSON), (2, BICYCLE)], [(0, 1, 1)])
    metric.update([missed(0.9, 0, 0), found(0.5, 0, 0)], [cup, riding(2)])
    arrays = metric.per_class()
    assert arrays["ap"].tolist()[0] == 0.5
    assert arrays["ko_ap"].tolist()[0] == 1
    assert arrays["matlab/ap"].tolist()[0] == 0.5
    assert arrays["matlab/ko_ap"].tolist()[0] == 1


def test_matlab_figures_expect_predictions_that_count_from_zero() -> None:
    # labels 1..10 x 1..10 are prediction 0..9 of a detector; a label box half as wide is 1..5
    label = annotation(1, [(0, [1.0, 1.0, 5.0, 10.0]), (1, [1.0, 1.0, 5.0, 10.0])], [(0, 1, 0)])
    box = [0.0, 0.0, 10.0, 10.0]  # x2 y2 are the outer edges
    metric = small_metric()
    metric.update([pair_predictions([(box, box, 1)], [[0.9, 0, 0]])], [label])
    values = metric.compute()
    assert values["map_full"] == 0  # 50 of 121 pixels
    assert values["matlab/map_full"] == 1  # 50 of 100


def test_detections_with_another_subject_than_a_person_do_not_count() -> None:
    metric = small_metric()
    metric.update([changed(subject_labels=torch.tensor([2]))], [riding(1)])
    assert metric.per_class()["num_detections"].sum() == 0


def test_equal_scores_are_ranked_by_index() -> None:
    for indices, expected in (([0, 1], 1.0), ([1, 0], 0.5)):
        metric = small_metric()
        metric.update(
            [found(0.5, 0, 0), missed(0.5, 0, 0)],
            [riding(1), annotation(2, [(0, PERSON)], [])],
            torch.tensor(indices),
        )
        assert metric.compute()["map_full"] == expected


def test_no_image_at_all_gives_nan_and_keeps_the_names(synth: SynthCase) -> None:
    metric = HICODetMAP.from_vocabulary(VOCABULARY, split="uv")
    metric.update([], [])
    empty = metric.compute()
    assert all(torch.isnan(value) for value in empty.values())
    assert empty.keys() == run(synth, split="uv").compute().keys()


def test_an_image_without_pairs_counts_its_labels() -> None:
    metric = small_metric()
    metric.update([pair_predictions([], []), found(0.5, 0, 0)], [riding(1), riding(2)])
    assert metric.compute()["mean_max_recall"] == 0.5


def test_half_precision_scores_are_accepted() -> None:
    metric = small_metric()
    metric.update([changed(relation_scores=torch.tensor([[0.5, 0, 0]], dtype=torch.bfloat16))], [riding(1)])
    assert metric.compute()["map_full"] == 1


def test_protocol_matlab_swaps_the_names(synth: SynthCase) -> None:
    official, matlab = run(synth).compute(), run(synth, protocol="matlab").compute()
    assert matlab["map_full"] == official["matlab/map_full"]
    assert matlab["rlipv2/map_ko_rare"] == official["map_ko_rare"]
    assert len(matlab) == len(official)


def test_reset_and_copies_start_from_what_they_should(synth: SynthCase) -> None:
    metric = run(synth)
    value = metric.compute()["map_full"]
    twin = pickle.loads(pickle.dumps(copy.deepcopy(metric)))
    metric.reset()
    metric.update([], [])
    assert torch.isnan(metric.compute()["map_full"])
    assert twin.compute()["map_full"] == value


def test_per_class_follows_later_updates() -> None:
    metric = small_metric()
    metric.update([found(0.5, 0, 0)], [riding(1)])
    assert metric.per_class()["num_labelled"].sum() == 1
    metric.update([found(0.5, 0, 0)], [riding(2)])
    assert metric.per_class()["num_labelled"].sum() == 2


def test_it_works_in_a_collection() -> None:
    collection = MetricCollection({"hico": small_metric()}, prefix="test/")
    collection.update([found(0.5, 0, 0)], [riding(1)], torch.tensor([0]))
    assert collection.compute()["test/map_full"] == 1


def test_the_state_of_the_test_split_stays_small(synth: SynthCase) -> None:
    metric = run(synth)
    size = sum(part.numel() * part.element_size() for name in metric.STATES for part in getattr(metric, name))
    assert size / 120 < 1200  # bytes per image: 12 MB for 9,658 images


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hois": SMALL_HOIS * 0}, "hois: a combination is listed twice"),
        ({"rare": np.zeros(3, bool)}, "rare: expected 4 booleans"),
        ({"rare": np.zeros(4)}, "rare: expected 4 booleans"),
        ({"unseen": np.zeros(5, bool)}, "unseen: expected 4 booleans"),
        ({"protocol": "voc"}, "protocol"),
        ({"empty_images": "keep"}, "empty_images"),
        ({"recall_levels": "voc"}, "recall_levels"),
        ({"box_convention": "voc"}, "box_convention"),
        ({"top_k": 0}, "top_k=0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):  # TypeError where shapes and types are checked
        HICODetMAP(**{"hois": SMALL_HOIS, "rare": SMALL_RARE} | options)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        HICODetMAP.from_vocabulary(VOCABULARY, split="zs")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"relation_scores": torch.zeros(1, 5)}, "score 5 relations"),
        ({"relation_scores": torch.tensor([[torch.nan, 0, 0]])}, "not finite"),
        ({"object_labels": torch.tensor([7])}, "labels from 7 to 7"),
        ({"object_labels": torch.tensor([-1])}, "labels from -1"),
    ],
)
def test_predictions_of_another_label_space_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_metric().update([changed(**fields)], [riding(1)])


@pytest.mark.parametrize(
    ("classes", "relation"),
    [((0, 2), 0), ((0, 1), 8), ((1, 1), 0)],
    ids=["no such combination", "no such relation", "subject is no person"],
)
def test_labels_that_are_no_class_do_not_count_and_are_told_once(classes: tuple[int, int], relation: int) -> None:
    boxes = [(0, PERSON), (1, BICYCLE), (classes[0], PERSON), (classes[1], BICYCLE)]
    # The odd label is the first of its image: the rows of the other one must not move.
    odd = annotation(2, boxes, [(2, 3, relation), (0, 1, 0)])
    metric, plain = small_metric(), small_metric()
    for image, label in ((7, riding(1)), (9, odd)):
        metric.update([found(0.9, 0, 0)], [label], torch.tensor([image]))
        plain.update([found(0.9, 0, 0)], [riding(image)], torch.tensor([image]))
    message = r"1 of 3 labelled pairs do not count, .* none of the 4 classes; the first is in the image with index 9"
    with pytest.warns(UserWarning, match=message):
        values = metric.compute()
    assert metric.counts() == plain.counts() | {"gt_pairs_ignored": 1}
    assert metric.counts()["gt_pairs"] == 2
    torch.testing.assert_close(values, plain.compute(), equal_nan=True)
    metric.update([found(1, 0, 0)], [odd], torch.tensor([11]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.compute()
    assert metric.counts()["gt_pairs_ignored"] == 2


def test_ignored_labels_of_repeated_images_are_counted_once() -> None:
    odd = annotation(2, [(1, PERSON), (1, BICYCLE)], [(0, 1, 0)])
    metric = small_metric()
    for _ in range(2):
        metric.update([found(0.9, 0, 0), found(0.9, 0, 0)], [riding(1), odd], torch.tensor([0, 1]))
    with pytest.warns(UserWarning, match="1 of 2 labelled pairs"):
        metric.compute()


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 predictions, 2 annotations and 2 indices"):
        small_metric().update([found(1, 0, 0)], [riding(1), riding(2)])


@pytest.mark.gpu
def test_tensors_on_a_gpu_give_the_same_figures(synth: SynthCase) -> None:
    metric = HICODetMAP.from_vocabulary(VOCABULARY).cuda()
    metric.update([prediction.to("cuda") for prediction in synth.predictions], synth.annotations)
    expected = HICODetMAP.from_vocabulary(VOCABULARY)
    expected.update(synth.predictions, synth.annotations)
    assert {k: v.item() for k, v in metric.compute().items()} == {k: v.item() for k, v in expected.compute().items()}
