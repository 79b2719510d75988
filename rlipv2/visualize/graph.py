"""Scene graphs: things as nodes, relations as arrows with words."""

from PIL import Image

from rlipv2.structures import Triplets
from rlipv2.visualize.canvas import Item, paint
from rlipv2.visualize.graph_layout import graph_layout
from rlipv2.visualize.legend import legend_lines, legend_of
from rlipv2.visualize.scene import scene_of
from rlipv2.visualize.svg import svg_text
from rlipv2.visualize.triplets import link_items


def draw_scene_graph(
    triplets: Triplets, *, size: tuple[int, int] = (1000, 700), show_scores: bool = True
) -> Image.Image:
    """The scene graph of an image: a node for each thing, an arrow for each pair with its relations.

    Names, numbers and colours are those of `draw_triplets`. Things that are linked lie near each other. Text shrinks
    until all labels find a place; what has none at 9 pixels is listed beside or below, which makes the picture larger.

    Args:
        triplets: of one image, may be empty; about 40 can be read on 1000 x 700 pixels.
        size: (width, height) of the graph in pixels.
        show_scores: whether labels show scores.

    Raises:
        ValueError: a side of less than 50 pixels.
    """
    items, frame = _graph(triplets, size, show_scores)
    return paint(Image.new("RGB", frame, "white"), items)


def scene_graph_svg(triplets: Triplets, *, size: tuple[int, int] = (1000, 700), show_scores: bool = True) -> str:
    """The same as text of an SVG picture for a page: words are escaped, and nothing is loaded from elsewhere.

    Raises:
        ValueError: a side of less than 50 pixels.
    """
    items, frame = _graph(triplets, size, show_scores)
    return svg_text(items, frame, title=f"scene graph of {len(triplets)} triplets")


def _graph(triplets: Triplets, size: tuple[int, int], show_scores: bool) -> tuple[list[Item], tuple[int, int]]:
    """What to paint, and the size of graph and list together."""
    if min(size) < 50:
        raise ValueError(f"size {size}: expected (width, height) of at least 50 pixels")
    layout = graph_layout(scene_of(triplets), size, show_scores=show_scores)
    items, lines = link_items(layout), legend_lines(layout, show_scores=show_scores)
    if not lines:
        return items, size
    listed = legend_of(lines, size, layout.size)
    return [*items, *listed.items], listed.size
