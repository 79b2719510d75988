"""Shapes and lines of text, and how they become pixels.

Shapes are painted by matplotlib's Agg renderer, which has smooth edges, curves and dashes (Pillow has none of them);
text by Pillow, which takes any font file and sets right-to-left scripts. A whole figure of matplotlib would cost more
than the painting itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw

from rlipv2.visualize.colours import Colour
from rlipv2.visualize.fonts import draw_text

Point = tuple[float, float]
Rectangle = tuple[float, float, float, float]  # x1 y1 x2 y2, y downwards

_STRIP = 1024  # rows painted at a time: a buffer for the whole of a large picture would take hundreds of megabytes


@dataclass(frozen=True)
class Shape:
    """A path with a stroke, a fill, or both, in pixels of the picture.

    Attributes:
        path: vertices x right, y down.
        stroke: colour of the line, None for none.
        width: of the line, in pixels; it lies half on each side of the path.
        fill: colour of the inside, None for none.
        dashes: lengths drawn and skipped in turn, in pixels; empty for a solid line.
    """

    path: Path
    stroke: Colour | None = None
    width: float = 1.0
    fill: Colour | None = None
    dashes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Text:
    """One line of text, whose baseline begins at `place`; size in pixels."""

    place: Point
    text: str
    size: int
    fill: Colour
    bold: bool = False


Item = Shape | Text


def polyline(points: Sequence[Point], *, closed: bool = False) -> Path:
    """Straight lines through points."""
    return Path([*points, points[0]] if closed else list(points), closed=closed)


def curve(start: Point, control: Point, stop: Point) -> Path:
    """A quadratic Bézier curve."""
    return Path([start, control, stop], [Path.MOVETO, Path.CURVE3, Path.CURVE3])


def circle(center: Point, radius: float) -> Path:
    """A circle."""
    return Path.circle(center, radius)


def rectangle(box: Rectangle, radius: float = 0.0) -> Path:
    """A rectangle, with round corners if asked."""
    x1, y1, x2, y2 = box
    r = min(radius, (x2 - x1) / 2, (y2 - y1) / 2)
    if r <= 0:
        return polyline([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], closed=True)
    corners = [
        [(x1 + r, y1), (x2 - r, y1), (x2, y1), (x2, y1 + r)],
        [(x2, y2 - r), (x2, y2), (x2 - r, y2)],
        [(x1 + r, y2), (x1, y2), (x1, y2 - r)],
        [(x1, y1 + r), (x1, y1), (x1 + r, y1), (x1 + r, y1)],
    ]
    line, bend = Path.LINETO, Path.CURVE3
    codes = [Path.MOVETO, line, bend, bend, line, bend, bend, line, bend, bend, line, bend, bend, Path.CLOSEPOLY]
    return Path([point for corner in corners for point in corner], codes)


def paint(picture: Image.Image, items: Sequence[Item]) -> Image.Image:
    """An RGB picture with shapes painted on it in their order, and all texts above them."""
    pixels = np.array(picture.convert("RGB"))
    shapes = [(item, _rows(item)) for item in items if isinstance(item, Shape)]
    for top in range(0, len(pixels), _STRIP):
        strip = pixels[top : top + _STRIP]
        reaching = [shape for shape, (first, last) in shapes if last >= top and first <= top + len(strip)]
        if reaching:
            _paint_strip(strip, reaching, top)
    result = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(result)
    for item in items:
        if isinstance(item, Text):
            draw_text(canvas, item.place, item.text, size=item.size, fill=item.fill, bold=item.bold)
    return result


def _paint_strip(pixels: np.ndarray, shapes: Sequence[Shape], top: int) -> None:
    """Paints on some rows of a picture, in place."""
    height, width = pixels.shape[:2]
    renderer = RendererAgg(width, height, 72)  # 72 dots per inch: a point of line width is a pixel
    buffer = np.asarray(renderer.buffer_rgba())
    buffer[..., :3] = pixels
    buffer[..., 3] = 255
    upright = Affine2D().translate(0, -top).scale(1, -1).translate(0, height)  # Agg counts rows from the bottom
    for shape in shapes:
        context = renderer.new_gc()
        context.set_linewidth(0 if shape.stroke is None else shape.width)
        context.set_foreground(_unit(shape.stroke or shape.fill or (0, 0, 0)), isRGBA=True)
        context.set_joinstyle("round")
        context.set_capstyle("butt" if shape.dashes else "round")
        if shape.dashes:
            context.set_dashes(0, list(shape.dashes))
        renderer.draw_path(context, shape.path, upright, None if shape.fill is None else _unit(shape.fill))
        context.restore()
    pixels[:] = buffer[..., :3]


def _rows(shape: Shape) -> tuple[float, float]:
    """The first and last row of pixels that a shape may touch; curves lie between their control points."""
    rows = np.asarray(shape.path.vertices)[:, 1]
    return float(rows.min()) - shape.width, float(rows.max()) + shape.width


def _unit(colour: Colour) -> tuple[float, float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255, 1.0
