import json

import pytest

from rlipv2.vocabularies import VocabularyError, load


def test_classes_of_the_release():
    vocabulary = load("open_images")
    assert (len(vocabulary.objects), len(vocabulary.relations)) == (601, 30)
    assert {number: vocabulary.objects[number] for number in (18, 285, 307, 586)} == {
        18: "Beer",
        285: "Bottle",
        307: "Man",
        586: "Accordion",
    }
    assert {number: vocabulary.relations[number] for number in (1, 13, 16, 28)} == {
        1: "holds",
        13: "inside_of",
        16: "contain",
        28: "plays",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"objects": ["a"]}, "relations: expected a list of names"),
        ({"objects": [], "relations": ["b"]}, "objects: expected a list of names"),
        ({"objects": ["a", 1], "relations": ["b"]}, "objects: expected a list of names"),
        ({"objects": ["a", "a"], "relations": ["b"]}, "objects: a name is listed twice"),
    ],
)
def test_files_that_contradict_themselves_are_refused(tmp_path, content, message):
    path = tmp_path / "names.json"
    path.write_text(json.dumps(content | {"format": "rlipv2-vocab/1", "dataset": "open_images_v6_sgg"}))
    with pytest.raises(VocabularyError, match=message):
        load(path)
