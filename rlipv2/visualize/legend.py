"""The list of what found no place in a picture, beside or below it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.transforms import Affine2D

from rlipv2.visualize.canvas import Item, Rectangle, Shape, Text, circle, rectangle
from rlipv2.visualize.colours import GREY, INK, PALE, WHITE, Colour, ink_on
from rlipv2.visualize.fonts import LINE_HEIGHT, text_width, wrapped
from rlipv2.visualize.labels import mark_colour
from rlipv2.visualize.layout import Layout
from rlipv2.visualize.scene import Entity, Link, Relation

_PORTRAIT = 1.15  # from this height per width on, the list stands beside the picture
_MOST = 120  # lines at most; one more tells how many triplets are left out
_COLUMN = 24  # width of a column in parts of the size of its text


@dataclass(frozen=True)
class Word:
    """A piece of text in a line, with a dot before it if it has a `dot` colour."""

    text: str
    colour: Colour = INK
    bold: bool = False
    dot: Colour | None = None


@dataclass(frozen=True)
class Line:
    """A line of the list: the key that stands for it in the picture, with its ground, and its words.

    `rows` are the triplets that it tells of; none for the name of an entity.
    """

    key: str | None
    ground: Colour
    words: tuple[Word, ...]
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Legend:
    """A list set in columns: what to paint, and the size of picture and list together."""

    items: tuple[Item, ...]
    size: tuple[int, int]


def legend_lines(layout: Layout, *, show_scores: bool = True) -> list[Line]:
    """The lines for everything that is not in a picture in full: names first, then relations, the best first.

    After 120 lines, one says how many triplets are left out: nobody reads more, and pictures have to end.
    """
    entities = layout.scene.entities
    lines: list[Line] = []
    for row in layout.listed_entities:
        label, entity = layout.names[row], entities[row]
        key = label.key if label is not None else None
        lines.append(Line(key, entity.colour, (Word(entity.name, bold=True, dot=None if key else entity.colour),)))
    for row in layout.listed_links:
        label, link = layout.words[row], layout.scene.links[row]
        key = label.key if label is not None else None
        for number, relation in enumerate(link.relations):
            words = _words(entities, link, relation, show_scores)
            lines.append(Line(key if not number else None, WHITE, words, relation.rows))
    if len(lines) > _MOST:
        rows = tuple(row for line in lines[_MOST:] for row in line.rows)
        more = Line(None, WHITE, (Word(f"+ {len(rows)} more triplets", GREY),))
        return [*lines[:_MOST], more]
    return lines


def legend_of(lines: Sequence[Line], frame: tuple[int, int], size: int) -> Legend:
    """The lines in columns on the white ground that a picture of (width, height) pixels gets for them.

    Portraits get it at their right, other pictures below.
    """
    width, height = frame
    gap, column = round(0.8 * size), _COLUMN * size
    beside = height >= _PORTRAIT * width
    columns = 1 if beside else max(1, (width - gap) // (column + gap))
    column = column if beside else max(round(7.0 * size), (width - gap) // columns - gap)
    set_lines = [_set(line, size, column) for line in lines]
    heights = [rows * LINE_HEIGHT * size for _, rows in set_lines]
    if beside:
        columns = min(3, max(1, math.ceil(sum(heights) / max(height - 2 * gap, 1))))
    left, top = (width + gap, gap) if beside else (gap, height + gap)
    lengths = _balanced(heights, columns)
    items: list[Item] = []
    x, y, lowest, number = left, float(top), float(top), 0
    for length in lengths:
        for parts, rows in set_lines[number : number + length]:
            items += [_moved(item, x, y) for item in parts]
            y += rows * LINE_HEIGHT * size
        lowest, x, y, number = max(lowest, y), x + column + gap, float(top), number + length
    right = left + len(lengths) * (column + gap)
    return Legend(tuple(items), (max(width, right), max(height, math.ceil(lowest + gap))))


def _words(entities: Sequence[Entity], link: Link, relation: Relation, show_scores: bool) -> tuple[Word, ...]:
    subject = entities[link.subject]
    words = [
        Word(subject.name, dot=subject.colour),
        Word(relation.text(show_score=False), mark_colour(relation.mark), bold=True),
    ]
    if link.target is not None:
        words.append(Word(entities[link.target].name, dot=entities[link.target].colour))
    if show_scores:
        words.append(Word(f"{relation.score:.2f}", GREY))
    return tuple(words)


def _set(line: Line, size: int, width: int) -> tuple[list[Item], int]:
    """What to paint for a line at the origin, and how many lines of text it takes."""
    items: list[Item] = []
    indent = 2.1 * size
    x, row = indent, 0
    if line.key is not None:
        items += _chip(line, size)
    for word in line.words:
        dot = 0.95 * size if word.dot is not None else 0.0
        room = width - indent - dot
        pieces = wrapped(word.text, size, max(width - x - dot, 0), lines=1, bold=word.bold)
        if pieces[0] != word.text:
            row, x = (row + 1, indent) if x > indent else (row, x)
            pieces = wrapped(word.text, size, room, lines=4, bold=word.bold)
        for number, piece in enumerate(pieces):
            if number:
                row, x = row + 1, indent
            y = size * (row * LINE_HEIGHT + 1)
            if word.dot is not None and not number:
                items.append(Shape(circle((x + 0.35 * size, y - 0.36 * size), 0.33 * size), fill=word.dot))
            items.append(Text((x + dot, y), piece, size, word.colour, word.bold))
            x += dot + text_width(piece, size, bold=word.bold) + 0.45 * size
    return items, row + 1


def _chip(line: Line, size: int) -> list[Item]:
    text = line.key or ""
    width = max(text_width(text, size, bold=True) + 0.4 * size, 1.3 * size)
    box: Rectangle = (0.0, 0.06 * size, width, 1.26 * size)
    edge = PALE if line.ground == WHITE else line.ground
    place = ((width - text_width(text, size, bold=True)) / 2, float(size))
    return [
        Shape(rectangle(box, 0.25 * size), stroke=edge, width=1.0, fill=line.ground),
        Text(place, text, size, ink_on(line.ground), bold=True),
    ]


def _balanced(heights: Sequence[float], columns: int) -> list[int]:
    """How many lines each column holds, so that the highest is as low as it can be with the lines in order."""
    low, high = max(heights, default=0.0), sum(heights)
    best = [len(heights)]
    for _ in range(40):
        limit = (low + high) / 2
        lengths, filled = [0], 0.0
        for height in heights:
            if filled + height > limit and lengths[-1]:
                lengths.append(0)
                filled = 0.0
            lengths[-1] += 1
            filled += height
        low, high, best = (low, limit, lengths) if len(lengths) <= columns else (limit, high, best)
    return best


def _moved(item: Item, x: float, y: float) -> Item:
    if isinstance(item, Text):
        return Text((item.place[0] + x, item.place[1] + y), item.text, item.size, item.fill, item.bold)
    path = item.path.transformed(Affine2D().translate(x, y))
    return Shape(path, item.stroke, item.width, item.fill, item.dashes)
