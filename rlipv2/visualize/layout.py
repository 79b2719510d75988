"""Where everything goes in a picture of triplets: boxes, arrows, names of things, words of relations."""

import math
from dataclasses import dataclass

from rlipv2.visualize.arrows import Curve, curves_between
from rlipv2.visualize.canvas import Rectangle
from rlipv2.visualize.labels import Label, Setting, label_size, name_variants, place_names, place_words, word_variants
from rlipv2.visualize.placing import Places
from rlipv2.visualize.scene import Scene

_SMALLEST = 10  # no text is smaller than this many pixels
_USUAL = 12  # nor smaller than this where the picture is not small itself and there is room
_SHRINK = (1.0, 0.85, 0.7)  # sizes of text tried in turn until all labels find a place
_MOST_COVERED = 0.2  # of the picture may be hidden by labels before the text shrinks


@dataclass(frozen=True)
class Layout:
    """A scene in a frame.

    Attributes:
        scene: what is drawn.
        frame: (width, height) of the picture in pixels.
        boxes: the part of each entity's box that is drawn: inside of the frame, and large enough to be seen.
        curves: of the arrow of each link, None where there is no object.
        names: label of each entity, None where there was no place.
        words: label of each link, the same.
        size: of the text, in pixels.
        line: width of outlines and arrows, in pixels.
    """

    scene: Scene
    frame: tuple[int, int]
    boxes: tuple[Rectangle, ...]
    curves: tuple[Curve | None, ...]
    names: tuple[Label | None, ...]
    words: tuple[Label | None, ...]
    size: int
    line: float

    @property
    def labels(self) -> list[Label]:
        """All labels that have a place."""
        return [label for label in (*self.names, *self.words) if label is not None]

    @property
    def lost(self) -> int:
        """How many labels do not say everything."""
        return len(self.listed_entities) + len(self.listed_links)

    @property
    def listed_entities(self) -> list[int]:
        """Entities whose name is not in the picture in full."""
        return [row for row, label in enumerate(self.names) if label is None or not label.complete]

    @property
    def listed_links(self) -> list[int]:
        """Links whose relations are not in the picture in full."""
        return [row for row, label in enumerate(self.words) if label is None or not label.complete]


def layout_of(scene: Scene, frame: tuple[int, int], *, show_scores: bool = True) -> Layout:
    """The layout of a scene with the largest text that leaves most of the picture in sight and gives all a place.

    Text shrinks to 0.7 of its size for that, and not below 10 pixels; if labels are left over even then, the layout
    with the fewest of them is taken.
    """
    layouts: list[Layout] = []
    sizes = list(dict.fromkeys(max(_SMALLEST, round(text_size(frame) * shrink)) for shrink in _SHRINK))
    for size in sizes:
        setting = Setting(Places(frame, gap=max(1.0, 0.12 * size)), size, line_width(frame), show_scores)
        if size == sizes[-1] or _share(scene, setting) <= _MOST_COVERED:
            layouts.append(_layout(scene, frame, setting))
            if not layouts[-1].lost:
                break
    return min(layouts, key=lambda layout: layout.lost)


def text_size(frame: tuple[int, int]) -> int:
    """Size of the text for a picture of (width, height) pixels, before any shrinking: it grows with the picture."""
    width, height = frame
    return max(_SMALLEST, min(max(_USUAL, round(math.sqrt(width * height) / 40)), round(min(frame) / 14)))


def line_width(frame: tuple[int, int]) -> float:
    """Width of outlines for a picture of (width, height) pixels."""
    return max(1.5, math.sqrt(frame[0] * frame[1]) / 320)


def visible_part(box: Rectangle, frame: tuple[int, int], line: float) -> Rectangle:
    """The part of a box inside of the frame; at least a few line widths large, at the nearest edge if need be."""
    result = []
    for low, high, room in ((box[0], box[2], frame[0]), (box[1], box[3], frame[1])):
        low, high = (min(max(value, line / 2), room - line / 2) for value in (low, high))
        missing = min(3 * line, room - line) - (high - low)
        if missing > 0:
            low = min(max(low - missing / 2, line / 2), room - line / 2 - (high - low) - missing)
            high = max(high, low + min(3 * line, room - line))
        result.append((low, high))
    (x1, x2), (y1, y2) = result
    return x1, y1, x2, y2


def _layout(scene: Scene, frame: tuple[int, int], setting: Setting) -> Layout:
    boxes = tuple(visible_part(entity.box, frame, setting.line) for entity in scene.entities)
    curves = _curves(scene, boxes, frame, setting.size)
    setting.places.avoid_boxes(boxes, 2.0)
    for row, path in enumerate(curves):
        if path is not None:
            setting.places.avoid_points([path.stop], 3.0)
            setting.places.avoid_points([path.start, path.at(0.5)], 1.0)
            setting.places.avoid_points([path.at(k / 12) for k in range(1, 12)], 0.2, owner=row)
    names = place_names(scene, boxes, setting)
    words = place_words(scene, boxes, curves, names, setting)
    return Layout(scene, frame, boxes, curves, names, words, setting.size, setting.line)


def _curves(scene: Scene, boxes: tuple[Rectangle, ...], frame: tuple[int, int], size: int) -> tuple[Curve | None, ...]:
    pairs = [(boxes[link.subject], boxes[link.target]) for link in scene.links if link.target is not None]
    drawn = iter(curves_between(pairs, frame, size))
    return tuple(None if link.target is None else next(drawn) for link in scene.links)


def _share(scene: Scene, setting: Setting) -> float:
    """The part of the picture that all labels would hide with everything they may say."""
    said = [(name_variants(entity, setting)[0][0], True) for entity in scene.entities]
    said += [(word_variants(link, setting)[0][0], False) for link in scene.links]
    sizes = [label_size([text for text, _ in lines], setting.size, bold=bold) for lines, bold in said]
    return sum(width * height for width, height in sizes) / (setting.places.frame[0] * setting.places.frame[1])
