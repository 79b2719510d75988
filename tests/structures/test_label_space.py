import pytest

from rlipv2.structures import LabelSpace


def test_the_background_text_is_no_object():
    with pytest.raises(ValueError, match=r"objects\[1\] = 'no objects': .* appended to the objects; leave it out"):
        LabelSpace(objects=("person", "no objects"), relations=("ride",))
    assert LabelSpace(objects=("person",), relations=("ride",)).texts == ("person", "no objects", "ride")


def test_missing_objects_are_an_object_class_of_their_own():
    assert LabelSpace(objects=("person",), relations=("ride",)).missing_object is None
    space = LabelSpace(objects=("person", "horse", "missing objects"), relations=("ride",))
    assert space.missing_object == 2
    assert space.texts == ("person", "horse", "missing objects", "no objects", "ride")
