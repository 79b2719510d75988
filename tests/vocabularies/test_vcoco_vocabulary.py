import json
from pathlib import Path

import numpy as np
import pytest

from rlipv2 import vocabularies
from rlipv2.vocabularies import VocabularyError

VCOCO = vocabularies.load("vcoco")
SOURCE = Path(vocabularies.__file__).parent / "vcoco.json"


def edited(tmp_path, **changes):
    content = json.loads(SOURCE.read_text()) | changes
    path = tmp_path / "edited.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


def test_vcoco_has_the_published_sizes():
    assert len(VCOCO.label_space.objects) == 81
    assert len(VCOCO.label_space.relations) == len(VCOCO.verbs) == 29
    assert len(VCOCO.actions) == 26
    assert VCOCO.num_images == {"train": 2_533, "val": 2_867, "trainval": 5_400, "test": 4_946}
    assert VCOCO.pairs[:, 2].sum() == 13_838
    assert VCOCO.valid_pairs.shape == (29, 80)
    assert VCOCO.valid_pairs.sum() == 234


def test_objects_are_those_of_coco_and_missing_objects():
    coco = vocabularies.load("coco")
    assert VCOCO.objects[:-1] == coco.names
    np.testing.assert_array_equal(VCOCO.coco_ids, coco.category_ids)
    assert VCOCO.label_space.missing_object == VCOCO.missing_object == 80
    np.testing.assert_array_equal(VCOCO.coco_rows[VCOCO.coco_ids], np.arange(80))


def test_texts_are_those_of_the_published_name_list():
    texts = dict(zip(VCOCO.verbs, VCOCO.label_space.relations, strict=True))
    assert texts["sit_instr"] == "sit on/at"
    assert texts["drink_instr"] == "drink from"
    assert texts["talk_on_phone_instr"] == "talk on phone"


def test_actions_know_their_roles_in_the_order_of_the_release():
    actions = dict(VCOCO.actions)
    assert (actions["hit"], actions["eat"], actions["cut"]) == (("instr", "obj"), ("obj", "instr"), ("instr", "obj"))
    assert {name for name, roles in VCOCO.actions if not roles} == {"stand", "walk", "run", "smile"}
    assert VCOCO.verbs[VCOCO.verb_rows[7, 1]] == "eat_instr"
    assert sorted(VCOCO.verb_rows[VCOCO.verb_rows >= 0].tolist()) == list(range(29))
    assert VCOCO.has_role.sum() == 25


def test_the_published_average_leaves_point_out():
    assert {VCOCO.verbs[row] for row in np.flatnonzero(VCOCO.has_role)} - {
        VCOCO.verbs[row] for row in VCOCO.thesis
    } == {"point_instr"}


def test_everything_that_occurs_is_allowed_for_its_role():
    for verb, row, _ in VCOCO.pairs:
        assert VCOCO.has_role[verb]
        assert not VCOCO.role_objects[verb] or row in VCOCO.role_objects[verb]


def test_templates_word_all_but_missing_objects():
    space = vocabularies.load("vcoco", prompt="a person who does {raw}", object_prompt="a {raw}").label_space
    assert space.objects[0] == "a person"
    assert space.objects[-1] == "missing objects"
    assert space.relations[1] == "a person who does stand"
    with pytest.raises(ValueError, match="template with"):
        vocabularies.load("vcoco", prompt="ing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objects": ["person", "dog"]}, "the last one must be 'missing objects'"),
        ({"verbs": "hold"}, "verbs: expected a list of names"),
        ({"verb_text": ["hold"]}, "verb_text: expected a list as long as verbs"),
        ({"verb_role": None}, "verb_role: expected a list"),
        ({"verb_role": ["instr"] * 29}, "'hold_obj' is not the action 'hold' with the role 'instr'"),
        ({"actions": ["hold"]}, "'stand' is not the action"),
        ({"object_coco_ids": [1, 2]}, "ends with null"),
        ({"object_coco_ids": [*[1] * 80, None]}, "listed twice"),
        ({"trainval_pair_count_verb_object": [[29, 0, 1]]}, "a value lies outside"),
        ({"role_ap_verbs": [29]}, "role_ap_verbs: a value lies outside"),
        ({"verb_role_include": [[80]] * 29}, "verb_role_include: a value lies outside"),
    ],
)
def test_contradicting_files_are_refused(tmp_path, changes, message):
    with pytest.raises(VocabularyError, match=message):
        vocabularies.load(edited(tmp_path, **changes))
