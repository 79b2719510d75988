"""Parts of an image that are described on their own: one around each pair of boxes."""

import itertools
from typing import Literal

import numpy as np

from rlipv2.pseudo_labels.candidates import kept_boxes
from rlipv2.pseudo_labels.records import LabelledImage

Crops = Literal["union", "official_union"]
MOST = 100
"""Pairs of an image that are described."""

Corners = tuple[int, int, int, int]


def pair_crops(image: LabelledImage, *, quirk: bool = False, most: int = MOST) -> list[Corners]:
    """Corners x1 y1 x2 y2 in whole pixels around both boxes of each unordered pair, of the first `most` pairs.

    Pairs in lexicographic order of the kept boxes. Crops without a pixel are left out; an image may have none.
    Official: RLIP_caption_coco_dense.py of the BLIP fork.

    Args:
        image: with its boxes.
        quirk: as officially, a crop ends where the first box ends: the larger of x2 (y2) is that of the first box and
            itself.
        most: pairs that are looked at.
    """
    boxes = kept_boxes(image)[0]
    crops = []
    for first, second in itertools.islice(itertools.combinations(boxes, 2), most):
        start = np.floor(np.minimum(first[:2], second[:2]))
        end = np.ceil(first[2:] if quirk else np.maximum(first[2:], second[2:]))
        if (end > start).all():
            x1, y1, x2, y2 = np.concatenate([start, end]).astype(int).tolist()
            crops.append((x1, y1, x2, y2))
    return crops
