import pytest

from rlipv2.structures import LabelSpace


def test_the_background_text_is_no_object():
    with pytest.raises(ValueError, match=r"objects\[1\] = 'no objects': .* appended to the objects; leave it out"):
        LabelSpace(objects=("person", "no objects"), relations=("ride",))
    assert LabelSpace(objects=("person",), relations=("ride",)).texts == ("person", "no objects", "ride")
