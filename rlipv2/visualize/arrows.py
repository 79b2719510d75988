"""Arrows from a subject to its object: where they begin, bend and end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rlipv2.visualize.canvas import Point, Rectangle, Shape, circle, curve, polyline
from rlipv2.visualize.colours import WHITE, Colour

_INSET = 0.3  # arrows begin and end this far from the centre of a box, in parts of its sides
_SPREAD = 0.25  # distance between the middles of arrows that share both ends, in parts of their length
_MOST_SPREAD = 0.08  # the same at most, in parts of the diagonal of the picture


@dataclass(frozen=True)
class Curve:
    """A quadratic Bézier curve, in pixels of the drawing."""

    start: Point
    control: Point
    stop: Point

    def at(self, t: float) -> Point:
        """The point at parameter t, 0 at the start and 1 at the end."""
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t**2
        x, y = (a * p + b * q + c * r for p, q, r in zip(self.start, self.control, self.stop, strict=True))
        return x, y

    def part(self, first: float, last: float) -> "Curve":
        """The curve between two parameters."""
        # the control point of a part: the blossom of the curve at both ends
        ends = ((1 - first) * (1 - last), first + last - 2 * first * last, first * last)
        x, y = (
            sum(part * value for part, value in zip(ends, values, strict=True))
            for values in zip(self.start, self.control, self.stop, strict=True)
        )
        return Curve(self.at(first), (x, y), self.at(last))

    @property
    def length(self) -> float:
        """Length in pixels, nearly."""
        points = [self.at(k / 8) for k in range(9)]
        return sum(math.dist(*ends) for ends in pairwise(points))


def center(box: Rectangle) -> Point:
    """The middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def curves_between(pairs: Sequence[tuple[Rectangle, Rectangle]], frame: Point, size: float) -> list[Curve]:
    """A curve per pair of boxes (subject, object); those that would lie on each other bend apart.

    An arrow leads from near the centre of its subject to near the centre of its object. Where the centres are too near
    each other for that, as with a box in the middle of another one, it leads from side to side; and from equal boxes to
    each other it is a loop at a corner.

    Args:
        pairs: boxes in pixels of the drawing.
        frame: (width, height) of the drawing, which the curves do not leave.
        size: of the text on the arrows in pixels, for what is near.
    """
    straight = [_straight(subject, target, size) for subject, target in pairs]
    groups: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for row, (start, stop) in enumerate(straight):
        cells = [(round(x / size), round(y / size)) for x, y in (start, stop)]
        groups.setdefault(tuple(sorted(cells)), []).append(row)
    result: dict[int, Curve] = {}
    for rows in groups.values():
        for place, row in enumerate(rows):
            start, stop = straight[row]
            if math.dist(start, stop) < size:
                result[row] = loop(pairs[row][0], frame, 3 * size, place)
            else:
                side = place - (len(rows) - 1) / 2
                result[row] = bent(start, stop, side if start <= stop else -side, frame)
    return [result[row] for row in range(len(pairs))]


def arrow(path: Curve, colour: Colour, line: float) -> list[Shape]:
    """The shapes of an arrow that begins with a dot, on a white edge that sets it off from any picture."""
    size = min(6.5 * line, 0.45 * path.length)
    x, y = path.stop
    before = path.at(max(0.0, 1 - size / max(path.length, 1e-6)))
    length = max(math.dist(before, path.stop), 1e-6)
    dx, dy = (x - before[0]) / length, (y - before[1]) / length
    wide = 0.42 * size
    base = (x - dx * size, y - dy * size)
    head = polyline(
        [path.stop, (base[0] - dy * wide, base[1] + dx * wide), (base[0] + dy * wide, base[1] - dx * wide)],
        closed=True,
    )
    # The shaft ends inside of the head, whose tip stays sharp.
    part = max(0.0, 1 - 0.8 * size / max(path.length, 1e-6))
    shaft = curve(path.start, _between_points(path.start, path.control, part), path.at(part))
    dot = circle(path.start, 1.6 * line)
    return [
        Shape(shaft, stroke=WHITE, width=2 * line),
        Shape(head, stroke=WHITE, width=1.2 * line, fill=WHITE),
        Shape(dot, stroke=WHITE, width=1.2 * line, fill=WHITE),
        Shape(shaft, stroke=colour, width=line),
        Shape(head, fill=colour),
        Shape(dot, fill=colour),
    ]


def _straight(subject: Rectangle, target: Rectangle, size: float) -> tuple[Point, Point]:
    """Where the arrow from one box to another begins and ends."""
    (x1, y1), (x2, y2) = center(subject), center(target)
    dx, dy = x2 - x1, y2 - y1
    if math.hypot(dx, dy) < 4 * size:
        sides = _side_to_side(subject, target)
        if math.dist(*sides) > math.hypot(dx, dy):
            return sides
    first, last = _inset(subject, dx, dy), _inset(target, dx, dy)
    if first + last > 0.5:  # at least half of the way is left for the arrow
        first, last = 0.5 * first / (first + last), 0.5 * last / (first + last)
    return (x1 + first * dx, y1 + first * dy), (x2 - last * dx, y2 - last * dy)


def _side_to_side(subject: Rectangle, target: Rectangle) -> tuple[Point, Point]:
    """From a side of one box to the same side of the other: the one where they are farthest apart."""
    side = max(range(4), key=lambda k: abs(subject[k] - target[k]))
    low = max(subject[1 - side % 2], target[1 - side % 2])
    high = min(subject[3 - side % 2], target[3 - side % 2])
    across = (low + high) / 2
    if side % 2:
        return (across, subject[side]), (across, target[side])
    return (subject[side], across), (target[side], across)


def bent(start: Point, stop: Point, side: float, frame: Point) -> Curve:
    """A curve that bends to one side, by the more steps the larger `side` is, and stays in the frame."""
    dx, dy = stop[0] - start[0], stop[1] - start[1]
    bend = min(_SPREAD, _MOST_SPREAD * math.hypot(*frame) / max(math.hypot(dx, dy), 1e-6)) * side
    middle = (start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2
    top = (middle[0] - bend * dy, middle[1] + bend * dx)
    x, y = (min(max(value, 0.01 * room), 0.99 * room) for value, room in zip(top, frame, strict=True))
    return Curve(start, (2 * x - middle[0], 2 * y - middle[1]), stop)


def _inset(box: Rectangle, dx: float, dy: float) -> float:
    """Which part of the way (dx, dy) from the centre of a box lies in the ellipse that arrows keep clear of."""
    width, height = _INSET * max(box[2] - box[0], 1.0), _INSET * max(box[3] - box[1], 1.0)
    return 1 / max(math.hypot(dx / width, dy / height), 1e-6)


def loop(box: Rectangle, frame: Point, size: float, place: int) -> Curve:
    """A loop at a corner of a box: the k-th of several at the k-th corner that lies most inside of the picture."""
    x1, y1, x2, y2 = box
    corners = [(x2, y1, 1, -1), (x1, y1, -1, -1), (x2, y2, 1, 1), (x1, y2, -1, 1)]
    inside = [c for c in corners if 0 <= c[0] + c[2] * size <= frame[0] and 0 <= c[1] + c[3] * size <= frame[1]]
    if inside:
        x, y, right, down = inside[place % len(inside)]
        step = min(size, (x2 - x1) / 2, (y2 - y1) / 2)
        grown = size * (1 + 0.5 * (place // len(inside)))
        return Curve((x - right * step, y), (x + right * grown, y + down * grown), (x, y - down * step))
    # The box fills the picture: an arc inside of it.
    x, y = center(box)
    return Curve((x - 1.5 * size, y), (x, y - (2 + place) * size), (x + 1.5 * size, y))


def _between_points(start: Point, stop: Point, part: float) -> Point:
    return start[0] + part * (stop[0] - start[0]), start[1] + part * (stop[1] - start[1])
