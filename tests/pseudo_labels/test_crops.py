"""Parts of an image around pairs of boxes."""

import numpy as np

from rlipv2.pseudo_labels.crops import pair_crops
from rlipv2.pseudo_labels.records import LabelledImage


def image(*boxes, crowd=()):
    count = len(boxes)
    return LabelledImage(
        image_id=1,
        file_name="1.png",
        split="train",
        size=(100, 200),
        boxes_xywh=np.array(boxes, np.float64).reshape(-1, 4),
        labels=np.zeros(count, np.int64),
        crowd=np.isin(np.arange(count), crowd),
    )


def test_a_crop_is_around_both_boxes_of_a_pair():
    of_three = image((10, 20, 5, 5), (40.5, 10, 10.2, 30), (0, 0, 8, 8))
    assert pair_crops(of_three) == [(10, 10, 51, 40), (0, 0, 15, 25), (0, 0, 51, 40)]


def test_officially_a_crop_ends_where_the_first_box_ends():
    of_three = image((10, 20, 5, 5), (40.5, 10, 10.2, 30), (0, 0, 8, 8))
    assert pair_crops(of_three, quirk=True) == [(10, 10, 15, 25), (0, 0, 15, 25), (0, 0, 51, 40)]
    apart = image((0, 0, 5, 5), (50, 50, 10, 10))
    assert pair_crops(apart, quirk=True) == [(0, 0, 5, 5)]


def test_crowds_boxes_outside_and_pairs_beyond_the_hundredth_are_left_out():
    assert pair_crops(image((0, 0, 9, 9), (5, 5, 9, 9), (300, 300, 9, 9), crowd=[1])) == []
    many = image(*[(row, row, 20, 20) for row in range(20)])
    assert len(pair_crops(many)) == 100
    assert len(pair_crops(many, most=7)) == 7
    assert pair_crops(image()) == []
