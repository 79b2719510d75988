import numpy as np
import pytest

from rlipv2.structures import LabelSpace
from rlipv2.vocabularies import (
    VocabularyError,
    label_space_names,
    load,
    named_label_space,
    object_names,
    possible_combinations,
)


@pytest.mark.parametrize(
    ("name", "objects", "relations"), [("hico", 80, 117), ("vcoco", 81, 29), ("open_images", 601, 30)]
)
def test_every_name_builds_a_label_space(name, objects, relations):
    space = named_label_space(name)
    assert (len(space.objects), len(space.relations)) == (objects, relations)
    assert name in label_space_names()
    assert named_label_space(name) is space


@pytest.mark.parametrize(
    ("name", "count"), [("coco", 80), ("hico", 80), ("objects365", 365), ("open_images", 601), ("vcoco", 80)]
)
def test_objects_alone_are_listed_without_the_class_of_missing_ones(name, count):
    assert len(object_names(name)) == count
    assert LabelSpace(object_names(name), ["near"]).missing_object is None


def test_unknown_names_are_refused_with_those_there_are():
    with pytest.raises(VocabularyError, match=r"'vg'; use one of hico, vcoco, open_images"):
        named_label_space("vg")
    with pytest.raises(VocabularyError, match=r"combine object_names\('coco'\) with relations"):
        named_label_space("coco")
    with pytest.raises(VocabularyError, match="use one of coco, hico"):
        object_names("vg")


def test_the_datasets_know_which_relations_go_with_an_object():
    hico = named_label_space("hico")
    valid = possible_combinations(hico)
    assert valid.sum() == 600
    assert valid[hico.relations.index("ride"), hico.objects.index("horse")] == 1
    assert valid[hico.relations.index("ride"), hico.objects.index("apple")] == 0
    vcoco = possible_combinations(named_label_space("vcoco"))
    assert np.array_equal(vcoco[:, :-1], load("vcoco").valid_pairs)
    assert vcoco[:, -1].all()
    assert possible_combinations(named_label_space("open_images")) is None
    assert possible_combinations(LabelSpace(hico.objects, ["ride"])) is None
