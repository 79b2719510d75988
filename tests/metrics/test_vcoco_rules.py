"""Every rule of the V-COCO evaluations on cases worked out by hand."""

import numpy as np
import pytest
import torch

from rlipv2.metrics import VCOCORoleAP
from rlipv2.metrics.files import EvaluationFileError
from tests.metrics.vcoco_cases import (
    ANNE,
    BOB,
    BOTTLE,
    BREAD,
    CAR,
    KNIFE,
    MISSING,
    NOWHERE,
    PERSON,
    VERBS,
    Pair,
    Scene,
    annotation,
    evaluated,
    small_metric,
    small_predictions,
    small_truth,
)

INSTR, OBJ, POINT = 0, 1, 2  # rows of cut_instr, cut_obj and point_instr among the slots
CUT = 1  # row among the actions
ALONE: list[tuple[int, list[float]]] = [(PERSON, ANNE), (BOTTLE, KNIFE), (BOTTLE, BREAD)]
TWO = [*ALONE, (PERSON, BOB)]
NOTHING = [0.0, 0.0, 0.0, 0.0]


def cutting(*objects: int) -> Scene:
    """Anne cuts with and something, -1 for nothing labelled."""
    return Scene(ALONE, {0: {"cut": objects}})


def holding(subject: list[float], target: list[float], label: int = BOTTLE, **scores: float) -> Pair:
    return subject, target, label, scores


def role(metric: VCOCORoleAP, slot: int, scenario: int = 1) -> float:
    return metric.per_class()[f"role_{scenario}/ap"][slot]


def test_the_best_detection_of_a_person_is_right_and_further_ones_are_wrong() -> None:
    scene = Scene(TWO, {0: {"cut": (1, -1)}, 3: {"cut": (1, -1)}})
    pairs = [
        holding(ANNE, KNIFE, cut_instr=0.8),
        holding(ANNE, KNIFE, cut_instr=0.9),  # not in order of scores
        holding(BOB, KNIFE, cut_instr=0.7),
    ]
    metric = evaluated(scene, *pairs)
    assert role(metric, INSTR) == pytest.approx((1 + 2 / 3) / 2)
    assert metric.per_class()["agent/ap"][CUT] == pytest.approx((1 + 2 / 3) / 2)
    assert metric.per_class()["role_1/num_detections"].tolist() == [3, 3, 3]  # every pair, whatever its score
    assert metric.per_class()["role_1/num_true_positives"][INSTR] == 2


def test_a_wrong_detection_of_a_person_does_not_use_the_person_up() -> None:
    pairs = [holding(ANNE, NOWHERE, cut_instr=0.9), holding(ANNE, KNIFE, cut_instr=0.8)]
    assert role(evaluated(cutting(1, -1), *pairs), INSTR) == 0.5


def test_equal_scores_go_to_the_lower_pair() -> None:
    right, wrong = holding(ANNE, KNIFE, cut_instr=0.5), holding(NOWHERE, KNIFE, cut_instr=0.5)
    assert role(evaluated(cutting(1, -1), right, wrong), INSTR) == 1
    assert role(evaluated(cutting(1, -1), wrong, right), INSTR) == 0.5


def test_equal_scores_go_to_the_image_that_the_ground_truth_lists_first() -> None:
    right, wrong = (
        small_predictions(holding(ANNE, KNIFE, cut_instr=0.5)),
        small_predictions(holding(BOB, KNIFE, cut_instr=0.5)),
    )
    scenes = [cutting(1, -1), Scene([(PERSON, BOB)], {0: {"stand": ()}}, number=2)]
    metric = small_metric(*scenes)
    metric.update([wrong, right], [annotation(2), annotation(1)])
    assert role(metric, INSTR) == 1


@pytest.mark.parametrize("scenario", [1, 2])
def test_the_precision_envelope_is_integrated_over_all_recalls(scenario: int) -> None:
    """Right, wrong, wrong, right: precision 1 up to a recall of 1/2, then 2/4."""
    scene = Scene(TWO, {0: {"cut": (1, 2)}, 3: {"cut": (1, 2)}})
    pairs = [
        holding(ANNE, KNIFE, cut_instr=0.9),
        holding(NOWHERE, KNIFE, cut_instr=0.8),
        holding(BOB, NOWHERE, cut_instr=0.7),
        holding(BOB, KNIFE, cut_instr=0.6),
    ]
    assert role(evaluated(scene, *pairs), INSTR, scenario) == 0.75


@pytest.mark.parametrize(
    ("target", "label", "first", "second"),
    [
        (KNIFE, BOTTLE, 0, 1),  # an object where none is labelled
        (KNIFE, MISSING, 1, 1),  # NaN box
        (NOTHING, BOTTLE, 1, 1),  # all zeros is no object either
        ([0.0, 0.0, 5.0, 0.0], BOTTLE, 0, 1),
    ],
)
def test_scenarios_differ_where_no_object_is_labelled(target: list[float], label: int, first: int, second: int) -> None:
    metric = evaluated(cutting(-1, -1), holding(ANNE, target, label, cut_instr=0.9))
    assert role(metric, INSTR, 1) == first
    assert role(metric, INSTR, 2) == second


def test_missing_object_is_wrong_where_one_is_labelled_even_with_the_right_box() -> None:
    pair = holding(ANNE, KNIFE, MISSING, cut_instr=0.9)
    for scenario in (1, 2):
        assert role(evaluated(cutting(1, -1), pair), INSTR, scenario) == 0
        assert role(evaluated(cutting(1, -1), pair, missing_role="box"), INSTR, scenario) == 1


def test_with_missing_role_box_the_missing_object_is_no_answer_in_scenario_1() -> None:
    pair = holding(ANNE, KNIFE, MISSING, cut_instr=0.9)
    assert role(evaluated(cutting(-1, -1), pair, missing_role="box"), INSTR, 1) == 0


def test_the_class_of_the_object_does_not_matter_for_roles_but_in_training() -> None:
    metric = evaluated(cutting(1, 2), holding(ANNE, KNIFE, CAR, cut_instr=0.9))
    assert role(metric, INSTR) == 1
    assert metric.per_class()["in_training/ap"][VERBS.index("cut_instr")] == 0


def test_roles_of_an_action_are_matched_on_their_own() -> None:
    pairs = [holding(ANNE, KNIFE, cut_instr=0.9, cut_obj=0.9), holding(ANNE, BREAD, cut_obj=0.8)]
    metric = evaluated(cutting(1, 2), *pairs)
    assert role(metric, INSTR) == 1
    assert role(metric, OBJ) == 0.5


def test_persons_without_labelled_object_count_as_positives_of_every_role() -> None:
    scene = Scene(TWO, {0: {"cut": (1, 2)}, 3: {"cut": (-1, -1)}})
    metric = evaluated(scene, holding(ANNE, KNIFE, cut_instr=0.9), holding(ANNE, BREAD, cut_obj=0.9))
    for scenario in (1, 2):
        assert role(metric, INSTR, scenario) == role(metric, OBJ, scenario) == 0.5
    assert metric.per_class()["num_positives"].tolist() == [0, 2, 0]


def test_persons_who_do_not_do_the_action_are_wrong() -> None:
    scene = Scene(TWO, {0: {"cut": (1, 2)}, 3: {"stand": ()}})
    metric = evaluated(scene, holding(BOB, KNIFE, cut_instr=0.9), holding(ANNE, KNIFE, cut_instr=0.8))
    assert role(metric, INSTR) == 0.5


@pytest.mark.parametrize(
    ("subject", "skip", "skip_overlapping"),
    [
        (BOB, 0, 0),  # exactly on the person without annotation
        ([145.0, 10.0, 200.0, 20.0], 0, 1),  # touches nobody else, but that one hardly
        (NOWHERE, 1, 1),  # nobody: goes to the first person, who is annotated
    ],
)
def test_detections_on_persons_without_annotation_are_skipped(
    subject: list[float], skip: int, skip_overlapping: int
) -> None:
    scene = Scene(TWO, {0: {"cut": (1, -1)}})
    pairs = [holding(subject, KNIFE, cut_instr=0.9), holding(ANNE, KNIFE, cut_instr=0.8)]
    for unannotated, false in (("skip", skip), ("skip_overlapping", skip_overlapping), ("count", 1)):
        metric = evaluated(scene, *pairs, unannotated=unannotated)
        assert metric.counts()["pairs_skipped"] == 1 - false
        assert metric.counts()["pairs_counted"] == 1 + false
        assert role(metric, INSTR) == metric.per_class()["agent/ap"][CUT] == (0.5 if false else 1)


def test_without_any_overlap_the_first_person_decides_and_may_have_no_annotation() -> None:
    scene = Scene([(PERSON, BOB), *ALONE], {1: {"cut": (2, -1)}})
    metric = evaluated(scene, holding(NOWHERE, KNIFE, cut_instr=0.9), holding(ANNE, KNIFE, cut_instr=0.8))
    assert metric.counts()["pairs_skipped"] == 1
    assert role(metric, INSTR) == 1


def test_crowds_are_persons_without_annotation() -> None:
    truth = small_truth(Scene(TWO, {0: {"cut": (1, -1)}}))
    truth["iscrowd"] = np.array([0, 0, 0, 1])
    metric = small_metric(ground_truth=truth)
    metric.update([small_predictions(holding(BOB, KNIFE, cut_instr=0.9))], [annotation(1)])
    assert metric.counts()["pairs_skipped"] == 1


def test_a_box_of_another_class_is_no_person_even_with_annotation() -> None:
    scene = Scene([(CAR, ANNE), (PERSON, BOB), (BOTTLE, KNIFE)], {0: {"cut": (2, -1)}, 1: {"stand": ()}})
    metric = evaluated(scene, holding(ANNE, KNIFE, cut_instr=0.9))
    assert metric.per_class()["num_positives"].tolist() == [1, 0, 0]
    assert np.isnan(role(metric, INSTR))


@pytest.mark.parametrize(("height", "found"), [(50, True), (49, False)])
def test_an_overlap_of_exactly_one_half_is_enough(height: int, found: bool) -> None:
    """Both ends of a box are inside: 40 x 50 of 40 x 100 pixels."""
    half = [10.0, 10.0, 49.0, 9.0 + height]
    assert role(evaluated(cutting(1, -1), holding(half, KNIFE, cut_instr=0.9)), INSTR) == found
    scene = Scene([(PERSON, BOB), (BOTTLE, ANNE)], {0: {"cut": (1, -1)}})
    assert role(evaluated(scene, holding(BOB, half, cut_instr=0.9)), INSTR) == found


def test_box_convention_continuous_takes_corners_as_edges() -> None:
    # the label holds 40 x 100 pixels, or covers [10, 50] x [10, 110]
    for right, bottom, continuous in ((49.0, 59.0, 0), (50.0, 60.0, 1)):
        pair = holding([10.0, 10.0, right, bottom], KNIFE, cut_instr=0.9)
        assert role(evaluated(cutting(1, -1), pair), INSTR) == 1
        assert role(evaluated(cutting(1, -1), pair, box_convention="continuous"), INSTR) == continuous


def test_label_boxes_are_clipped_to_the_image() -> None:
    scene = Scene([(PERSON, [-90.0, 10.0, 9.0, 29.0]), (BOTTLE, KNIFE)], {0: {"cut": (1, -1)}})
    assert role(evaluated(scene, holding([0.0, 10.0, 9.0, 29.0], KNIFE, cut_instr=0.9)), INSTR) == 1


@pytest.mark.parametrize("change", [{"area": np.array([0.0, 1, 1, 1])}, {"ignore": np.array([1, 0, 0, 0])}], ids=str)
def test_persons_with_area_0_or_ignore_1_do_not_exist(change: dict[str, np.ndarray]) -> None:
    truth = small_truth(Scene(TWO, {0: {"cut": (1, -1)}, 3: {"stand": ()}})) | change
    metric = small_metric(ground_truth=truth)
    metric.update([small_predictions(holding(ANNE, KNIFE, cut_instr=0.9))], [annotation(1)])
    assert metric.per_class()["num_positives"].tolist() == [1, 0, 0]
    assert metric.counts()["pairs_counted"] == 1  # nearest is Bob, however far


def test_all_detections_are_wrong_on_images_without_persons() -> None:
    scenes = [cutting(1, -1), Scene([(CAR, BOB)], number=2)]
    metric = small_metric(*scenes)
    pairs = [holding(ANNE, KNIFE, cut_instr=0.8)], [holding(ANNE, KNIFE, cut_instr=0.9)]
    metric.update([small_predictions(*rows) for rows in pairs], [annotation(1), annotation(2)])
    assert role(metric, INSTR) == 0.5
    only = small_metric(scenes[1])
    only.update([small_predictions(*pairs[1])], [annotation(2)])
    assert only.counts() == {"images": 1, "positives": 0, "pairs_counted": 1, "pairs_skipped": 0}


def test_the_score_of_an_agent_is_the_larger_one_of_its_roles() -> None:
    scene = Scene(TWO, {0: {"cut": (1, 2)}})  # Bob has no annotation, so put the wrong one elsewhere
    pairs = [holding(ANNE, NOWHERE, cut_instr=0.1, cut_obj=0.9), holding(NOWHERE, KNIFE, cut_instr=0.8)]
    metric = evaluated(scene, *pairs)
    assert metric.per_class()["agent/ap"][CUT] == 1
    assert metric.per_class()["agent/num_true_positives"].tolist() == [0, 1, 0]
    assert role(metric, INSTR) == 0


def test_actions_without_role_have_an_agent_only() -> None:
    scene = Scene(ALONE, {0: {"stand": ()}})
    metric = evaluated(scene, holding(ANNE, KNIFE, stand=0.9))
    arrays = metric.per_class()
    assert arrays["agent/ap"][0] == 1
    assert len(arrays["role_1/ap"]) == 3
    assert metric.compute()["agent_ap"] == 1  # actions that nobody does do not count
    assert torch.isnan(metric.compute()["role_ap_1"])


def test_published_means_leave_point_out() -> None:
    scene = Scene(ALONE, {0: {"cut": (1, 2), "point": (1,)}})
    metric = evaluated(scene, holding(ANNE, KNIFE, cut_instr=0.9, point_instr=0.9), holding(ANNE, NOWHERE, cut_obj=0.9))
    values = metric.compute()
    assert values["role_ap_1"] == 0.5
    assert values["role_ap_1_with_point"] == pytest.approx(2 / 3)


def test_masked_scores_are_0_and_still_detections() -> None:
    validity = np.ones((4, 3))
    validity[VERBS.index("cut_instr"), BOTTLE] = 0
    pairs = [holding(ANNE, KNIFE, cut_instr=0.9), holding(NOWHERE, KNIFE, CAR, cut_instr=0.5)]
    metric = evaluated(cutting(1, -1), *pairs, validity=validity)
    assert role(metric, INSTR) == 0.5
    assert metric.per_class()["role_1/num_detections"][INSTR] == 2


def test_the_mask_always_allows_missing_objects() -> None:
    for width in (3, 4):
        metric = evaluated(
            cutting(-1, -1),
            holding(ANNE, KNIFE, MISSING, cut_instr=0.9),
            holding(NOWHERE, KNIFE, CAR, cut_instr=0.95),
            validity=np.zeros((4, width)),
        )
        assert role(metric, INSTR) == 1


def in_training(metric: VCOCORoleAP, verb: str) -> float:
    return metric.per_class()["in_training/ap"][VERBS.index(verb)]


def test_in_training_a_pair_without_object_is_matched_by_its_person() -> None:
    metric = evaluated(cutting(-1, 2), holding(ANNE, NOWHERE, CAR, cut_instr=0.9, cut_obj=0.9))
    assert in_training(metric, "cut_instr") == pytest.approx(1)
    assert in_training(metric, "cut_obj") == 0
    assert metric.per_class()["num_labelled"].tolist() == [1, 0, 0, 1]


def test_in_training_persons_without_annotation_are_not_skipped() -> None:
    scene = Scene(TWO, {0: {"cut": (1, -1)}})
    metric = evaluated(scene, holding(BOB, KNIFE, cut_instr=0.9), holding(ANNE, KNIFE, cut_instr=0.8))
    assert in_training(metric, "cut_instr") == pytest.approx(0.5)


def test_in_training_images_without_boxes_give_false_positives() -> None:
    metric = small_metric(cutting(1, -1), Scene([], number=2))
    pairs = (
        small_predictions(holding(ANNE, KNIFE, cut_instr=0.8)),
        small_predictions(holding(ANNE, KNIFE, cut_instr=0.9)),
    )
    metric.update(pairs, [annotation(1), annotation(2)])
    assert in_training(metric, "cut_instr") == pytest.approx(0.5)


def test_in_training_boxes_are_neither_clipped_nor_shortened() -> None:
    """x2 = x + w: 41 of 82 columns overlap, which is half of the label; with x + w - 1 it would be more."""
    scene = Scene([(PERSON, [0.0, 0.0, 80.0, 9.0]), (BOTTLE, KNIFE)], {0: {"cut": (1, -1)}})
    for right, found in ((40.0, True), (39.0, False)):
        pair = holding([0.0, 0.0, right, 10.0], KNIFE, cut_instr=0.9)
        assert (in_training(evaluated(scene, pair), "cut_instr") > 0) == found


def test_in_training_only_the_best_entries_of_an_image_count() -> None:
    pairs = [holding(ANNE, KNIFE, cut_instr=0.5, cut_obj=0.9), holding(ANNE, KNIFE, stand=0.8)]
    scene = cutting(1, 2)
    assert in_training(evaluated(scene, *pairs, top_k=3), "cut_instr") == pytest.approx(1)
    assert in_training(evaluated(scene, *pairs, top_k=2), "cut_instr") == 0


def test_in_training_verbs_without_label_count_as_0_in_the_thesis_mean_only() -> None:
    pair = holding(ANNE, KNIFE, cut_instr=0.9)
    scene = Scene([(PERSON, ANNE), (BOTTLE, KNIFE)], {0: {"stand": ()}})
    zero, skip = (evaluated(scene, pair, missing_verbs=option, top_k=1).compute() for option in ("zero", "skip"))
    assert zero["in_training/map_thesis"] == 0
    assert torch.isnan(skip["in_training/map_thesis"])
    assert zero["in_training/map_all"] == skip["in_training/map_all"] == 0  # "stand", which was not found


def test_in_training_recall_levels_are_multiples_of_a_rounded_tenth() -> None:
    """Three of ten found: a recall of exactly 3/10 misses the level 0.30000000000000004."""
    boxes = [[60.0 * column, 10.0, 60.0 * column + 40, 100.0] for column in range(10)]
    scene = Scene([(PERSON, box) for box in boxes], {row: {"stand": ()} for row in range(10)})
    pairs = [holding(box, NOWHERE, MISSING, stand=0.9) for box in boxes[:3]]
    assert in_training(evaluated(scene, *pairs), "stand") == pytest.approx(3 / 11)
    assert in_training(evaluated(scene, *pairs, recall_levels="decimal"), "stand") == pytest.approx(4 / 11)


def with_value(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


BAD_TRUTH = {
    "no persons": ({"person": None}, "no array 'person'"),
    "wrong shape": ({"bbox": np.zeros((3, 5))}, "bbox: float64 of shape .3, 5.; expected numbers of shape .any, 4."),
    "floats": ({"person": np.zeros(1)}, "person: float64 .* expected whole numbers"),
    "actions of another vocabulary": (
        {"actions": np.zeros((1, 5), int)},
        "actions: .* expected whole numbers of shape .1, 3.",
    ),
    "too few roles": ({"roles": np.zeros((1, 3, 1), int)}, "1 roles per action; expected 2"),
    "offsets": ({"box_ptr": np.array([0, 2])}, "box_ptr: offsets must ascend from 0 to 3"),
    "nothing in the split": ({"in_split": np.array([False])}, "holds no image of the split"),
    "NaN box": ({"bbox": np.full((3, 4), np.nan)}, r"record 0 \(image 1\): bbox=.*not finite"),
    "no size": ({"size": np.zeros((1, 2), int)}, "no width and height"),
    "unknown category": ({"category_id": np.array([1, 44, 9])}, "category_id=9: none of the 3 categories"),
    "unknown person": ({"person": np.array([3])}, r"person=3: no such box \(the image has 3\)"),
    "no 0 or 1": ({"actions": np.array([[0, -1, 0]])}, r"actions\[cut\]=-1: expected 0 or 1"),
    "unknown object": ({"roles": np.full((1, 3, 2), 7)}, r"roles\[cut_instr\]=7: no such box"),
    "object without area": ({"area": np.array([9, 0, 9])}, r"roles\[cut_instr\]=.*has no area inside the image"),
}


@pytest.mark.parametrize(("change", "message"), BAD_TRUTH.values(), ids=BAD_TRUTH)
def test_bad_ground_truth_is_refused(change: dict, message: str) -> None:
    arrays = small_truth(cutting(1, 2)) | change
    with pytest.raises(EvaluationFileError, match=f"ground_truth: .*{message}"):
        small_metric(ground_truth={key: array for key, array in arrays.items() if array is not None})


def test_repeated_images_and_persons_are_refused() -> None:
    truth = small_truth(cutting(1, 2), cutting(1, 2))
    with pytest.raises(EvaluationFileError, match=r"record 1 \(image 1\): id=1: the image is listed twice"):
        small_metric(ground_truth=truth)
    truth = small_truth(Scene(TWO, {0: {"stand": ()}, 3: {"stand": ()}}))
    with pytest.raises(EvaluationFileError, match=r"person=0: the person is listed twice"):
        small_metric(ground_truth=truth | {"person": np.zeros(2, int)})
