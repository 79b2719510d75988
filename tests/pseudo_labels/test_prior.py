"""Relations that annotations with names have between classes."""

import json

import pytest

from rlipv2.pseudo_labels.__main__ import main
from rlipv2.pseudo_labels.matching import OfficialMatcher
from rlipv2.pseudo_labels.paraphrases import ClassWords
from rlipv2.pseudo_labels.prior import count_prior


def record(*triplets):
    objects, relations = [], []
    for number, (subject, text, target) in enumerate(triplets):
        objects += [{"object_id": 2 * number, "names": subject}, {"object_id": 2 * number + 1, "names": target}]
        relations.append({"predicate": text, "subject_id": 2 * number, "object_id": 2 * number + 1})
    return {"image_id": 1, "objects": objects, "relationships": relations}


RECORDS = [
    record(("Young Man", "riding", "horse"), ("man", "on", "horse"), ("tree", "behind", "man")),
    record(("fireman", "ON", "white horse"), ("horse", "near", "man"), ("man", "", "horse")),
]


def test_relations_are_counted_by_the_classes_that_names_stand_for():
    matcher = OfficialMatcher([ClassWords("person", ("person", "man")), ClassWords("horse", ("horse",))])
    assert count_prior(RECORDS, matcher) == {"person": {"horse": ["on", "riding"]}, "horse": {"person": ["near"]}}
    assert count_prior(RECORDS, matcher, min_count=2) == {"person": {"horse": ["on"]}}


def test_the_command_writes_a_prior(tmp_path, capsys):
    (tmp_path / "vg.json").write_text(json.dumps(RECORDS))
    assert main(["prior", str(tmp_path / "vg.json"), str(tmp_path / "prior.json")]) == 0
    assert "3 relations of two classes" in capsys.readouterr().out
    assert json.loads((tmp_path / "prior.json").read_text())["person"]["horse"] == ["on", "riding"]


@pytest.mark.parametrize(
    ("content", "told"), [([{"image_id": 1}], "a record without 'objects'"), ({}, "no list"), (None, "vg.json")]
)
def test_annotations_that_cannot_be_used_are_told(tmp_path, capsys, content, told):
    if content is not None:
        (tmp_path / "vg.json").write_text(json.dumps(content))
    assert main(["prior", str(tmp_path / "vg.json"), str(tmp_path / "prior.json")]) == 2
    assert told in capsys.readouterr().err
