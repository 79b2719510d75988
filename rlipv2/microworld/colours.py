"""Random colours that stand out from a background and tell nothing about a class."""

import colorsys
from collections.abc import Sequence
from random import Random

from rlipv2.microworld.glyphs import Palette
from rlipv2.microworld.person import Clothes
from rlipv2.microworld.shapes import Colour, shade

_SKINS: tuple[Colour, ...] = (
    (250, 220, 195),
    (235, 195, 160),
    (205, 155, 115),
    (160, 110, 75),
    (115, 75, 50),
    (80, 52, 36),
)
_HAIRS: tuple[Colour, ...] = (
    (30, 24, 20),
    (70, 45, 25),
    (130, 80, 40),
    (215, 185, 110),
    (150, 150, 150),
    (140, 50, 30),
)


def pick_colour(rng: Random, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A random hue with saturation and value within bounds."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return round(255 * red), round(255 * green), round(255 * blue)


def contrast(a: Colour, b: Colour) -> float:
    """How different two colours look, 0 to about 3: brightness counts most ("redmean" distance / 255)."""
    mean_red = (a[0] + b[0]) / 512
    weights = (2 + mean_red, 4.0, 3 - mean_red)
    return sum(w * (x - y) ** 2 for w, x, y in zip(weights, a, b, strict=True)) ** 0.5 / 255


def _distinct(rng: Random, background: Sequence[Colour], least: float) -> Colour:
    """The first of some random colours that stands out enough, else the best of them."""
    best, best_contrast = (0, 0, 0), -1.0
    for _ in range(12):
        colour = pick_colour(rng, (0.25, 1.0), (0.12, 1.0))
        worst = min(contrast(colour, other) for other in background)
        if worst > best_contrast:
            best, best_contrast = colour, worst
        if worst >= least:
            break
    return best


def pick_palette(background: Sequence[Colour], rng: Random) -> Palette:
    """Two colours of an object, apart from each other and from the background."""
    main = _distinct(rng, background, 0.75)
    return Palette(main, _distinct(rng, [*background, main], 0.5))


def pick_clothes(background: Sequence[Colour], rng: Random) -> Clothes:
    """The colours of a person."""
    skins = sorted(_SKINS, key=lambda skin: -min(contrast(skin, other) for other in background))
    skin = rng.choice(skins[:4])
    hair = rng.choice([hair for hair in _HAIRS if contrast(hair, skin) > 0.3])
    shirt = _distinct(rng, background, 0.7)
    return Clothes(skin, hair, shirt, _distinct(rng, [*background, shirt], 0.55))


def pick_ink(background: Sequence[Colour], inks: Sequence[Colour]) -> Colour:
    """The ink that stands out best."""
    return max(inks, key=lambda ink: min(contrast(ink, other) for other in background))


def pick_background(rng: Random) -> tuple[Colour, Colour]:
    """Two related colours, from pale to dark, never garish."""
    dark = rng.random() < 0.25
    value = (0.25, 0.5) if dark else (0.6, 0.95)
    first = pick_colour(rng, (0.08, 0.5), value)
    second = shade(first, rng.uniform(0.7, 1.25)) if rng.random() < 0.5 else pick_colour(rng, (0.08, 0.5), value)
    return first, second
