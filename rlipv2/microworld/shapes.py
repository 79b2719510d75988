"""Flat shapes on the complex plane, and the few operations that glyphs are built from.

Points are complex numbers, x to the right and y upwards, in units of a standing person's height. Moving,
turning, scaling and mirroring a glyph is then one multiplication and one addition per point.
"""

import cmath
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Colour = tuple[int, int, int]
# Checkers of annotations at run time do not take an int for a float, nor a float for a complex number.
Real = float | int
Point = complex | float | int


class Shape(NamedTuple):
    """A filled polygon; with a radius a disc about its only point; with a width as well a ring."""

    points: tuple[Point, ...]
    colour: Colour
    radius: Real = 0.0
    width: Real = 0.0

    def moved(self, factor: Point, offset: Point, *, mirrored: bool = False) -> "Shape":
        """The shape after an optional mirroring at the y axis, then times `factor`, then plus `offset`."""
        if mirrored:
            points = tuple(-p.conjugate() * factor + offset for p in self.points)
        else:
            points = tuple(p * factor + offset for p in self.points)
        scale = abs(factor)
        return Shape(points, self.colour, self.radius * scale, self.width * scale)


def moved(shapes: Iterable[Shape], factor: Point = 1, offset: Point = 0, *, mirrored: bool = False) -> list[Shape]:
    """All shapes moved alike: see `Shape.moved`."""
    return [shape.moved(factor, offset, mirrored=mirrored) for shape in shapes]


def polygon(points: Sequence[Point], colour: Colour) -> Shape:
    """A filled polygon."""
    return Shape(tuple(points), colour)


def disc(center: Point, radius: Real, colour: Colour) -> Shape:
    """A filled circle."""
    return Shape((center,), colour, radius)


def ring(center: Point, radius: Real, width: Real, colour: Colour) -> Shape:
    """A circle line whose outer edge has `radius`."""
    return Shape((center,), colour, radius, width)


def arc(center: Point, radius: Point, start: Real, stop: Real, steps: int = 14) -> list[Point]:
    """Points on a circle, or on an ellipse with half axes (real, imaginary) of a complex radius; angles in radians."""
    rx, ry = (radius.real, radius.imag) if isinstance(radius, complex) else (radius, radius)
    angles = (start + (stop - start) * i / steps for i in range(steps + 1))
    return [center + complex(rx * math.cos(a), ry * math.sin(a)) for a in angles]


def ellipse(center: Point, rx: Real, ry: Real, colour: Colour, steps: int = 18) -> Shape:
    """A filled ellipse with axes along x and y."""
    return polygon(arc(center, complex(rx, ry), 0, 2 * math.pi, steps)[:-1], colour)


def stroke(points: Sequence[Point], width: Real, colour: Colour) -> list[Shape]:
    """A line of even width with round ends and joints."""
    shapes = [disc(p, width / 2, colour) for p in points]
    for a, b in itertools.pairwise(points):
        if a != b:
            side = 0.5j * width * (b - a) / abs(b - a)
            shapes.append(polygon((a + side, b + side, b - side, a - side), colour))
    return shapes


def dotted(start: Point, stop: Point, spacing: Real, radius: Real, colour: Colour) -> list[Shape]:
    """Dots from `start` to `stop`, about `spacing` apart."""
    count = max(1, round(abs(stop - start) / spacing))
    return [disc(start + (stop - start) * (i + 0.5) / count, radius, colour) for i in range(count)]


def bent(start: Point, stop: Point, lengths: tuple[Real, Real], side: int) -> tuple[Point, Point, Point]:
    """Start, joint and end of a limb of two links that reaches for `stop`.

    `side` +1 bends it to the left of the line from start to stop, -1 to the right. Where `stop` is out of reach the
    limb points at it, so a caller must place contacts within reach.
    """
    first, second = lengths
    reach = stop - start
    distance = min(max(abs(reach), abs(first - second) + 1e-6), first + second - 1e-6)
    direction = reach / abs(reach) if reach else -1j
    cosine = (first**2 + distance**2 - second**2) / (2 * first * distance)
    joint = start + first * direction * cmath.exp(1j * side * math.acos(min(1.0, max(-1.0, cosine))))
    return start, joint, start + distance * direction


def bounds(shapes: Iterable[Shape]) -> tuple[Real, Real, Real, Real]:
    """Smallest x, smallest y, largest x, largest y of all shapes."""
    left, bottom, right, top = math.inf, math.inf, -math.inf, -math.inf
    for points, _, radius, _ in shapes:
        xs, ys = [p.real for p in points], [p.imag for p in points]
        left, right = min(left, min(xs) - radius), max(right, max(xs) + radius)
        bottom, top = min(bottom, min(ys) - radius), max(top, max(ys) + radius)
    return left, bottom, right, top


def shade(colour: Colour, factor: Real) -> Colour:
    """Darker (factor < 1) or, towards white, lighter (factor > 1)."""
    if factor <= 1:
        red, green, blue = (round(c * factor) for c in colour)
    else:
        red, green, blue = (round(255 - (255 - c) * (2 - factor)) for c in colour)
    return red, green, blue
