"""What a run says about preparing images and scoring pairs."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from rlipv2.models.postprocess import postprocess, tagged_pairs
from rlipv2.structures import InferenceSettings, LabelSpace
from rlipv2.tasks.inference import inference_settings, possible_names

SPACE = LabelSpace(["person", "horse", "missing objects"], ["ride", "walk"])


def data(space=SPACE, **arguments):
    transform = SimpleNamespace(short_sides=(128,), max_size=160)
    return SimpleNamespace(eval_transform=transform, label_space=space, metric_arguments=lambda: arguments)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"mode": "hoi", "subject": "person"}),
        ({"mode": "scene_graph"}, {"mode": "scene_graph"}),
        ({"subject_label": 1, "subject_filter": True}, {"subject": "horse", "subject_filter": True}),
    ],
)
def test_sizes_come_from_the_data_and_scoring_from_the_task(options, expected):
    found = inference_settings(partial(postprocess, **options), data())
    assert found == InferenceSettings(short_side=128, max_size=160, **expected)


def test_suppression_is_that_of_the_metric():
    rules = SimpleNamespace(nms=True, nms_threshold=0.6)
    without = SimpleNamespace(rules=SimpleNamespace(nms=False, nms_threshold=0.6))
    assert inference_settings(postprocess, data(), [SimpleNamespace(), SimpleNamespace(rules=rules)]).nms == 0.6
    assert inference_settings(postprocess, data(), [without]).nms is None
    assert inference_settings(postprocess, data()).nms == 0.7


def test_what_predicts_no_pairs_of_resized_images_has_no_settings():
    assert inference_settings(tagged_pairs, data()) is None
    assert inference_settings(postprocess, data(space=None)) is None
    assert inference_settings(postprocess, SimpleNamespace(label_space=SPACE)) is None


def test_combinations_that_count_are_named():
    always = {("ride", "missing objects"), ("walk", "missing objects")}
    assert set(possible_names({"hois": np.array([[0, 1]])}, SPACE)) == {("ride", "horse"), *always}
    assert set(possible_names({"validity": np.array([[0, 1], [0, 0]])}, SPACE)) == {("ride", "horse"), *always}
    assert possible_names({"num_objects": 3}, SPACE) is None
