"""Kinds of errors on constructed pictures, and that nothing put right gives the figure of the metric."""

import numpy as np
import pytest
import torch
from torch import Tensor

from rlipv2.metrics import HICODetMAP, OpenImagesSGG, TaggingAccuracy, TripletMAP, VCOCORoleAP
from rlipv2.metrics.diagnosis import KINDS, Diagnosis, DiagnosisMetric, diagnose
from rlipv2.structures import Annotation, LabelSpace, PairPredictions
from rlipv2.vocabularies import load
from tests.metrics import vcoco_cases as vcoco
from tests.metrics.oi_cases import NUM_OBJECTS, NUM_RELATIONS

SPACE = LabelSpace(("person", "horse", "dog"), ("ride", "feed", "hold"))
PERSON, HORSE, DOG = range(3)
RIDE, FEED, HOLD = range(3)
LEFT, RIGHT, FAR = [0.0, 0, 100, 100], [200.0, 0, 300, 100], [400.0, 0, 500, 100]
NOWHERE = [700.0, 700, 800, 800]
SHIFTED = {"LEFT": [0.0, 60, 100, 160], "RIGHT": [200.0, 60, 300, 160]}  # overlaps by 1/4
Pair = tuple[list[float], list[float], int, dict[int, float]]


def predicted(*pairs: Pair) -> PairPredictions:
    """Pairs (subject box, object box, object class, scores by relation); subjects are persons."""
    scores = torch.zeros(len(pairs), len(SPACE.relations))
    for row, (_, _, _, given) in enumerate(pairs):
        for relation, score in given.items():
            scores[row, relation] = score
    return PairPredictions(
        subject_boxes=torch.tensor([pair[0] for pair in pairs]).reshape(-1, 4),
        object_boxes=torch.tensor([pair[1] for pair in pairs]).reshape(-1, 4),
        subject_labels=torch.full((len(pairs),), PERSON),
        object_labels=torch.tensor([pair[2] for pair in pairs], dtype=torch.int64),
        relation_scores=scores,
    )


def labelled(relations: list[tuple[int, int, int]], boxes: list[list[float]], labels: list[int]) -> Annotation:
    """Relations are (subject box, object box, relation)."""
    return Annotation(
        image_id=1,
        file_name="1.jpg",
        boxes_xyxy=torch.tensor(boxes).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        relations=torch.tensor(relations, dtype=torch.int64).reshape(-1, 3),
    )


def one_rides(boxes=(LEFT, RIGHT, FAR), labels=(PERSON, HORSE, HORSE)) -> Annotation:
    """A person on the left rides the horse on the right, another horse stands far off."""
    return labelled([(0, 1, RIDE)], list(boxes), list(labels))


def counts(diagnosis: Diagnosis) -> dict[str, int]:
    return {kind: int(count) for kind, count in zip(KINDS, diagnosis.errors.all_counts, strict=True) if count}


def gains(diagnosis: Diagnosis) -> dict[str, float]:
    return {kind: round(gain, 6) for kind, gain in diagnosis.errors.gains.items() if abs(gain) > 1e-9}


CASES: dict[str, tuple[list[Pair], float, float]] = {
    # kind: pairs, AP of "ride" with nothing put right, gain of the kind
    "correct": ([(LEFT, RIGHT, HORSE, {RIDE: 0.9})], 1.0, 0.0),
    "relation": ([(LEFT, RIGHT, HORSE, {HOLD: 0.9})], 0.0, 1.0),
    "class": ([(LEFT, RIGHT, DOG, {RIDE: 0.9})], 0.0, 1.0),
    "pairing": ([(LEFT, FAR, HORSE, {RIDE: 0.9})], 0.0, 1.0),
    "subject box": ([(SHIFTED["LEFT"], RIGHT, HORSE, {RIDE: 0.9})], 0.0, 1.0),
    "object box": ([(LEFT, SHIFTED["RIGHT"], HORSE, {RIDE: 0.9})], 0.0, 1.0),
    "both boxes": ([(SHIFTED["LEFT"], SHIFTED["RIGHT"], HORSE, {RIDE: 0.9})], 0.0, 1.0),
    "several": ([(LEFT, SHIFTED["RIGHT"], HORSE, {HOLD: 0.9})], 0.0, 0.0),
    "background": ([(NOWHERE, NOWHERE, HORSE, {RIDE: 0.9})], 0.0, 0.0),
}


@pytest.mark.parametrize("kind", CASES)
def test_every_kind_of_a_single_detection(kind: str) -> None:
    pairs, ap, gain = CASES[kind]
    diagnosis = diagnose([predicted(*pairs)], [one_rides()], SPACE)
    assert counts(diagnosis) == {kind: 1}
    assert diagnosis.ap == ap
    assert diagnosis.errors.gains.get(kind, 0.0) == gain
    # nobody else would have found the label, so that it is missed where its error cannot be put right
    assert diagnosis.errors.num_missed == (1 if kind in ("several", "background") else 0)


def test_a_second_detection_of_the_same_label_is_a_duplicate() -> None:
    pairs = [(LEFT, RIGHT, HORSE, {RIDE: 0.9}), (LEFT, RIGHT, HORSE, {RIDE: 0.8})]
    diagnosis = diagnose([predicted(*pairs)], [one_rides()], SPACE)
    assert counts(diagnosis) == {"correct": 1, "duplicate": 1}
    assert diagnosis.ap == 1
    assert gains(diagnosis) == {}


def test_a_duplicate_of_another_image_that_ranks_between_costs_precision() -> None:
    first = predicted((LEFT, RIGHT, HORSE, {RIDE: 0.9}), (LEFT, RIGHT, HORSE, {RIDE: 0.8}))
    second = predicted((LEFT, RIGHT, HORSE, {RIDE: 0.7}))
    diagnosis = diagnose([first, second], [one_rides(), one_rides()], SPACE)
    assert diagnosis.ap == pytest.approx((1 + 2 / 3) / 2)
    assert gains(diagnosis) == {"duplicate": round(1 / 6, 6), "false positives": round(1 / 6, 6)}


@pytest.mark.parametrize(
    ("pair", "kind"),
    [
        # the right relation on the wrong class beats a far worse placed triplet, and so on down the list
        ((LEFT, RIGHT, HORSE, {FEED: 0.9}), "relation"),
        ((LEFT, FAR, HORSE, {FEED: 0.9}), "pairing"),
        ((LEFT, RIGHT, DOG, {FEED: 0.9}), "several"),
        ((LEFT, NOWHERE, HORSE, {RIDE: 0.9}), "background"),
        ((RIGHT, LEFT, HORSE, {RIDE: 0.9}), "background"),
    ],
)
def test_what_is_right_decides_the_kind(pair: Pair, kind: str) -> None:
    assert counts(diagnose([predicted(pair)], [one_rides()], SPACE)) == {kind: 1}


def test_one_box_for_both_ends_is_no_pairing() -> None:
    annotation = one_rides((LEFT, RIGHT, FAR), (PERSON, PERSON, PERSON))
    pair = predicted((FAR, FAR, PERSON, {RIDE: 0.9}))
    assert counts(diagnose([pair], [annotation], SPACE)) == {"background": 1}


def test_a_label_that_nothing_comes_near_is_missed() -> None:
    found = predicted((LEFT, RIGHT, HORSE, {RIDE: 0.9}))
    nothing = predicted((NOWHERE, NOWHERE, HORSE, {RIDE: 0.95}))
    diagnosis = diagnose([found, nothing], [one_rides(), one_rides()], SPACE)
    errors = diagnosis.errors
    assert (errors.num_labelled, errors.num_found, errors.num_missed) == (2, 1, 1)
    assert diagnosis.ap == pytest.approx(0.25)
    # found with the highest score: precision 1 at recall 1/2, then background, then the other
    assert errors.gains["missed"] == pytest.approx((1 + 2 / 3) / 2 - 0.25)
    assert errors.gains["background"] == pytest.approx(0.5 - 0.25)


def test_an_error_that_would_only_repeat_what_is_found_goes_when_it_is_put_right() -> None:
    pairs = [(LEFT, SHIFTED["RIGHT"], HORSE, {RIDE: 0.9}), (LEFT, RIGHT, HORSE, {RIDE: 0.8})]
    diagnosis = diagnose([predicted(*pairs)], [one_rides()], SPACE)
    assert counts(diagnosis) == {"correct": 1, "object box": 1}
    assert diagnosis.ap == 0.5
    assert gains(diagnosis) == {"object box": 0.5, "false positives": 0.5}


def test_of_two_errors_that_would_find_a_label_the_surer_one_does() -> None:
    pairs = [(LEFT, RIGHT, HORSE, {HOLD: 0.9, FEED: 0.8})]
    annotation = labelled([(0, 1, RIDE), (2, 3, FEED)], [LEFT, RIGHT, FAR, NOWHERE], [PERSON, HORSE, PERSON, HORSE])
    diagnosis = diagnose([predicted(*pairs)], [annotation], SPACE)
    assert counts(diagnosis) == {"relation": 2}
    assert diagnosis.ap == 0
    # ride is found by what said "hold"; "feed" here is no duplicate that counts against the other label
    assert diagnosis.errors.gains["relation"] == pytest.approx(0.5)
    assert diagnosis.errors.num_missed == 1


def test_the_classes_are_put_right_too() -> None:
    """A detection of a triplet that nobody labelled harms no figure, but would help if it were right."""
    diagnosis = diagnose([predicted((LEFT, RIGHT, DOG, {RIDE: 0.9}))], [one_rides()], SPACE)
    assert diagnosis.classes.rows(SPACE) == [
        {
            "subject": "person", "relation": "ride", "object": "horse", "ap": 0.0, "max_recall": 0.0,
            "labelled": 1, "detections": 0, "correct": 0, "group": "",
        }
    ]  # fmt: skip
    assert gains(diagnosis) == {"class": 1.0}


def test_relations_are_confused_with_the_surest_one_on_the_pair() -> None:
    pairs = [(LEFT, RIGHT, HORSE, {HOLD: 0.9, FEED: 0.5, RIDE: 0.2})]
    confusion = diagnose([predicted(*pairs)], [one_rides()], SPACE).confusion
    assert confusion.most(5) == [(RIDE, HOLD, 1)]


def test_what_is_right_about_another_label_confuses_nobody() -> None:
    annotation = labelled([(0, 1, RIDE), (0, 1, HOLD)], [LEFT, RIGHT], [PERSON, HORSE])
    pairs = [(LEFT, RIGHT, HORSE, {HOLD: 0.9, FEED: 0.5, RIDE: 0.2})]
    confusion = diagnose([predicted(*pairs)], [annotation], SPACE).confusion
    assert confusion.counts.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]


def test_labels_without_a_detected_pair_have_a_column() -> None:
    confusion = diagnose([predicted((LEFT, FAR, HORSE, {RIDE: 0.9}))], [one_rides()], SPACE).confusion
    assert confusion.counts[RIDE].tolist() == [0, 0, 0, 1]
    assert confusion.most(5) == []


def test_the_best_n_of_a_class_are_as_many_as_its_labels() -> None:
    pairs = [(LEFT, RIGHT, HORSE, {RIDE: 0.9}), (LEFT, FAR, HORSE, {RIDE: 0.8}), (NOWHERE, FAR, HORSE, {RIDE: 0.7})]
    errors = diagnose([predicted(*pairs)], [one_rides()], SPACE).errors
    assert dict(zip(KINDS, errors.top_counts.tolist(), strict=True))["correct"] == 1
    assert errors.top_counts.sum() == 1
    assert errors.shares[errors.multiples.index(2.0)][KINDS.index("pairing")] == 0.5


def test_curves_reach_the_recall_and_have_the_area_of_the_relation() -> None:
    diagnosis = diagnose(
        [predicted((LEFT, FAR, HORSE, {RIDE: 0.9}), (LEFT, RIGHT, HORSE, {RIDE: 0.8}))], [one_rides()], SPACE
    )
    curve = diagnosis.curves.by_relation[RIDE]
    assert (curve.recall[-1], curve.precision[-1], curve.ap) == (1.0, 0.5, 0.5)
    assert curve.ap == diagnosis.relations.ap[RIDE]
    assert np.isnan(diagnosis.curves.by_relation[FEED].ap)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric DiagnosisMetric was called before")
def test_nothing_predicted_and_nothing_labelled() -> None:
    empty = labelled([], [], [])
    assert diagnose([predicted()], [one_rides()], SPACE).ap == 0
    nothing = diagnose([predicted()], [empty], SPACE)
    assert np.isnan(nothing.ap)
    assert nothing.to_dict()["ap"] is None
    assert diagnose([], [], SPACE).errors.num_labelled == 0
    assert counts(diagnose([predicted((LEFT, RIGHT, HORSE, {RIDE: 0.9}))], [empty], SPACE)) == {"background": 1}


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="1 predictions and 2 annotations"):
        diagnose([predicted()], [one_rides(), one_rides()], SPACE)
    with pytest.raises(ValueError, match="evaluate with the label space"):
        diagnose([predicted()], [one_rides()], LabelSpace(("person",), ("ride",)))
    with pytest.raises(TypeError, match="no diagnosis of TaggingAccuracy; expected one of HICODetMAP"):
        DiagnosisMetric.of(TaggingAccuracy(num_relations=3), SPACE)


# The same figure as the metric, on the recorded cases.


def space(objects: int, relations: int) -> LabelSpace:
    return LabelSpace(tuple(f"o{k}" for k in range(objects)), tuple(f"r{k}" for k in range(relations)))


def check(metric, predictions, annotations, names: LabelSpace, figure: str, indices: Tensor | None = None) -> Diagnosis:
    indices = torch.arange(len(predictions)) if indices is None else indices
    diagnosis = DiagnosisMetric.of(metric, names)
    for start in range(0, len(predictions), 50):
        rows = slice(start, start + 50)
        for each in (metric, diagnosis):
            each.update(predictions[rows], annotations[rows], indices[rows])
    values, result = metric.compute(), diagnosis.result()
    assert result.figure == figure
    assert result.ap == pytest.approx(float(values[figure]), abs=1e-12)
    assert float(diagnosis.compute()["ap"]) == result.ap
    assert (np.array(list(result.errors.gains.values())) >= -1e-9).all()
    assert result.errors.all_counts[0] == result.errors.num_found
    return result


@pytest.mark.parametrize("options", [{}, {"nms": False}, {"recall_levels": "area", "empty_images": "count"}])
def test_hico_equals_the_metric(synth, options) -> None:
    metric = HICODetMAP.from_vocabulary(load("hico"), **options)
    result = check(metric, synth.predictions, synth.annotations, space(80, 117), "map_full")
    arrays = metric.per_class()
    np.testing.assert_array_equal(result.classes.ap, arrays["ap"])
    np.testing.assert_array_equal(result.classes.figures.num_detections, arrays["num_detections"])
    np.testing.assert_array_equal(result.classes.num_labelled, arrays["num_labelled"])
    assert result.groups["rare"] == pytest.approx(float(metric.compute()["map_rare"]), abs=1e-12)


def test_matlab_first_still_explains_the_official_figure(synth) -> None:
    metric = HICODetMAP.from_vocabulary(load("hico"), protocol="matlab")
    check(metric, synth.predictions, synth.annotations, space(80, 117), "rlipv2/map_full")


def test_open_images_equals_the_metric(oi_dev) -> None:
    metric = OpenImagesSGG(triplets=oi_dev.triplets, num_objects=NUM_OBJECTS, num_relations=NUM_RELATIONS)
    rows = 250
    result = check(
        metric,
        oi_dev.predictions[:rows],
        oi_dev.annotations[:rows],
        space(NUM_OBJECTS, NUM_RELATIONS),
        "rlipv2/wmap_rel_100",
    )
    assert np.nanmean(result.classes.ap) == pytest.approx(float(metric.compute()["rlipv2/map_rel_100"]))


@pytest.mark.parametrize("options", [{}, {"box_convention": "pixel", "match_threshold": 0.6, "top_k": 100}])
def test_triplets_equal_the_metric(oi_dev, options) -> None:
    metric = TripletMAP(num_objects=NUM_OBJECTS, num_relations=NUM_RELATIONS, **options)
    names = space(NUM_OBJECTS, NUM_RELATIONS)
    result = check(metric, oi_dev.predictions[:200], oi_dev.annotations[:200], names, "map_triplet")
    np.testing.assert_array_equal(result.relations.ap, metric.per_class()["relation_ap"])


def test_vcoco_equals_the_metric(vcoco_dev) -> None:
    metric = VCOCORoleAP(ground_truth=vcoco_dev.truth)
    check(metric, vcoco_dev.predictions, vcoco_dev.annotations, space(81, 29), "in_training/map_all")


def test_a_vcoco_label_without_object_is_found_by_its_person() -> None:
    scene = vcoco.Scene([(vcoco.PERSON, vcoco.ANNE), (vcoco.BOTTLE, vcoco.KNIFE)], {0: {"stand": (), "cut": (1, -1)}})
    names = LabelSpace(("person", "bottle", "car", LabelSpace.MISSING_OBJECT), vcoco.VERBS)
    pair = (vcoco.ANNE, vcoco.NOWHERE, vcoco.BOTTLE, {"stand": 0.9, "cut_instr": 0.8})
    metric = vcoco.small_metric(scene, top_k=2)
    found = diagnose([vcoco.small_predictions(pair)], [vcoco.annotation(1)], names, metric=metric)
    # "cut" has a label for its instrument, whose box is wrong by far, and one for what is cut, without object
    assert counts(found) == {"correct": 1, "relation": 1}
    assert found.classes.rows(names)[1]["relation"] == "stand"
    assert found.classes.ap[1] == pytest.approx(1.0)


def test_neither_order_nor_repetition_of_images_matters(oi_dev) -> None:
    metric, names = TripletMAP(num_objects=NUM_OBJECTS, num_relations=NUM_RELATIONS), space(NUM_OBJECTS, NUM_RELATIONS)
    predictions, annotations = oi_dev.predictions[:60], oi_dev.annotations[:60]
    straight = diagnose(predictions, annotations, names, metric=metric).to_dict()
    shuffled = DiagnosisMetric.of(metric, names)
    order = [*np.random.default_rng(0).permutation(60).tolist(), 3, 5]
    for start in range(0, len(order), 7):
        rows = order[start : start + 7]
        shuffled.update([predictions[k] for k in rows], [annotations[k] for k in rows], torch.tensor(rows))
    assert shuffled.result().to_dict() == straight
