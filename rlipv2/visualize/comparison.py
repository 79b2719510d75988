"""Predicted and labelled triplets of one image side by side."""

from pathlib import Path

from PIL import Image
from torch import Tensor

from rlipv2.structures import Triplet, Triplets
from rlipv2.visualize.canvas import Item, Text, paint
from rlipv2.visualize.colours import GREY, RIGHT, WRONG, Colour
from rlipv2.visualize.fonts import LINE_HEIGHT, clean, clipped
from rlipv2.visualize.images import to_image
from rlipv2.visualize.matching import correct_triplets
from rlipv2.visualize.scene import object_box
from rlipv2.visualize.triplets import draw_triplets

PANEL = 440  # long side of each of the two pictures, in pixels
_SPACE = 10
_TEXT = 17


def draw_comparison(
    image: Image.Image | Tensor | str | Path,
    predictions: Triplets,
    ground_truth: Triplets,
    *,
    top: int = 5,
    long_side: int = PANEL,
) -> Image.Image:
    """The image twice, with its best predictions and with its labels, and a list of both below.

    Predictions are marked right (✓, same three names as a labelled triplet and both boxes with an IoU of at least
    0.5, each label found once) or wrong (✗); labels that one of the shown predictions finds are ticked too.

    Args:
        image: as for `draw_triplets`.
        predictions: ranked, boxes in pixels of the image.
        ground_truth: for example from `annotation_triplets`.
        top: predictions shown.
        long_side: of each of the two pictures, in pixels.
    """
    picture, predicted = to_image(image), predictions.top(top)
    found = correct_triplets(predicted, ground_truth)
    marks = [row is not None for row in found]
    panels = [
        draw_triplets(picture, predicted, long_side=long_side, marks=marks, legend=False),
        draw_triplets(picture, ground_truth, long_side=long_side, show_scores=False, legend=False),
    ]
    line, below = round(LINE_HEIGHT * _TEXT), max(panel.height for panel in panels)
    lists = _predicted_lines(predicted, marks), _labelled_lines(ground_truth, set(found) - {None})
    height = line + below + _SPACE + line * max(len(lines) for lines in lists)
    result = Image.new("RGB", (2 * long_side + _SPACE, height + _SPACE), "white")
    items: list[Item] = []
    for column, (heading, panel, lines) in enumerate(zip(("predicted", "labelled"), panels, lists, strict=True)):
        x = column * (long_side + _SPACE)
        result.paste(panel, (x, line))
        items.append(Text((x, _TEXT), heading, _TEXT, GREY, bold=True))
        for number, (text, colour) in enumerate(lines):
            place = (x, line + below + _SPACE + number * line + _TEXT)
            items.append(Text(place, clipped(text, _TEXT, long_side), _TEXT, colour))
    return paint(result, items)


def _predicted_lines(predicted: Triplets, marks: list[bool]) -> list[tuple[str, Colour]]:
    lines = [
        (f"{'✓' if right else '✗'} {triplet.score:.2f}  {_sentence(triplet)}", RIGHT if right else WRONG)
        for triplet, right in zip(predicted, marks, strict=True)
    ]
    return lines or [("nothing predicted", GREY)]


def _labelled_lines(labelled: Triplets, found: set[int | None]) -> list[tuple[str, Colour]]:
    lines = [
        (f"{'✓' if row in found else '·'} {_sentence(triplet)}", RIGHT if row in found else GREY)
        for row, triplet in enumerate(labelled)
    ]
    return lines or [("nothing labelled", GREY)]


def _sentence(triplet: Triplet) -> str:
    """Subject, relation and, if there is one, object."""
    words = (triplet.subject, triplet.relation, triplet.object if any(object_box(triplet)) else "")
    return clean(" ".join(words))
