"""Triplets drawn on their image."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from rlipv2.structures import Triplets
from rlipv2.visualize.arrows import arrow
from rlipv2.visualize.canvas import Item, Point, Rectangle, Shape, Text, paint, polyline, rectangle
from rlipv2.visualize.colours import INK, WHITE, Colour
from rlipv2.visualize.images import to_image
from rlipv2.visualize.labels import Label, baseline, label_size
from rlipv2.visualize.layout import Layout, layout_of
from rlipv2.visualize.legend import legend_lines, legend_of
from rlipv2.visualize.scene import scene_of

_LARGEST_ENLARGED = 1600  # enlarged pictures are not made longer than this


def draw_triplets(
    image: Image.Image | Tensor | str | Path,
    triplets: Triplets,
    *,
    min_short_side: int = 420,
    long_side: int | None = None,
    show_scores: bool = True,
    legend: bool = True,
    marks: Sequence[bool | None] | None = None,
) -> Image.Image:
    """The image with a named box around each thing, and arrows from subjects to objects with the relations on them.

    Things that take part in several triplets are drawn once: boxes of one class that mostly overlap are one thing, and
    several things of a class are numbered. Each has one colour, which its outgoing arrows share. Relations of one pair
    share an arrow. A relation without an object (all-zero box, or the class "missing objects", whose predicted box
    means nothing) stands next to the name of its subject. Text and lines grow with the picture; labels keep clear of
    each other and stay inside.

    What has no place in the picture is listed on white beside it (portraits) or below it, which makes the result
    larger than the picture. Keys in the picture lead to the lines of the list: letters for things, numbers for
    relations. Images with hundreds of triplets get long lists: select the best with `Triplets.top` or `filter`.

    Args:
        image: path, picture or `uint8` tensor "3 h w". Where the triplets know the size of their image, it may be
            a smaller or larger copy of it; otherwise it has the size that the boxes are in.
        triplets: of this image, may be empty.
        min_short_side: smaller images are enlarged to this short side, so that labels can be read (but not beyond
            a long side of 1600 pixels).
        long_side: exact longest side of the picture in pixels instead.
        show_scores: whether labels show scores.
        legend: whether to list what has no place; without, the result has the size of the picture, and a note in
            a corner counts what is missing.
        marks: for each triplet whether it is right (✓) or wrong (✗), None for no mark.

    Returns:
        An RGB picture.

    Raises:
        ValueError: the image has not the shape of the one that the triplets were predicted for, or not one mark per
            triplet.
        TypeError: a tensor that is not `uint8`.
    """
    picture = to_image(image)
    zoom = _zoom(picture, triplets)
    picture = _resized(picture, min_short_side, long_side)
    scene = scene_of(triplets, zoom=(zoom[0] * picture.width, zoom[1] * picture.height), marks=marks)
    layout = layout_of(scene, picture.size, show_scores=show_scores)
    items = layout_items(layout)
    lines = legend_lines(layout, show_scores=show_scores)
    if lines and legend:
        listed = legend_of(lines, picture.size, max(11, layout.size))
        canvas = Image.new("RGB", listed.size, "white")
        canvas.paste(picture)
        picture, items = canvas, [*items, *listed.items]
    elif lines:
        items += _note(f"+ {sum(bool(line.rows) for line in lines) or len(lines)} more", layout)
    return paint(picture, items)


def layout_items(layout: Layout) -> list[Item]:
    """What to paint for a layout, from the back to the front: boxes, arrows, lines to labels, labels."""
    items: list[Item] = []
    rows = sorted(range(len(layout.boxes)), key=lambda row: -_area(layout.boxes[row]))
    for row in rows:
        items += _box(layout, row)
    return items + link_items(layout)


def link_items(layout: Layout) -> list[Item]:
    """What to paint for a layout without its boxes: arrows, lines to labels, labels."""
    items: list[Item] = []
    for link, path in zip(layout.scene.links, layout.curves, strict=True):
        if path is not None:
            items += arrow(path, layout.scene.entities[link.subject].colour, layout.line)
    for label in layout.labels:
        if label.anchor is not None:
            items += _leader(label, layout.line)
    for label in layout.labels:
        items += label_items(label, layout.line)
    return items


def label_items(label: Label, line: float) -> list[Item]:
    """The ground of a label and its lines of text, in the middle of the ground."""
    x1, _, x2, _ = label.place
    ground, edge = (label.colour, WHITE) if label.filled else (WHITE, label.colour)
    width = 0.5 * line if label.filled else 0.7 * line
    items: list[Item] = [
        Shape(rectangle(label.place, 0.28 * label.size), stroke=edge, width=max(1.0, width), fill=ground)
    ]
    for number, (text, ink) in enumerate(label.lines):
        x, y = baseline(label.place, label.size, number)
        spare = (x2 - x1) - label_size([text], label.size, bold=label.filled)[0]
        items.append(Text((x + spare / 2, y), text, label.size, ink, label.filled))
    return items


def _zoom(picture: Image.Image, triplets: Triplets) -> Point:
    """1 / (width, height) of the image that the boxes are in."""
    size = triplets.image_size
    if size is None:
        return 1 / picture.width, 1 / picture.height
    height, width = size
    # rounding of a small copy's sides may take a pixel
    if abs(picture.width * height - picture.height * width) > 1.5 * max(height, width):
        raise ValueError(
            f"the triplets belong to an image of {width} x {height} pixels, this one has {picture.width} x "
            f"{picture.height}: expected the same image or a copy of it in another size"
        )
    return 1 / width, 1 / height


def _resized(picture: Image.Image, min_short_side: int, long_side: int | None) -> Image.Image:
    if long_side is None:
        zoom = max(1.0, min(min_short_side / min(picture.size), _LARGEST_ENLARGED / max(picture.size)))
    else:
        zoom = long_side / max(picture.size)
    size = max(1, round(picture.width * zoom)), max(1, round(picture.height * zoom))
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _area(box: Rectangle) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _box(layout: Layout, row: int) -> list[Item]:
    """A white-edged outline."""
    box, entity, line = layout.boxes[row], layout.scene.entities[row], layout.line
    dashes = (3.5 * line, 2.0 * line) if entity.dashed else ()
    width = max(2, round(1.2 * line))
    # Whole pixels keep thin lines sharp.
    shift = width % 2 / 2
    x1, y1, x2, y2 = (round(value) + shift for value in box)
    path = rectangle((x1, y1, x2, y2), 1.5 * line)
    return [
        Shape(path, stroke=WHITE, width=width + max(2, round(line))),
        Shape(path, stroke=entity.colour, width=width, dashes=dashes),
    ]


def _leader(label: Label, line: float) -> list[Item]:
    """A thin line from a label to what it belongs to."""
    x1, y1, x2, y2 = label.place
    x, y = label.anchor or (x1, y1)
    path = polyline([(x, y), (min(max(x, x1), x2), min(max(y, y1), y2))])
    return [
        Shape(path, stroke=WHITE, width=max(2.0, 1.1 * line)),
        Shape(path, stroke=label.colour, width=max(1.0, 0.45 * line)),
    ]


def _note(text: str, layout: Layout) -> list[Item]:
    width, height = label_size([text], layout.size, bold=False)
    right, bottom = layout.frame
    place = (right - width, bottom - height, float(right), float(bottom))
    colour: Colour = INK
    return [
        Shape(rectangle(place), fill=WHITE),
        Text(baseline(place, layout.size, 0), text, layout.size, colour),
    ]
