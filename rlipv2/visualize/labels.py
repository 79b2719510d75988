"""Labels of things and of relations: what they say, and the places they may take."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlipv2.visualize.arrows import Curve, center
from rlipv2.visualize.canvas import Point, Rectangle
from rlipv2.visualize.colours import INK, RIGHT, WRONG, Colour, ink_on
from rlipv2.visualize.fonts import ELLIPSIS, LINE_HEIGHT, text_width, wrapped
from rlipv2.visualize.placing import Places, around, beside
from rlipv2.visualize.scene import Entity, Link, Scene

Lines = tuple[tuple[str, Colour], ...]

_MOST_RELATIONS = 4  # of one pair in full; of more, only the best and how many more there are
_ROOM = 0.45  # widest line of a label, in parts of the picture
_REACH = 0.22  # farthest a label may be from what it belongs to, in parts of the sides of the picture
_MOST_HIDDEN = 0.3  # of the picture may be under labels before further relations get keys only, names at twice that
_FULL = 0.8  # from here on no place is looked for
_PAD = (0.32, 0.14)  # around the text of a label, in parts of its size
# As wide as most keys, which are known when all labels have been tried; words never hold the invisible character.
_BADGE = "00\u200b"


@dataclass(frozen=True)
class Label:
    """A label with its place in the drawing.

    Attributes:
        place: x1 y1 x2 y2 in pixels of the drawing.
        lines: texts with their colours.
        size: of the text, in pixels.
        colour: of what it belongs to.
        filled: whether its ground has that colour (names), or only its edge (relations).
        complete: whether it says everything; what it leaves out is listed in the legend.
        key: what stands for it in the legend where it is no more than this key.
        anchor: the point it belongs to, if it lies apart from it.
    """

    place: Rectangle
    lines: Lines
    size: int
    colour: Colour
    filled: bool
    complete: bool = True
    key: str | None = None
    anchor: Point | None = None


@dataclass(frozen=True)
class Setting:
    """How labels are set: places in a frame, size of the text in pixels, width of outlines, and whether scores show."""

    places: Places
    size: int
    line: float
    show_scores: bool

    @property
    def reach(self) -> float:
        """The farthest that a label may be from what it belongs to, in pixels."""
        return _REACH * math.sqrt(self.places.frame[0] * self.places.frame[1])


def label_size(lines: Sequence[str], size: int, *, bold: bool) -> Point:
    """Width and height of a label with its padding."""
    width = max(text_width(line, size, bold=bold) for line in lines)
    return width + 2 * _PAD[0] * size, size * ((len(lines) - 1) * LINE_HEIGHT + 1.1 + 2 * _PAD[1])


def baseline(place: Rectangle, size: int, line: int) -> Point:
    """Where the n-th line of text in a label begins."""
    return place[0] + _PAD[0] * size, place[1] + size * (_PAD[1] + 0.92 + line * LINE_HEIGHT)


def name_variants(entity: Entity, setting: Setting) -> list[tuple[Lines, bool]]:
    """What the label of a thing may say: its name, or a key, and whether that is everything."""
    ink = ink_on(entity.colour)
    texts = wrapped(entity.name, setting.size, _ROOM * setting.places.frame[0], lines=2, bold=True)
    return [
        (tuple((text, ink) for text in texts), not texts[-1].endswith(ELLIPSIS)),
        (((_BADGE, ink),), False),
    ]


def word_variants(link: Link, setting: Setting) -> list[tuple[Lines, bool]]:
    """What the label of a link may say, from all relations to a key, and whether that is everything."""
    result: list[tuple[Lines, bool]] = []
    for most in (_MOST_RELATIONS, 1):
        lines: list[tuple[str, Colour]] = []
        for relation in link.relations[:most]:
            text, ink = relation.text(show_score=setting.show_scores), mark_colour(relation.mark)
            parts = wrapped(text, setting.size, _ROOM * setting.places.frame[0], lines=2)
            lines += [(part, ink) for part in parts]
        whole = len(link.relations) <= most and not any(text.endswith(ELLIPSIS) for text, _ in lines)
        if len(link.relations) > most:
            lines.append((f"+ {len(link.relations) - most} more", INK))
        result.append((tuple(lines), whole))
        if len(link.relations) == 1:
            break
    return [*result, (((_BADGE, mark_colour(link.relations[0].mark)),), False)]


def mark_colour(mark: bool | None) -> Colour:
    """The colour of text about something right, wrong, or without a mark."""
    return {None: INK, True: RIGHT, False: WRONG}[mark]


def place_names(scene: Scene, boxes: Sequence[Rectangle], setting: Setting) -> tuple[Label | None, ...]:
    """A label at the outline of each thing, or near it, as far as there is room; the first things first."""
    labels = [_name(entity, box, setting) for entity, box in zip(scene.entities, boxes, strict=True)]
    return _with_keys(labels, letters)


def place_words(
    scene: Scene,
    boxes: Sequence[Rectangle],
    curves: Sequence[Curve | None],
    names: Sequence[Label | None],
    setting: Setting,
) -> tuple[Label | None, ...]:
    """A label on each arrow, or near it, as far as there is room; without arrow next to the name of the subject."""
    labels = []
    for row, (link, path) in enumerate(zip(scene.links, curves, strict=True)):
        name, colour = names[link.subject], scene.entities[link.subject].colour
        place = name.place if name is not None else None
        labels.append(_words(link, row, path, place, boxes[link.subject], colour, setting))
    return _with_keys(labels, str)


def _name(entity: Entity, box: Rectangle, setting: Setting) -> Label | None:
    for lines, complete in name_variants(entity, setting):
        if setting.places.covered > (_FULL if lines[0][0] == _BADGE else 2 * _MOST_HIDDEN):
            continue
        size = label_size([text for text, _ in lines], setting.size, bold=True)
        touching, prices = beside(box, size, setting.line)
        spread, far = around((box[0], box[1]), size, setting.places.frame, setting.reach)
        place = setting.places.take(size, np.concatenate([touching, spread]), np.concatenate([prices, 1.5 + 3 * far]))
        if place is not None:
            anchor = None if touch(place, box, setting.line) else nearest(box, center(place))
            return Label(place, lines, setting.size, entity.colour, True, complete, anchor=anchor)
    return None


def _words(
    link: Link, row: int, path: Curve | None, name: Rectangle | None, box: Rectangle, colour: Colour, setting: Setting
) -> Label | None:
    for lines, complete in word_variants(link, setting):
        size = label_size([text for text, _ in lines], setting.size, bold=False)
        if setting.places.covered > (_FULL if lines[0][0] == _BADGE else _MOST_HIDDEN):
            continue
        corners, costs = _candidates(path, name or box, box, size, setting)
        # a label may lie on its own arrow where most of that stays in sight
        place = setting.places.take(size, corners, costs, owner=row if path and _is_long(path, size) else -2)
        if place is None:
            continue
        anchor = path.at(0.5) if path is not None else nearest(box, center(place))
        at_name = path is None and name is not None and touch(place, name, 0.3 * setting.size)
        apart = not at_name and anchor != nearest(place, anchor)
        return Label(place, lines, setting.size, colour, False, complete, anchor=anchor if apart else None)
    return None


def _is_long(path: Curve, size: Point) -> bool:
    """Whether an arrow is much longer than the part of it that a label on it hides."""
    across, down = (abs(b - a) / max(path.length, 1e-6) for a, b in zip(path.start, path.stop, strict=True))
    hidden = min(size[0] / max(across, 1e-6), size[1] / max(down, 1e-6))
    return path.length > 1.8 * hidden


def _candidates(
    path: Curve | None, name: Rectangle, box: Rectangle, size: Point, setting: Setting
) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the label of a link and their costs: on its arrow, else near it; without arrow beside the name."""
    if path is not None:
        along = [(0.5, 0.0), (0.42, 0.15), (0.58, 0.15), (0.34, 0.3), (0.66, 0.4), (0.26, 0.5), (0.74, 0.6)]
        first = np.array([path.at(t) for t, _ in along]) - np.asarray(size) / 2
        costs, middle = np.array([cost for _, cost in along]), path.at(0.5)
    else:
        gap = setting.places.gap
        first, costs = beside((name[0] - gap, name[1] - gap, name[2] + gap, name[3] + gap), size, 0.0)
        middle = center(box)
    spread, far = around(middle, size, setting.places.frame, setting.reach)
    return np.concatenate([first, spread]), np.concatenate([costs, 0.8 + 4 * far])


def _with_keys(labels: Sequence[Label | None], key: Callable[[int], str]) -> tuple[Label | None, ...]:
    """Labels that are badges get their keys, in order."""
    result: list[Label | None] = []
    number = 0
    for label in labels:
        if label is not None and label.lines[0][0] == _BADGE:
            number += 1
            label = replace(label, key=key(number), lines=((key(number), label.lines[0][1]),))
        result.append(label)
    return tuple(result)


def letters(number: int) -> str:
    """A, B, ... Z, AA, AB, ... for 1, 2, ..."""
    text = ""
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("A") + digit) + text
    return text


def touch(first: Rectangle, second: Rectangle, gap: float) -> bool:
    """Whether two boxes share a point when one of them is `gap` pixels wider on all sides."""
    return (
        first[0] <= second[2] + gap
        and second[0] <= first[2] + gap
        and first[1] <= second[3] + gap
        and second[1] <= first[3] + gap
    )


def nearest(box: Rectangle, point: Point) -> Point:
    """The point of a box nearest to another point."""
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])
