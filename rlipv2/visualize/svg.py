"""Shapes and lines of text as an SVG picture that a page can hold."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
from matplotlib.path import Path

from rlipv2.visualize.canvas import Item, Shape
from rlipv2.visualize.colours import Colour
from rlipv2.visualize.fonts import text_width

# As wide as the font that the places were found with, or nearly so; `textLength` makes up for the rest.
_FONTS = "'DejaVu Sans', Verdana, 'Bitstream Vera Sans', sans-serif"
_LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


def svg_text(items: Sequence[Item], size: tuple[int, int], *, title: str) -> str:
    """An `<svg>` on white with these items, as wide as its place in the page but not wider than it is.

    Args:
        items: in pixels, from the back to the front; texts come last, as when they are painted.
        size: (width, height) in pixels.
        title: read out to those who cannot see the picture.
    """
    width, height = size
    shapes = [_shape(item) for item in items if isinstance(item, Shape)]
    texts = [
        f'<text x="{item.place[0]:.1f}" y="{item.place[1]:.1f}" font-size="{item.size}" fill="{_hex(item.fill)}"'
        + (' font-weight="bold"' if item.bold else "")
        + f' textLength="{text_width(item.text, item.size, bold=item.bold):.1f}"'
        + f' lengthAdjust="spacingAndGlyphs">{escape(item.text)}</text>'
        for item in items
        if not isinstance(item, Shape)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'style="max-width:{width}px;width:100%;height:auto" font-family="{_FONTS}">'
        f"<title>{escape(title)}</title>"
        f'<rect width="{width}" height="{height}" rx="6" fill="#fff"/>{"".join(shapes)}{"".join(texts)}</svg>'
    )


def _shape(shape: Shape) -> str:
    fill = "none" if shape.fill is None else _hex(shape.fill)
    stroke = ""
    if shape.stroke is not None:
        stroke = f' stroke="{_hex(shape.stroke)}" stroke-width="{shape.width:.1f}" stroke-linejoin="round"'
    if shape.dashes:
        stroke += f' stroke-dasharray="{" ".join(f"{length:.1f}" for length in shape.dashes)}"'
    return f'<path d="{_path(shape.path)}" fill="{fill}"{stroke}/>'


def _path(path: Path) -> str:
    parts = []
    for points, code in path.iter_segments(simplify=False, curves=True):
        numbers = "" if code == Path.CLOSEPOLY else " ".join(f"{value:.1f}" for value in np.asarray(points))
        parts.append(f"{_LETTERS[np.uint8(code)]}{numbers}")
    return "".join(parts)


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
