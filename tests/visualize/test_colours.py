from itertools import combinations

import numpy as np
import pytest

from rlipv2.visualize.colours import PALETTE, RIGHT, WHITE, WRONG, colour_of, contrast, ink_on

# Machado, Oliveira, Fernandes (2009), table 1, severity 1.0; for linear RGB.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colour, vision):
    """CIE L*a*b* (D65) of an sRGB colour as somebody sees it."""
    unit = np.asarray(colour) / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(VISIONS[vision]) @ linear, 0, 1)
    ratio = TO_XYZ @ seen / TO_XYZ.sum(1)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def difference(first, second, vision):
    return float(np.linalg.norm(lab(first, vision) - lab(second, vision)))


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_differ_for_all_kinds_of_colour_vision(vision):
    # 2.3 is what can just be seen side by side
    assert min(difference(*pair, vision) for pair in combinations(PALETTE, 2)) > 10
    assert difference(RIGHT, WRONG, vision) > 15
    assert min(difference(colour, WHITE, vision) for colour in PALETTE) > 25


def test_text_can_be_read_on_all_grounds():
    assert min(contrast(ink_on(colour), colour) for colour in PALETTE) > 4.3
    assert min(contrast(colour, WHITE) for colour in (RIGHT, WRONG)) > 4.5


def test_the_first_dozen_looks_different():
    assert len({colour_of(number) for number in range(12)}) == 12
    assert colour_of(12) == colour_of(0)
