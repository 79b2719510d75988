"""Colours that readers with any colour vision can tell apart, and ink that can be read on them."""

from functools import cache

Colour = tuple[int, int, int]

# Okabe and Ito (2008), without black and without the yellow that drowns on white.
PALETTE: tuple[Colour, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
)
RIGHT: Colour = (0, 120, 85)
WRONG: Colour = (190, 70, 0)
INK: Colour = (25, 25, 25)
GREY: Colour = (100, 100, 100)
PALE: Colour = (200, 200, 200)
WHITE: Colour = (255, 255, 255)


def colour_of(number: int) -> tuple[Colour, bool]:
    """The colour of the n-th thing, and whether its outline is dashed: the palette twice, then again from the start."""
    return PALETTE[number % len(PALETTE)], number // len(PALETTE) % 2 == 1


@cache
def ink_on(ground: Colour) -> Colour:
    """Black or white, whichever has more contrast on a colour (WCAG 2 contrast ratio)."""
    return max((INK, WHITE), key=lambda ink: contrast(ink, ground))


def contrast(first: Colour, second: Colour) -> float:
    """Contrast ratio of two colours after WCAG 2: 1 for equal ones, 21 for black on white; text wants 4.5.

    >>> contrast((0, 0, 0), (255, 255, 255))
    21.0
    """
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Colour) -> float:
    red, green, blue = (
        value / 255 / 12.92 if value / 255 <= 0.04045 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
