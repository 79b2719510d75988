"""Many pictures on one: predictions beside labels, and small pictures with captions."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from rlipv2.structures import Triplets
from rlipv2.visualize.canvas import Item, Shape, Text, paint, polyline
from rlipv2.visualize.colours import GREY, INK, PALE, Colour
from rlipv2.visualize.comparison import draw_comparison
from rlipv2.visualize.fonts import clean, clipped
from rlipv2.visualize.images import save_png

_GAP, _TEXT, _TITLE = 24, 17, 30


def contact_sheet(
    images: Sequence[Image.Image | Tensor | str | Path],
    predictions: Sequence[Triplets],
    ground_truth: Sequence[Triplets],
    path: str | Path,
    *,
    scores: Mapping[str, float] | None = None,
    title: str = "Predicted and labelled relations",
    top: int = 5,
    columns: int = 2,
) -> Path:
    """Writes a PNG with the best predictions of each image next to its labels, as by `draw_comparison`.

    Args:
        images: as for `draw_triplets`.
        predictions: ranked triplets per image, boxes in pixels of the image.
        ground_truth: labels per image, for example from `annotation_triplets`.
        path: of the PNG.
        scores: figures for the table under the title, as fractions, by `row/column` (`test/map_full`).
        title: heading.
        top: predictions shown per image.
        columns: images per row.

    Raises:
        ValueError: lists of different length, or none at all.
    """
    if not len(images) == len(predictions) == len(ground_truth) or not len(images):
        raise ValueError(
            f"{len(images)} images, {len(predictions)} predictions, {len(ground_truth)} labels: "
            "expected one of each per image, and at least one image"
        )
    cells = [
        draw_comparison(image, predicted, labelled, top=top)
        for image, predicted, labelled in zip(images, predictions, ground_truth, strict=True)
    ]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    step = cells[0].width + _GAP
    heading = _heading(title, scores or {}, columns * step + _GAP)
    heights = [max(cell.height for cell in row) + _GAP for row in rows]
    sheet = Image.new("RGB", (heading.width, heading.height + sum(heights) + _GAP), "white")
    sheet.paste(heading, (0, 0))
    y = heading.height
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (_GAP + column * step, y))
        y += height
    return save_png(sheet, path)


def image_grid(
    images: Sequence[Image.Image], captions: Sequence[str], path: str | Path, *, title: str, columns: int = 6
) -> Path:
    """Writes a PNG of small pictures with one line of text above each.

    Raises:
        ValueError: not one caption per image, or no image.
    """
    if len(images) != len(captions) or not len(images):
        raise ValueError(
            f"{len(images)} images, {len(captions)} captions: expected one caption per image, at least one"
        )
    side, step = 300, 340
    columns = min(columns, len(images))
    heading = _heading(title, {}, columns * step + _GAP)
    sheet = Image.new("RGB", (heading.width, heading.height + math.ceil(len(images) / columns) * step), "white")
    sheet.paste(heading, (0, 0))
    items: list[Item] = []
    for k, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = _GAP + (k % columns) * step, heading.height + (k // columns) * step
        size = _TEXT - 2
        items.append(Text((x, y + size), clipped(clean(caption), size, side, bold=True), size, INK, bold=True))
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        sheet.paste(small, (x, y + 26))
    return save_png(paint(sheet, items), path)


def _heading(title: str, scores: Mapping[str, float], width: int) -> Image.Image:
    """The title with a table of figures in percent: names `row/column` share rows and columns."""
    names = [name.rpartition("/")[::2] for name in scores]
    rows, columns = list(dict.fromkeys(row for row, _ in names)), list(dict.fromkeys(column for _, column in names))
    line, column_width = 34, min(190, (width - 2 * _GAP) // (len(columns) + 1))
    heading = Image.new("RGB", (width, 84 + (len(rows) + 1) * line * bool(scores) + 12), "white")
    rule = polyline([(_GAP, heading.height - 12), (width - _GAP, heading.height - 12)])
    text = clipped(clean(title), _TITLE, width - 2 * _GAP, bold=True)
    items: list[Item] = [Text((_GAP, 22 + _TITLE), text, _TITLE, INK, bold=True), Shape(rule, stroke=PALE)]

    def write(row: int, column: int, text: str, *, bold: bool = False, fill: Colour = INK) -> None:
        size = _TEXT + 3 * bold
        place = (_GAP + column * column_width, 76 + row * line + size)
        items.append(Text(place, clipped(text, size, column_width - 16, bold=bold), size, fill, bold))

    for number, name in enumerate(columns):
        write(0, number + 1, _words(name), fill=GREY)
    for number, name in enumerate(rows):
        write(number + 1, 0, _words(name), fill=GREY)
    for (row, column), value in zip(names, scores.values(), strict=True):
        figure = "n/a" if math.isnan(value) else f"{100 * value:.1f}"
        write(rows.index(row) + 1, columns.index(column) + 1, figure, bold=True)
    return paint(heading, items)


def _words(name: str) -> str:
    """A figure's name as read by people: `map_non_rare` -> `mAP non rare`."""
    return name.replace("_", " ").replace("map ", "mAP ")
