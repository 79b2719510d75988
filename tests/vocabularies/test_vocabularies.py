import json
from pathlib import Path

import numpy as np
import pytest

from rlipv2 import vocabularies
from rlipv2.vocabularies import VocabularyError

HICO = vocabularies.load("hico")
SOURCE = Path(vocabularies.__file__).parent / "hico_det.json"


def edited(tmp_path, **changes):
    content = json.loads(SOURCE.read_text()) | changes
    path = tmp_path / "edited.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


def test_hico_has_the_published_sizes():
    assert len(HICO.label_space.objects) == 80
    assert len(HICO.label_space.relations) == 117
    assert HICO.hois.shape == (600, 2)
    assert HICO.rare.sum() == 138
    assert HICO.train_counts.sum() == 117_871
    assert HICO.test_counts.sum() == 33_405


def test_rare_interactions_are_those_with_fewer_than_ten_training_instances():
    np.testing.assert_array_equal(HICO.rare, HICO.train_counts < 10)


@pytest.mark.parametrize(("setting", "unseen"), [("uc_rf", 120), ("uc_nf", 120), ("uo", 100), ("uv", 84)])
def test_every_zero_shot_setting_hides_its_number_of_interactions(setting, unseen):
    assert HICO.unseen[setting].sum() == unseen


@pytest.mark.parametrize("setting", ["uc_rf", "uc_nf"])
def test_unseen_combinations_leave_every_verb_and_object_seen(setting):
    seen = HICO.hois[~HICO.unseen[setting]]
    assert len(np.unique(seen[:, 0])) == 117
    assert len(np.unique(seen[:, 1])) == 80


def test_unseen_objects_and_verbs_are_hidden_in_all_their_interactions():
    for setting, column, count in (("uo", 1, 12), ("uv", 0, 20)):
        hidden = np.unique(HICO.hois[HICO.unseen[setting], column])
        assert len(hidden) == count
        np.testing.assert_array_equal(np.isin(HICO.hois[:, column], hidden), HICO.unseen[setting])


def test_unseen_rare_first_are_rare_and_non_rare_first_are_not():
    assert HICO.rare[HICO.unseen["uc_rf"]].all()
    assert not HICO.rare[HICO.unseen["uc_nf"]].any()


def test_hoi_ids_invert_hois():
    np.testing.assert_array_equal(HICO.hoi_ids[HICO.hois[:, 0], HICO.hois[:, 1]], np.arange(600))
    assert HICO.valid_pairs.sum() == 600
    np.testing.assert_array_equal(HICO.valid_pairs == 1, HICO.hoi_ids >= 0)


def test_known_interactions_are_where_the_official_list_has_them():
    def name(hoi):
        return HICO.verbs[HICO.hois[hoi, 0]], HICO.objects[HICO.hois[hoi, 1]]

    assert name(0) == ("board", "airplane")
    assert name(153) == ("ride", "motorcycle")
    assert name(599) == ("no_interaction", "zebra")


def test_coco_rows_invert_coco_ids_and_mark_unused_ones():
    np.testing.assert_array_equal(HICO.coco_rows[HICO.coco_ids], np.arange(80))
    assert (HICO.coco_rows[[0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83]] == -1).all()


def test_coco_agrees_with_the_objects_of_hico():
    coco = vocabularies.load("coco")
    assert coco.names == HICO.objects
    np.testing.assert_array_equal(coco.category_ids, HICO.coco_ids)


def test_raw_prompts_are_base_forms_with_spaces():
    assert HICO.label_space.relations[HICO.verbs.index("sit_on")] == "sit on"
    assert not any("_" in text for text in HICO.label_space.texts)


def test_ing_prompts():
    relations = vocabularies.load("hico", prompt="ing").label_space.relations
    assert relations[HICO.verbs.index("sit_on")] == "sitting on"
    assert relations[HICO.verbs.index("no_interaction")] == "no interaction with"


def test_templates_word_relations_and_objects():
    space = vocabularies.load("hico", prompt="a person {ing} it", object_prompt="a photo of a {raw}").label_space
    assert space.relations[0] == "a person adjusting it"
    assert space.objects[9] == "a photo of a traffic light"


@pytest.mark.parametrize("prompt", ["riding", "{verb}", "a {} b"])
def test_a_prompt_without_a_known_field_is_refused(prompt):
    with pytest.raises(ValueError, match="template with"):
        vocabularies.load("hico", prompt=prompt)


def test_objects_have_no_ing_form():
    with pytest.raises(ValueError, match="template with"):
        vocabularies.load("hico", object_prompt="ing")


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(VocabularyError, match="hico"):
        vocabularies.load("hicodet")


@pytest.mark.parametrize("found", ["rlipv2-vocab/2", None])
def test_another_format_is_refused(tmp_path, found):
    with pytest.raises(VocabularyError, match="rlipv2-vocab/1"):
        vocabularies.load(edited(tmp_path, format=found))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hois": [[0, 0], [0, 0]]}, "listed twice"),
        ({"hois": [[117, 0]]}, "hois: a value lies outside"),
        ({"hois": [[0, 1], [0]]}, "different lengths"),
        ({"rare_hois": [600]}, "rare_hois: a value lies outside"),
        ({"rare_hois": ["8"]}, "integers only"),
        ({"hoi_train_count": [1, 2]}, r"shape \(2,\), expected 600"),
        ({"hoi_test_count": None}, "is missing"),
        ({"verb_ing": ["riding"]}, "differ in length"),
        ({"objects": "person"}, "expected a list of names"),
    ],
)
def test_contradicting_files_are_refused(tmp_path, changes, message):
    with pytest.raises(VocabularyError, match=message):
        vocabularies.load(edited(tmp_path, **changes))


def test_a_file_by_path_reads_like_the_name(tmp_path):
    custom = vocabularies.load(edited(tmp_path, unseen={"UC-RF": []}))
    assert custom.label_space == HICO.label_space
    assert not custom.unseen["uc_rf"].any()


def test_broken_json_and_missing_files_name_the_path(tmp_path):
    (tmp_path / "cut.json").write_text('{"format": "rlip')
    with pytest.raises(VocabularyError, match=r"cut\.json: not JSON"):
        vocabularies.load(tmp_path / "cut.json")
    with pytest.raises(VocabularyError, match="no such file"):
        vocabularies.load(tmp_path / "nothing.json")


def test_objects365_has_its_classes_with_corrected_names_and_those_of_the_files():
    objects = vocabularies.load("objects365")
    assert len(objects) == 365
    assert objects.category_ids.tolist() == list(range(1, 366))
    assert (objects.names[0], objects.names[-1]) == ("person", objects.raw_names[-1].strip().lower())
    row = objects.names.index("monitor/tv")
    assert objects.raw_names[row] == "Moniter/TV"
    assert objects.rows[row + 1] == row


def test_coco_and_objects365_share_names():
    coco, objects = vocabularies.load("coco"), vocabularies.load("objects365")
    assert coco.raw_names == coco.names
    assert len(set(coco.names) & set(objects.names)) == 69
