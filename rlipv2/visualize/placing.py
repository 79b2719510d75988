"""Finding places for labels: never on each other, never out of the picture, and off what should stay in sight."""

import math
from collections.abc import Sequence

import numpy as np

from rlipv2.visualize.canvas import Point, Rectangle

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_STEPS = 320


class Places:
    """The places taken by labels in a frame, and what new ones had better not hide.

    Args:
        frame: (width, height) in pixels.
        gap: least distance between two labels, in pixels.
    """

    def __init__(self, frame: Point, gap: float) -> None:
        self.frame = frame
        self.gap = gap
        self.taken: list[Rectangle] = []
        self._points = np.zeros((0, 4))
        self._boxes = np.zeros((0, 5))

    def avoid_points(self, points: Sequence[Point], cost: float, owner: int = -1) -> None:
        """Makes places that hide these points dearer by `cost` each, but for labels of the same owner."""
        rows = np.array([(x, y, cost, owner) for x, y in points]).reshape(-1, 4)
        self._points = np.concatenate([self._points, rows])

    def avoid_boxes(self, boxes: Sequence[Rectangle], cost: float) -> None:
        """Makes places that hide these boxes dearer by `cost` for each that is hidden whole."""
        rows = np.array([(*box, cost) for box in boxes]).reshape(-1, 5)
        self._boxes = np.concatenate([self._boxes, rows])

    @property
    def covered(self) -> float:
        """The part of the frame that is taken."""
        areas = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in self.taken)
        return areas / max(self.frame[0] * self.frame[1], 1e-6)

    def take(self, size: Point, corners: np.ndarray, costs: np.ndarray, owner: int = -2) -> Rectangle | None:
        """The cheapest free place for a label, which is then taken, or None.

        Args:
            size: (width, height) of the label.
            corners: upper left corners to try, "n 2"; those that do not lie in the frame are no places.
            costs: of each of them; what the place hides is added.
            owner: whose own points may be hidden.
        """
        places = np.concatenate([corners, corners + np.asarray(size)], axis=1)
        inside = np.concatenate([places[:, :2] >= 0, places[:, 2:] <= np.asarray(self.frame)], axis=1)
        places, costs = places[inside.all(1)], costs[inside.all(1)]
        if self.taken:
            free = np.logical_not(_touching(places, np.array(self.taken), self.gap).any(1))
            places, costs = places[free], costs[free]
        if not len(places):
            return None
        costs = costs + self._hidden(places, owner)
        x1, y1, x2, y2 = places[int(costs.argmin())].tolist()
        self.reserve((x1, y1, x2, y2))
        return x1, y1, x2, y2

    def reserve(self, place: Rectangle) -> None:
        """Keeps labels off a place."""
        self.taken.append(place)

    def _hidden(self, places: np.ndarray, owner: int) -> np.ndarray:
        x, y, cost = self._points[self._points[:, 3] != owner, :3].T
        inside = (
            (x > places[:, :1]) & (x < places[:, 2:3]) & (y > places[:, 1:2]) & (y < places[:, 3:4])
        )  # each "n points"
        areas = (self._boxes[:, 2] - self._boxes[:, 0]) * (self._boxes[:, 3] - self._boxes[:, 1])
        covered = overlaps(places, self._boxes[:, :4]) / np.maximum(areas, 1e-6)
        return inside @ cost + covered @ self._boxes[:, 4]


def _touching(first: np.ndarray, second: np.ndarray, gap: float) -> np.ndarray:
    """Whether boxes "n 4" and "m 4" overlap when each of the second is `gap` wider on all sides, "n m"."""
    low, high = second[:, :2] - gap, second[:, 2:] + gap
    apart = (first[:, None, :2] >= high) | (first[:, None, 2:] <= low)
    return np.asarray(np.logical_not(apart.any(-1)))


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Areas "n m" that boxes "n 4" and "m 4" share."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.maximum(high - low, 0).prod(-1)


def around(point: Point, size: Point, frame: Point, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners of labels around a point, and how far they are from it in parts of `reach`.

    They lie on a spiral of even density, wider than high as text is; those that leave the frame are pushed back in.

    Args:
        point: that the label means.
        size: (width, height) of the label.
        frame: (width, height) of the picture.
        reach: largest distance in pixels.
    """
    steps = np.arange(_STEPS)
    radius, angle = reach * np.sqrt(steps / _STEPS), steps * _GOLDEN_ANGLE
    middle = np.stack([point[0] + 1.4 * radius * np.cos(angle), point[1] + radius * np.sin(angle)], axis=1)
    room = np.maximum(np.asarray(frame) - np.asarray(size), 0)
    corners = np.clip(middle - np.asarray(size) / 2, 0, room)
    moved = np.abs(corners + np.asarray(size) / 2 - np.asarray(point)) / (1.4, 1.0)
    return corners, np.hypot(*moved.T) / max(reach, 1e-6)


def beside(box: Rectangle, size: Point, line: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners of labels that touch a box, and what each costs: above its upper edge first, then below, then inside.

    Args:
        box: what the label names.
        size: (width, height) of the label.
        line: width of the outline of the box.
    """
    (x1, y1, x2, y2), (width, height), half = box, size, line / 2
    slides = sorted({x1 - half, x2 - width + half, *np.linspace(x1, max(x1, x2 - width), 5).tolist()})
    rows = [(y1 - height, 0.0), (y1 - half, 0.5), (y2, 0.4), (y2 - height + half, 0.6)]
    options = [(x, y, cost + 0.3 * (k > 0)) for y, cost in rows for k, x in enumerate(slides)]
    rise = np.linspace(y1, max(y1, y2 - height), 5).tolist()
    options += [(x, y, 1.0) for x in (x1 - width, x2) for y in rise]
    table = np.array(options)
    return table[:, :2], table[:, 2]
