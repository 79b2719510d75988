"""The V-COCO metric on the recorded case: figures, counts, state, arguments. Rules by hand: test_vcoco_rules.py."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torchmetrics import MetricCollection

from rlipv2.metrics import VCOCORoleAP
from rlipv2.metrics.vcoco.protocol import VCOCOProtocol
from rlipv2.metrics.vcoco.tables import VCOCO_ACTIONS, VCOCO_VERBS, VerbTable
from rlipv2.structures import PairPredictions
from tests.metrics.vcoco_cases import (
    ACTIONS,
    ANNE,
    BOTTLE,
    KNIFE,
    PERSON,
    DevCase,
    Scene,
    annotation,
    evaluated,
    small_metric,
    small_predictions,
    small_truth,
)

ROOT = Path(__file__).parents[2]
CUTTING = Scene([(PERSON, ANNE), (BOTTLE, KNIFE)], {0: {"cut": (1, -1)}})
FOUND = (ANNE, KNIFE, BOTTLE, {"cut_instr": 0.9})


def values(metric: VCOCORoleAP) -> dict[str, float]:
    return {key: value.item() for key, value in metric.compute().items()}


@pytest.fixture(scope="module")
def evaluated_dev(vcoco_dev: DevCase) -> VCOCORoleAP:
    return vcoco_dev.run()


def test_role_ap_equals_the_official_one(vcoco_dev: DevCase, evaluated_dev: VCOCORoleAP) -> None:
    arrays, slots = evaluated_dev.per_class(), evaluated_dev.table.slots
    for scenario in (1, 2):
        expected = vcoco_dev.expected["role_ap"][f"scenario_{scenario}"]
        assert list(expected) == list(slots)
        np.testing.assert_allclose(arrays[f"role_{scenario}/ap"], [row["ap"] for row in expected.values()], atol=1e-6)
        for ours, theirs in (("num_detections", "n_det"), ("num_true_positives", "n_tp")):
            found = arrays[f"role_{scenario}/{ours}"].tolist()
            assert found == [row[theirs] for row in expected.values()]


def test_agent_ap_equals_the_official_one(vcoco_dev: DevCase, evaluated_dev: VCOCORoleAP) -> None:
    arrays, expected = evaluated_dev.per_class(), vcoco_dev.expected["agent_ap"]
    assert list(expected) == list(evaluated_dev.table.actions)
    np.testing.assert_allclose(arrays["agent/ap"], [row["ap"] for row in expected.values()], atol=1e-6)
    assert arrays["agent/num_true_positives"].tolist() == [row["n_tp"] for row in expected.values()]
    assert arrays["agent/num_detections"].tolist() == [row["n_det"] for row in expected.values()]
    assert arrays["num_positives"].tolist() == list(vcoco_dev.expected["positives"].values())


def test_in_training_figures_equal_the_official_ones(vcoco_dev: DevCase, evaluated_dev: VCOCORoleAP) -> None:
    arrays, expected = evaluated_dev.per_class(), vcoco_dev.expected["in_training"]
    for verb, ap in zip(evaluated_dev.table.verbs, arrays["in_training/ap"], strict=True):
        assert ap == pytest.approx(expected[f"AP_{verb}"], abs=1e-9)
    counts = dict(zip(evaluated_dev.table.verbs, arrays["num_labelled"].tolist(), strict=True))
    assert counts == vcoco_dev.expected["in_training_n_gt"]


def test_means_equal_the_official_ones(vcoco_dev: DevCase, evaluated_dev: VCOCORoleAP) -> None:
    expected = {"agent_ap": vcoco_dev.expected["agent_mean_26"]}
    for scenario in (1, 2):
        means = vcoco_dev.expected["role_mean"][f"scenario_{scenario}"]
        expected |= {
            f"role_ap_{scenario}": means["mean_24_without_point"],
            f"role_ap_{scenario}_with_point": means["mean_25"],
        }
    for ours, theirs in (("map_all", "mAP_all"), ("map_thesis", "mAP_thesis")):
        expected[f"in_training/{ours}"] = vcoco_dev.expected["in_training"][theirs]
    assert values(evaluated_dev) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("batch_size", [1, 37, 399])
def test_the_size_of_batches_and_the_order_of_images_do_not_matter(
    vcoco_dev: DevCase, evaluated_dev: VCOCORoleAP, batch_size: int
) -> None:
    order = np.random.default_rng(batch_size).permutation(399)
    assert values(vcoco_dev.run(batch_size, order)) == values(evaluated_dev)


def test_images_that_come_again_do_not_count(vcoco_dev: DevCase, evaluated_dev: VCOCORoleAP) -> None:
    again = vcoco_dev.run(order=np.concatenate([np.arange(399), [3, 0, 398]]))
    assert values(again) == values(evaluated_dev)
    assert again.counts() == evaluated_dev.counts()
    assert again.counts()["images"] == 399


def test_only_images_that_were_given_count(vcoco_dev: DevCase) -> None:
    some = vcoco_dev.run(order=np.arange(100))
    assert 0 < some.counts()["positives"] < sum(vcoco_dev.expected["positives"].values())


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"unannotated": "skip_overlapping"}, {"role_ap_1", "role_ap_2", "agent_ap"}),
        ({"unannotated": "count"}, {"role_ap_1", "role_ap_2", "agent_ap"}),
        ({"missing_role": "box"}, {"role_ap_1"}),
        ({"box_convention": "continuous"}, {"role_ap_1", "role_ap_2", "agent_ap"}),
        ({"match_threshold": 0.6}, {"role_ap_1", "agent_ap", "in_training/map_all"}),
        ({"top_k": 20}, {"in_training/map_all"}),
        ({"top_k": None}, {"in_training/map_all"}),
        ({"recall_levels": "decimal"}, {"in_training/map_all"}),
        ({"recall_levels": "area"}, {"in_training/map_all"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_every_option_changes_its_figures(vcoco_few: DevCase, options: dict, changed: set[str]) -> None:
    official, other = values(vcoco_few.run()), values(vcoco_few.run(**options))
    assert {key for key in official if official[key] != other[key]} >= changed
    if "top_k" in options or "recall_levels" in options:
        assert official["role_ap_1"] == other["role_ap_1"]


def test_images_may_have_different_numbers_of_pairs(vcoco_few: DevCase) -> None:
    """Pairs that are left out equal pairs that hit nothing with a score below all others."""
    short, padded, together = (VCOCORoleAP(ground_truth=vcoco_few.truth, unannotated="count") for _ in range(3))
    cuts = []
    for row, full in enumerate(vcoco_few.predictions):
        keep = torch.arange(100) % (2 + row % 3) > 0
        cut = PairPredictions(**{name: tensor[keep] for name, tensor in vars(full).items()})
        cuts.append(cut)
        fields = vars(full) | {"relation_scores": torch.where(keep[:, None], full.relation_scores, -1.0)}
        fields["subject_boxes"] = torch.where(keep[:, None], full.subject_boxes, torch.tensor([9e3, 9e3, 9e3, 9e3]))
        padded.update([PairPredictions(**fields)], vcoco_few.annotations[row : row + 1])
        short.update([cut], vcoco_few.annotations[row : row + 1])
    assert values(short) == pytest.approx(values(padded), abs=1e-12)
    together.update(cuts, vcoco_few.annotations)
    assert values(together) == values(short)


def test_the_configuration_asks_for_the_official_rules() -> None:
    options = yaml.safe_load((ROOT / "conf" / "metric" / "vcoco.yaml").read_text())["vcoco"]
    assert (options.pop("_target_"), options.pop("_partial_")) == ("rlipv2.metrics.VCOCORoleAP", True)
    assert VCOCOProtocol(**options) == VCOCOProtocol()


def test_the_tables_are_those_of_v_coco() -> None:
    table = VerbTable.create(VCOCO_ACTIONS, VCOCO_VERBS)
    assert (len(table.actions), len(table.verbs), len(table.slots)) == (26, 29, 25)
    assert table.published.sum() == table.thesis.sum() == 24
    assert [verb for verb, chosen in zip(table.verbs, table.thesis, strict=True) if not chosen] == [
        "stand",
        "walk",
        "run",
        "smile",
        "point_instr",
    ]


def test_no_image_at_all_gives_nan_and_keeps_the_names(evaluated_dev: VCOCORoleAP) -> None:
    metric = small_metric(CUTTING)
    metric.update([], [])
    empty = values(metric)
    assert all(np.isnan(value) for value in empty.values())
    assert list(empty) == list(values(evaluated_dev))


def test_an_image_without_pairs_counts_its_persons() -> None:
    metric = small_metric(CUTTING, Scene(CUTTING.boxes, CUTTING.does, number=2))
    metric.update([small_predictions(), small_predictions(FOUND)], [annotation(1), annotation(2)])
    assert metric.compute()["role_ap_1"] == 0.25  # half of cut_instr, nothing of cut_obj


def test_half_precision_scores_are_accepted() -> None:
    metric = small_metric(CUTTING)
    found = small_predictions(FOUND)
    metric.update(
        [PairPredictions(**vars(found) | {"relation_scores": found.relation_scores.bfloat16()})], [annotation(1)]
    )
    assert metric.per_class()["role_1/ap"][0] == 1


def test_reset_and_copies_start_from_what_they_should() -> None:
    metric = evaluated(CUTTING, FOUND)
    value = values(metric)["role_ap_1"]
    twin = pickle.loads(pickle.dumps(copy.deepcopy(metric)))
    metric.reset()
    metric.update([], [])
    assert torch.isnan(metric.compute()["role_ap_1"])
    assert values(twin)["role_ap_1"] == value


def test_per_class_follows_later_updates() -> None:
    metric = small_metric(CUTTING, Scene(CUTTING.boxes, CUTTING.does, number=2))
    for image in (1, 2):
        metric.update([small_predictions(FOUND)], [annotation(image)])
        assert metric.per_class()["num_positives"].tolist() == [0, image, 0]


def test_it_works_in_a_collection() -> None:
    collection = MetricCollection({"vcoco": small_metric(CUTTING)}, prefix="val/")
    collection.update([small_predictions(FOUND)], [annotation(1)], torch.tensor([0]))
    assert collection.compute()["val/role_ap_1"] == 0.5


def test_the_state_of_the_test_split_stays_small(vcoco_dev: DevCase, evaluated_dev: VCOCORoleAP) -> None:
    states = [part for name in evaluated_dev.STATES for part in getattr(evaluated_dev, name)]
    assert sum(part.numel() * part.element_size() for part in states) / 399 < 16_500  # bytes per image: 82 MB


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"actions": ACTIONS + ACTIONS[:1]}, "each .action, role. once"),
        ({"verbs": ("cut_obj", "stand", "point_instr")}, "one column for each of"),
        ({"verbs": ("cut_obj", "stand", "point_instr", "cut_obj")}, "one column for each of"),
        ({"validity": np.ones((4, 7))}, "validity: shape .4, 7.; expected .4, 3., verbs x objects"),
        ({"validity": np.full((4, 3), -1.0)}, "finite numbers from 0"),
        ({"category_ids": (1, 2, 3)}, "category_id=44: none of the 3 categories"),
        ({"unannotated": "drop"}, "unannotated='drop': expected one of"),
        ({"missing_role": "zero"}, "missing_role"),
        ({"box_convention": "voc"}, "box_convention"),
        ({"recall_levels": "voc"}, "recall_levels"),
        ({"missing_verbs": "voc"}, "missing_verbs"),
        ({"match_threshold": 0.0}, "match_threshold=0.0"),
        ({"top_k": 0}, "top_k=0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        small_metric(CUTTING, **options)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"relation_scores": torch.zeros(1, 5)}, "score 5 relations, the metric has 4"),
        ({"relation_scores": torch.full((1, 4), torch.nan)}, "not finite"),
        ({"object_labels": torch.tensor([4])}, "labels from 4 to 4, the metric has 4 objects"),
        ({"object_labels": torch.tensor([-1])}, "labels from -1"),
    ],
)
def test_predictions_of_another_label_space_are_refused(fields: dict, message: str) -> None:
    metric = small_metric(CUTTING)
    with pytest.raises(ValueError, match=message):
        metric.update([PairPredictions(**vars(small_predictions(FOUND)) | fields)], [annotation(1)])


def test_images_that_are_not_in_the_split_are_refused() -> None:
    truth = small_truth(CUTTING, Scene([(PERSON, ANNE)], number=2)) | {"in_split": np.array([True, False])}
    metric = small_metric(ground_truth=truth)
    for number in (2, 7):
        with pytest.raises(ValueError, match=rf"image {number} is not part of the split .*\(1 images\)"):
            metric.update([small_predictions(FOUND)], [annotation(number)])


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 predictions and 2 annotations"):
        small_metric(CUTTING).update([small_predictions(FOUND)], [annotation(1), annotation(1)])


@pytest.mark.gpu
def test_tensors_on_a_gpu_give_the_same_figures(vcoco_dev: DevCase, evaluated_dev: VCOCORoleAP) -> None:
    metric = VCOCORoleAP(ground_truth=vcoco_dev.truth).cuda()
    metric.update([prediction.to("cuda") for prediction in vcoco_dev.predictions], vcoco_dev.annotations)
    assert values(metric) == values(evaluated_dev)
