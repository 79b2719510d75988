"""The eleven objects, each drawn by one function in units of a person's height, standing on y = 0, facing right.

A glyph is its shapes from back to front plus named anchor points where hands, feet and seats go.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from rlipv2.microworld.shapes import Colour, Point, Real, Shape, arc, disc, ellipse, moved, polygon, ring, shade, stroke


class Palette(NamedTuple):
    """The colours of one object: they tell nothing about its class."""

    main: Colour
    accent: Colour


class Glyph(NamedTuple):
    """A drawn object with its anchor points."""

    shapes: list[Shape]
    anchors: dict[str, Point]

    def moved(self, factor: Point = 1, offset: Point = 0, *, mirrored: bool = False) -> "Glyph":
        """The glyph and its anchors moved alike: see `Shape.moved`."""
        anchors = {name: (-p.conjugate() if mirrored else p) * factor + offset for name, p in self.anchors.items()}
        return Glyph(moved(self.shapes, factor, offset, mirrored=mirrored), anchors)

    def placed(self, anchor: str, point: Point) -> "Glyph":
        """The glyph moved so that its anchor lies at `point`."""
        return self.moved(1, point - self.anchors[anchor])


def bicycle(palette: Palette) -> Glyph:
    """Two wheels, a frame, a saddle and a handlebar."""
    rear, front, crank, saddle, bar = -0.29 + 0.19j, 0.29 + 0.19j, 0.17j, -0.11 + 0.47j, 0.19 + 0.54j
    dark = shade(palette.main, 0.45)
    shapes = [ring(rear, 0.19, 0.04, dark), ring(front, 0.19, 0.04, dark), disc(crank, 0.05, palette.accent)]
    head = 0.2 + 0.42j
    for line in ((rear, crank, head), (rear, saddle + 0.02 - 0.06j, crank), (saddle - 0.05j, head), (bar, head, front)):
        shapes += stroke(line, 0.042, palette.main)
    shapes += stroke((saddle - 0.05, saddle + 0.06), 0.05, palette.accent)
    shapes += stroke((bar, bar + 0.07 + 0.02j), 0.04, palette.accent)
    return Glyph(shapes, {"saddle": saddle, "grip": bar + 0.05, "crank": crank, "middle": 0.25j, "front": front})


def horse(palette: Palette, *, stride: Real = 0.06) -> Glyph:
    """A long body with four legs, an upright neck with a mane, and a tail."""
    coat, mane = palette.main, palette.accent
    far = shade(coat, 0.7)
    shapes: list[Shape] = []
    for hip, foot, colour in (
        (-0.2 + 0.4j, -0.2 - stride, far),
        (0.24 + 0.4j, 0.22 + stride, far),
        (-0.27 + 0.4j, -0.28 + stride, coat),
        (0.17 + 0.4j, 0.2 - stride, coat),
    ):
        knee = (hip + foot) / 2 + 0.02
        shapes += stroke((hip, knee, foot + 0.02j), 0.065, colour)
        shapes += stroke((foot + 0.02j, foot + 0.03 + 0.02j), 0.05, shade(coat, 0.4))
    shapes += stroke((-0.33 + 0.5j, -0.42 + 0.42j, -0.43 + 0.24j), 0.06, mane)
    shapes += [ellipse(-0.02 + 0.46j, 0.34, 0.135, coat)]
    shapes += [polygon((0.14 + 0.5j, 0.25 + 0.42j, 0.45 + 0.72j, 0.31 + 0.86j), coat)]
    shapes += stroke((0.16 + 0.58j, 0.31 + 0.84j), 0.07, mane)
    shapes += stroke((0.37 + 0.79j, 0.54 + 0.66j), 0.11, coat)
    shapes += [polygon((0.3 + 0.84j, 0.35 + 0.95j, 0.39 + 0.84j), coat), disc(0.41 + 0.8j, 0.02, (20, 20, 20))]
    return Glyph(
        shapes, {"back": -0.05 + 0.58j, "reins": 0.27 + 0.72j, "halter": 0.45 + 0.67j, "middle": 0.48j, "rear": -0.3}
    )


def dog(palette: Palette, *, stride: Real = 0.03) -> Glyph:
    """A short-legged body, a head with a hanging ear, a tail that stands up."""
    coat, far = palette.main, shade(palette.main, 0.7)
    shapes: list[Shape] = []
    for hip, foot, colour in (
        (-0.14 + 0.18j, -0.14 - stride, far),
        (0.15 + 0.18j, 0.15 + stride, far),
        (-0.18 + 0.18j, -0.18 + stride, coat),
        (0.11 + 0.18j, 0.11 - stride, coat),
    ):
        shapes += stroke((hip, foot + 0.025j), 0.05, colour)
    shapes += stroke((-0.2 + 0.27j, -0.28 + 0.34j, -0.29 + 0.43j), 0.045, coat)
    shapes += stroke((-0.16 + 0.23j, 0.13 + 0.24j), 0.16, coat)
    shapes += stroke((0.15 + 0.27j, 0.21 + 0.37j), 0.1, coat)
    shapes += [disc(0.22 + 0.39j, 0.085, coat)]
    shapes += stroke((0.25 + 0.38j, 0.33 + 0.355j), 0.075, coat)
    shapes += [ellipse(0.17 + 0.38j, 0.04, 0.085, palette.accent), disc(0.36 + 0.37j, 0.022, (20, 20, 20))]
    shapes += [disc(0.255 + 0.415j, 0.016, (20, 20, 20))]
    shapes += stroke((0.14 + 0.3j, 0.2 + 0.28j), 0.03, palette.accent)
    return Glyph(shapes, {"collar": 0.18 + 0.3j, "middle": 0.23j, "belly": 0.13j, "rear": -0.2})


def chair(palette: Palette) -> Glyph:
    """A seat on four legs with a tall back rest at the left."""
    wood, far = palette.main, shade(palette.main, 0.65)
    shapes = stroke((-0.08 + 0.2j, -0.08 + 0.03j), 0.04, far) + stroke((0.16 + 0.2j, 0.16 + 0.03j), 0.04, far)
    shapes += stroke((-0.14 + 0.22j, -0.15 + 0.02j), 0.05, wood) + stroke((0.11 + 0.22j, 0.12 + 0.02j), 0.05, wood)
    shapes += stroke((-0.14 + 0.22j, -0.18 + 0.6j), 0.06, wood)
    shapes += [polygon((-0.17 + 0.18j, 0.16 + 0.18j, 0.18 + 0.25j, -0.17 + 0.25j), palette.accent)]
    shapes += [polygon((-0.2 + 0.42j, -0.13 + 0.42j, -0.15 + 0.6j, -0.22 + 0.6j), palette.accent)]
    return Glyph(shapes, {"seat": 0.02 + 0.25j, "middle": 0.3j, "under": 0.18j})


def umbrella(palette: Palette) -> Glyph:
    """A dome of two-coloured panels on a shaft with a hook."""
    rim, dark = 0.46j, shade(palette.main, 0.5)
    shapes = stroke((0.08j, 0.8j), 0.035, dark)
    shapes += stroke(arc(0.05 + 0.08j, 0.05, math.pi, 2 * math.pi, 6), 0.035, dark)
    shapes += [polygon(arc(rim, 0.36 + 0.34j, 0, math.pi), palette.main)]
    shapes += [polygon(arc(rim, 0.13 + 0.34j, 0, math.pi), palette.accent)]
    for left, right, colour in (
        (-0.36, -0.13, palette.main),
        (-0.13, 0.13, palette.accent),
        (0.13, 0.36, palette.main),
    ):
        center = rim + (left + right) / 2
        shapes += [polygon(arc(center, complex((right - left) / 2, -0.04), 0, math.pi, 8), shade(colour, 0.8))]
    return Glyph(shapes, {"grip": 0.16j, "middle": 0.5j})


def kite(palette: Palette) -> Glyph:
    """A diamond of four panels with a short tail of bows."""
    top, left, right, bottom, cross = 0.28j, -0.17 + 0.05j, 0.17 + 0.05j, -0.3j, 0.05j
    dark = shade(palette.main, 0.5)
    tail = (bottom, 0.05 - 0.38j, -0.02 - 0.46j)
    shapes = stroke(tail, 0.02, dark)
    for point in tail[1:]:
        shapes += [polygon((point, point + 0.05 + 0.035j, point + 0.05 - 0.035j), palette.accent)]
        shapes += [polygon((point, point - 0.05 + 0.035j, point - 0.05 - 0.035j), palette.accent)]
    for a, b, colour in (
        (top, left, palette.main),
        (left, bottom, palette.accent),
        (bottom, right, palette.main),
        (right, top, palette.accent),
    ):
        shapes += [polygon((cross, a, b), colour)]
    for line in ((top, left, bottom, right, top), (left, right), (top, bottom)):
        shapes += stroke(line, 0.018, dark)
    return Glyph(shapes, {"cross": cross, "edge": bottom + 0.1j, "middle": cross})


def sports_ball(palette: Palette) -> Glyph:
    """A ball with two curved seams and a patch."""
    center, radius = 0.15j, 0.15
    shapes = [disc(center, radius, shade(palette.main, 0.5)), disc(center, radius - 0.018, palette.main)]
    shapes += [disc(center, 0.06, palette.accent)]
    for k in range(5):
        ray = complex(math.cos(math.tau * k / 5 + 0.3), math.sin(math.tau * k / 5 + 0.3))
        shapes += stroke((center + 0.06 * ray, center + 0.125 * ray), 0.022, palette.accent)
    return Glyph(shapes, {"middle": center, "bottom": 0j, "left": -0.15 + 0.15j})


def bottle(palette: Palette) -> Glyph:
    """A wide body with a label, a neck and a cap."""
    glass = palette.main
    outline = (-0.125, 0.125, 0.125 + 0.26j, 0.05 + 0.37j, 0.05 + 0.46j, -0.05 + 0.46j, -0.05 + 0.37j, -0.125 + 0.26j)
    shapes = [polygon(outline, glass)]
    shapes += [polygon((-0.125 + 0.07j, 0.125 + 0.07j, 0.125 + 0.21j, -0.125 + 0.21j), palette.accent)]
    shapes += [polygon((-0.06 + 0.44j, 0.06 + 0.44j, 0.06 + 0.5j, -0.06 + 0.5j), shade(glass, 0.45))]
    shapes += stroke((-0.08 + 0.24j, -0.08 + 0.26j), 0.03, shade(glass, 1.6))
    return Glyph(shapes, {"middle": 0.2j, "grip": 0.24j, "neck": 0.41j})


def boat(palette: Palette) -> Glyph:
    """A hull with a stripe, and a mast with a sail on its front half."""
    hull = (-0.6 + 0.22j, 0.64 + 0.22j, 0.46 + 0j, -0.48 + 0j)
    shapes = stroke((0.2 + 0.2j, 0.2 + 0.86j), 0.04, shade(palette.main, 0.5))
    shapes += [polygon((0.235 + 0.3j, 0.235 + 0.84j, 0.56 + 0.32j), palette.accent)]
    shapes += [polygon((0.165 + 0.34j, 0.165 + 0.74j, 0.02 + 0.36j), shade(palette.accent, 0.8))]
    shapes += [polygon(hull, palette.main)]
    shapes += [polygon((-0.57 + 0.18j, 0.61 + 0.18j, 0.585 + 0.14j, -0.55 + 0.14j), palette.accent)]
    return Glyph(shapes, {"deck": -0.26 + 0.2j, "middle": 0.2 + 0.35j, "top": -0.2 + 0.24j})


def bench(palette: Palette) -> Glyph:
    """A wide seat seen from the front, with slats as back rest."""
    wood, dark = palette.main, shade(palette.accent, 0.6)
    shapes: list[Shape] = []
    for x in (-0.36, 0.36):
        shapes += stroke((x + 0.02j, x + 0.56j), 0.045, dark)
        shapes += stroke((x * 0.85 + 0.02j, x * 0.85 + 0.2j), 0.045, dark)
    for y in (0.5, 0.38):
        shapes += [
            polygon([complex(x, y + dy) for x, dy in ((-0.44, 0), (0.44, 0), (0.44, 0.075), (-0.44, 0.075))], wood)
        ]
    shapes += [polygon((-0.46 + 0.18j, 0.46 + 0.18j, 0.44 + 0.26j, -0.44 + 0.26j), shade(wood, 0.85))]
    return Glyph(shapes, {"seat": 0.26j, "middle": 0.4j})


def backpack(palette: Palette) -> Glyph:
    """A rounded bag with a flap, a front pocket and a loop to hold it by."""
    bag, dark = palette.main, shade(palette.main, 0.55)
    shapes = stroke(arc(0.36j, 0.06, 0, math.pi, 8), 0.03, dark)
    shapes += stroke((-0.1 + 0.06j, 0.1 + 0.06j), 0.12, bag) + stroke((-0.08 + 0.29j, 0.08 + 0.29j), 0.14, bag)
    shapes += [polygon((-0.16 + 0.06j, 0.16 + 0.06j, 0.15 + 0.29j, -0.15 + 0.29j), bag)]
    shapes += [polygon((-0.15 + 0.3j, 0.15 + 0.3j, 0.13 + 0.2j, -0.13 + 0.2j), dark)]
    shapes += stroke((-0.07 + 0.06j, 0.07 + 0.06j), 0.08, palette.accent)
    shapes += [polygon((-0.11 + 0.06j, 0.11 + 0.06j, 0.11 + 0.14j, -0.11 + 0.14j), palette.accent)]
    return Glyph(shapes, {"loop": 0.41j, "middle": 0.18j, "strap": 0.13 + 0.24j})


GLYPHS: dict[str, Callable[[Palette], Glyph]] = {
    "bicycle": bicycle,
    "horse": horse,
    "dog": dog,
    "chair": chair,
    "umbrella": umbrella,
    "kite": kite,
    "sports ball": sports_ball,
    "bottle": bottle,
    "boat": boat,
    "bench": bench,
    "backpack": backpack,
}
