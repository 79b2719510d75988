import json

import pytest

from rlipv2.structures import InferenceSettings


def test_settings_come_back_from_json():
    settings = InferenceSettings(
        short_side=128, max_size=None, mode="scene_graph", nms=None, possible=(("ride", "horse"), ("ride", "dog"))
    )
    assert InferenceSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert settings.to_dict()["possible"] == {"ride": ["horse", "dog"]}
    assert InferenceSettings.from_dict({}) == InferenceSettings()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"short_side": 0}, "short_side=0"),
        ({"short_side": 12.5}, "short_side=12.5"),
        ({"max_size": -1}, "max_size=-1"),
        ({"mode": "sgg"}, "mode='sgg': expected hoi or scene_graph"),
        ({"subject": " "}, "subject=' '"),
        ({"subject_filter": 1}, "subject_filter=1"),
        ({"nms": 1.5}, "nms=1.5: expected an overlap"),
        ({"possible": ["ride"]}, "possible: expected lists"),
        ({"shortside": 3}, r"unknown settings \['shortside'\]"),
        ([], "expected an object"),
    ],
)
def test_settings_without_sense_are_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        InferenceSettings.from_dict(values)
