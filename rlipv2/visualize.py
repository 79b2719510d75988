"""Pictures of triplets: drawn on their image, and as a sheet of predictions next to the labels.

Subjects, objects and relations are told apart by shape as well as by colour (Okabe and Ito's palette, which
colour-blind readers can tell apart), and labels keep clear of each other and inside of the image.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from rlipv2.structures import Annotation, LabelSpace, Triplet, Triplets

Colour = tuple[int, int, int]
Real = float | int  # checkers of annotations at run time do not take an int for a float
Rectangle = tuple[Real, Real, Real, Real]

# Okabe and Ito (2008), without black and without the yellow that drowns on white.
PALETTE: tuple[Colour, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
)
RIGHT, WRONG, INK, GREY = (0, 120, 85), (190, 70, 0), (25, 25, 25), (110, 110, 110)


def to_image(image: Image.Image | Tensor | str | Path) -> Image.Image:
    """An RGB picture from a path, a picture, or a `uint8` tensor "3 h w".

    Raises:
        TypeError: a tensor of another type: normalised pixels cannot be shown.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if isinstance(image, Tensor):
        if image.dtype != torch.uint8 or image.ndim != 3:
            raise TypeError(f"expected a uint8 tensor of shape (3, h, w), got {image.dtype} {tuple(image.shape)}")
        return Image.fromarray(np.ascontiguousarray(image.cpu().permute(1, 2, 0).numpy())).convert("RGB")
    with Image.open(image) as opened:
        return opened.convert("RGB")


def annotation_triplets(annotation: Annotation, label_space: LabelSpace) -> Triplets:
    """The labels of an image as triplets with score 1, in the order of the annotation.

    Negative box rows (V-COCO: no object) give a zero box and the label of "missing objects", or 0 where the
    label space has no such class.
    """
    subjects, objects, relations = annotation.relations.unbind(1)
    known, missing = (objects >= 0)[:, None], label_space.missing_object or 0
    return Triplets(
        subject_boxes=annotation.boxes_xyxy[subjects],
        object_boxes=annotation.boxes_xyxy[objects.clamp(min=0)] * known,
        subject_labels=annotation.labels[subjects],
        object_labels=torch.where(known[:, 0], annotation.labels[objects.clamp(min=0)], missing),
        relation_labels=relations,
        scores=torch.ones(len(relations)),
        label_space=label_space,
    )


def draw_triplets(
    image: Image.Image | Tensor | str | Path,
    triplets: Triplets,
    *,
    min_short_side: int = 420,
    long_side: int | None = None,
    show_scores: bool = True,
) -> Image.Image:
    """The image with the boxes of all triplets, an arrow from subject to object, and the relations as labels.

    Triplets of one pair share an arrow and a label. A pair without an object (all-zero box, or the class "missing
    objects", whose predicted box means nothing) gets no arrow. Labels for which no free place is left are counted in
    a note at the bottom; all other boxes are drawn.

    Args:
        image: in the size that the boxes are in.
        triplets: may be empty; select some first with `top` or `filter`.
        min_short_side: smaller images are enlarged to this short side, so that labels can be read.
        long_side: exact longest side of the result in pixels instead.
        show_scores: whether labels show scores.
    """
    picture = to_image(image)
    zoom = max(1.0, min_short_side / min(picture.size)) if long_side is None else long_side / max(picture.size)
    size = max(1, round(picture.width * zoom)), max(1, round(picture.height * zoom))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    canvas, short = ImageDraw.Draw(picture), min(picture.size)
    font, line = _font(max(13, round(short / 30))), max(2, round(short / 200))
    pairs = _pairs(triplets, zoom)
    for k, (subject, target, _) in enumerate(pairs):
        _draw_box(canvas, subject, PALETTE[k % len(PALETTE)], line)
        if target is not None:
            _draw_box(canvas, target, PALETTE[k % len(PALETTE)], line, dashed=True)
    for k, (subject, target, _) in enumerate(pairs):
        if target is not None:
            _draw_arrow(canvas, _center(subject), _center(target), PALETTE[k % len(PALETTE)], line)
    boxes = [box for subject, target, _ in pairs for box in (subject, target) if box is not None]
    taken: list[Rectangle] = []
    missing = 0
    for k, (subject, target, members) in enumerate(pairs):
        text = "\n".join(_label(member, show_scores) for member in members)
        anchor = _middle(subject, target)
        place = _free_place(_text_size(canvas, text, font), font, anchor, picture.size, taken, boxes)
        if place is None:
            missing += len(members)
        else:
            taken.append(place)
            _draw_label(canvas, place, text, font, anchor, PALETTE[k % len(PALETTE)], line)
    if missing:
        _draw_note(canvas, f"+ {missing} more", font, picture.size)
    return picture


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
    """Writes a PNG that shows, per image, the best predictions next to the labels and a list of both.

    The list says which predictions are right: same three names as a labelled triplet and both boxes with an IoU of
    at least 0.5; each label counts once. Labels that no shown prediction found are listed too.

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
        _cell(to_image(image), predicted.top(top), labelled)
        for image, predicted, labelled in zip(images, predictions, ground_truth, strict=True)
    ]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heading = _heading(title, scores or {}, columns * (_CELL_WIDTH + _GAP) + _GAP)
    heights = [max(cell.height for cell in row) + _GAP for row in rows]
    sheet = Image.new("RGB", (heading.width, heading.height + sum(heights) + _GAP), "white")
    sheet.paste(heading, (0, 0))
    y = heading.height
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (_GAP + column * (_CELL_WIDTH + _GAP), y))
        y += height
    return _save(sheet, path)


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
    font = _font(_TEXT_SIZE - 2, bold=True)
    sheet = Image.new("RGB", (heading.width, heading.height + math.ceil(len(images) / columns) * step), "white")
    sheet.paste(heading, (0, 0))
    canvas = ImageDraw.Draw(sheet)
    for k, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = _GAP + (k % columns) * step, heading.height + (k // columns) * step
        canvas.text((x, y), _clipped(caption, font, side), font=font, fill=INK)
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        sheet.paste(small, (x, y + 26))
    return _save(sheet, path)


def _save(sheet: Image.Image, path: str | Path) -> Path:
    """Writes a PNG under a temporary name first."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    sheet.save(part, format="PNG", optimize=True)
    part.replace(path)
    return path


def correct_triplets(predicted: Triplets, labelled: Triplets, threshold: float = 0.5) -> list[int | None]:
    """For each prediction, best first, the row of the labelled triplet that it finds, or None.

    Both boxes need an IoU of at least `threshold`, the three names must agree, and a label is found once. A label
    without object is only found by a prediction without one: a zero object box, or the class "missing objects".
    """
    labels, found = list(labelled), []
    free = set(range(len(labels)))
    for prediction in predicted:
        best: tuple[float, int] | None = None
        for row in sorted(free):
            label = labels[row]
            names = (prediction.subject, prediction.relation, prediction.object)
            if names != (label.subject, label.relation, label.object):
                continue
            overlap = min(
                _iou(prediction.subject_box, label.subject_box), _iou(_object_box(prediction), _object_box(label))
            )
            if overlap >= threshold and (best is None or overlap > best[0]):
                best = (overlap, row)
        found.append(None if best is None else best[1])
        if best is not None:
            free.remove(best[1])
    return found


def _object_box(triplet: Triplet) -> Rectangle:
    """The box of the object, all zeros where the triplet has none."""
    return (0, 0, 0, 0) if triplet.object == LabelSpace.MISSING_OBJECT else triplet.object_box


def _iou(a: Rectangle, b: Rectangle) -> float:
    if not any(a) and not any(b):
        return 1.0
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def _pairs(triplets: Triplets, zoom: float) -> list[tuple[Rectangle, Rectangle | None, list[Triplet]]]:
    """Triplets with equal boxes and names of both sides together, in order of their best score."""
    pairs: dict[tuple, tuple[Rectangle, Rectangle | None, list[Triplet]]] = {}
    for triplet in triplets:
        object_box = _object_box(triplet)
        key = (triplet.subject, triplet.object, triplet.subject_box, object_box)
        subject = _scaled(triplet.subject_box, zoom)
        target = _scaled(object_box, zoom) if any(object_box) else None
        pairs.setdefault(key, (subject, target, []))[2].append(triplet)
    return list(pairs.values())


def _scaled(box: Rectangle, zoom: float) -> Rectangle:
    x1, y1, x2, y2 = (value * zoom for value in box)
    # Predictions may have their corners in any order where training has just begun.
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _center(box: Rectangle) -> tuple[Real, Real]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _middle(subject: Rectangle, target: Rectangle | None) -> tuple[Real, Real]:
    (x1, y1), (x2, y2) = _center(subject), _center(target or subject)
    return (x1 + x2) / 2, (y1 + y2) / 2


def _label(triplet: Triplet, show_scores: bool) -> str:
    target = f" {triplet.object}" if any(_object_box(triplet)) else ""
    score = f" {triplet.score:.2f}" if show_scores else ""
    return f"{triplet.relation}{target}{score}"


def _draw_box(canvas: ImageDraw.ImageDraw, box: Rectangle, colour: Colour, line: int, *, dashed: bool = False) -> None:
    """A white-edged rectangle; objects have dashed ones."""
    canvas.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), outline="white", width=line + 2)
    if not dashed:
        canvas.rectangle(box, outline=colour, width=line)
        return
    x1, y1, x2, y2 = box
    for start, stop in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))):
        length = math.dist(start, stop)
        dashes = min(200, max(1, round(length / (7 * line))))
        for k in range(dashes):
            ends = [
                (start[0] + (stop[0] - start[0]) * t / dashes, start[1] + (stop[1] - start[1]) * t / dashes)
                for t in (k, k + 0.7)
            ]
            canvas.line(ends, fill=colour, width=line)


def _draw_arrow(
    canvas: ImageDraw.ImageDraw, start: tuple[Real, Real], stop: tuple[Real, Real], colour: Colour, line: int
) -> None:
    """An arrow that begins with a dot."""
    length = math.dist(start, stop)
    if length < 1:
        return
    dx, dy = (stop[0] - start[0]) / length, (stop[1] - start[1]) / length
    size = min(5 * line, length / 2)
    back = (stop[0] - dx * size, stop[1] - dy * size)
    head = [
        stop,
        (back[0] - dy * size / 2, back[1] + dx * size / 2),
        (back[0] + dy * size / 2, back[1] - dx * size / 2),
    ]
    canvas.line([start, back], fill="white", width=line + 2)
    canvas.line([start, back], fill=colour, width=line)
    canvas.polygon(head, fill=colour, outline="white")
    radius = 1.5 * line
    canvas.ellipse(
        (start[0] - radius, start[1] - radius, start[0] + radius, start[1] + radius), fill=colour, outline="white"
    )


def _text_size(canvas: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont) -> tuple[Real, Real]:
    left, top, right, bottom = canvas.multiline_textbbox((0, 0), text, font=font, spacing=2)
    return right - left, bottom - top


def _free_place(
    text_size: tuple[Real, Real],
    font: ImageFont.FreeTypeFont,
    anchor: tuple[Real, Real],
    frame: tuple[int, int],
    taken: Sequence[Rectangle],
    boxes: Sequence[Rectangle],
) -> Rectangle | None:
    """The free rectangle for a label that lies nearest to `anchor`: on a spiral around it, within the image.

    Places near the anchor that hide no box are preferred; those that overlap another label are never taken.
    """
    width, height = (value + font.size * 0.5 for value in text_size)
    if width > frame[0] or height > frame[1]:
        return None
    for steps, obstacles in ((250, [*taken, *boxes]), (700, taken)):
        for step in range(steps):
            radius, angle = 0.45 * font.size * math.sqrt(step), step * 2.4  # 2.4: the golden angle
            x = min(max(0.0, anchor[0] - width / 2 + radius * 1.6 * math.cos(angle)), frame[0] - width)
            y = min(max(0.0, anchor[1] - height / 2 + radius * math.sin(angle)), frame[1] - height)
            place = (x, y, x + width, y + height)
            if not any(_touch(place, other) for other in obstacles):
                return place
    return None


def _touch(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] + 2 and b[0] < a[2] + 2 and a[1] < b[3] + 2 and b[1] < a[3] + 2


def _draw_label(
    canvas: ImageDraw.ImageDraw,
    place: Rectangle,
    text: str,
    font: ImageFont.FreeTypeFont,
    anchor: tuple[Real, Real],
    colour: Colour,
    line: int,
) -> None:
    if not (place[0] <= anchor[0] <= place[2] and place[1] <= anchor[1] <= place[3]):
        canvas.line([anchor, _center(place)], fill=colour, width=max(1, line // 2))
    canvas.rounded_rectangle(place, radius=font.size * 0.25, fill="white", outline=colour, width=max(1, line))
    left, top, _, _ = canvas.multiline_textbbox((0, 0), text, font=font, spacing=2)
    pad = font.size * 0.25
    canvas.multiline_text((place[0] + pad - left, place[1] + pad - top), text, font=font, fill=INK, spacing=2)


def _draw_note(canvas: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, frame: tuple[int, int]) -> None:
    width, height = _text_size(canvas, text, font)
    canvas.rectangle((frame[0] - width - 8, frame[1] - height - 8, frame[0], frame[1]), fill="white")
    canvas.text((frame[0] - width - 4, frame[1] - 4), text, font=font, fill=INK, anchor="ls")


_GAP, _PANEL, _CELL_WIDTH, _TEXT_SIZE = 24, 440, 2 * 440 + 10, 17


def _cell(image: Image.Image, predicted: Triplets, labelled: Triplets) -> Image.Image:
    """Predictions at the left, labels at the right, the list below."""
    panels = []
    for triplets, show_scores in ((predicted, True), (labelled, False)):
        panels.append(draw_triplets(image, triplets, long_side=_PANEL, show_scores=show_scores))
    lines = _caption(predicted, labelled)
    font, bold = _font(_TEXT_SIZE), _font(_TEXT_SIZE, bold=True)
    top = max(panel.height for panel in panels) + 30
    cell = Image.new("RGB", (_CELL_WIDTH, top + (max(len(side) for side in lines) + 1) * (_TEXT_SIZE + 6)), "white")
    canvas = ImageDraw.Draw(cell)
    for column, (heading, panel, side) in enumerate(zip(("predicted", "labelled"), panels, lines, strict=True)):
        x = column * (_PANEL + 10)
        canvas.text((x, 0), heading, font=bold, fill=GREY)
        cell.paste(panel, (x, 26))
        for k, (text, colour) in enumerate(side):
            canvas.text((x, top + 6 + k * (_TEXT_SIZE + 6)), _clipped(text, font, _PANEL), font=font, fill=colour)
    return cell


def _caption(predicted: Triplets, labelled: Triplets) -> tuple[list[tuple[str, Colour]], list[tuple[str, Colour]]]:
    """Lines under the predictions and under the labels, with their colours."""
    found = correct_triplets(predicted, labelled)
    left = [
        (
            f"{'✗' if row is None else '✓'} {t.score:.2f}  {t.subject} {_label(t, False)}",
            WRONG if row is None else RIGHT,
        )
        for t, row in zip(predicted, found, strict=True)
    ]
    right = [
        (f"{'✓' if row in found else '·'} {t.subject} {_label(t, False)}", RIGHT if row in found else GREY)
        for row, t in enumerate(labelled)
    ]
    return left or [("nothing predicted", GREY)], right or [("nothing labelled", GREY)]


def _clipped(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    while font.getlength(text) > width:
        text = text.removesuffix("…")[:-1] + "…"
    return text


def _heading(title: str, scores: Mapping[str, float], width: int) -> Image.Image:
    """The title with a table of figures in percent: names `row/column` share rows and columns."""
    names = [name.rpartition("/")[::2] for name in scores]
    rows, columns = list(dict.fromkeys(row for row, _ in names)), list(dict.fromkeys(column for _, column in names))
    line, column_width = 34, min(190, (width - 2 * _GAP) // (len(columns) + 1))
    heading = Image.new("RGB", (width, 84 + (len(rows) + 1) * line * bool(scores) + 12), "white")
    canvas = ImageDraw.Draw(heading)

    def write(row: int, column: int, text: str, *, bold: bool = False, fill: Colour = INK) -> None:
        font = _font(_TEXT_SIZE + 3 * bold, bold=bold)
        place = (_GAP + column * column_width, 76 + row * line)
        canvas.text(place, _clipped(text, font, column_width - 16), font=font, fill=fill)

    canvas.text(
        (_GAP, 22), _clipped(title, _font(30, bold=True), width - 2 * _GAP), font=_font(30, bold=True), fill=INK
    )
    for number, name in enumerate(columns):
        write(0, number + 1, _words(name), fill=GREY)
    for number, name in enumerate(rows):
        write(number + 1, 0, _words(name), fill=GREY)
    for (row, column), value in zip(names, scores.values(), strict=True):
        text = "n/a" if math.isnan(value) else f"{100 * value:.1f}"
        write(rows.index(row) + 1, columns.index(column) + 1, text, bold=True)
    canvas.line((_GAP, heading.height - 12, width - _GAP, heading.height - 12), fill=(200, 200, 200), width=1)
    return heading


def _words(name: str) -> str:
    """A figure's name as read by people: `map_non_rare` -> `mAP non rare`."""
    return name.replace("_", " ").replace("map ", "mAP ")
