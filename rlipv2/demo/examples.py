"""Pictures to begin with."""

from pathlib import Path

from rlipv2.microworld.deck import deal
from rlipv2.microworld.world import draw
from rlipv2.predict.inputs import find_inputs

COUNT = 6
SIZE = (128, 160)
"""Pixels: least and most of a side."""


def draw_examples(folder: Path) -> list[Path]:
    """Writes some pictures of the micro-world, of other seeds than any training, and returns their paths."""
    paths = []
    for index, cards in enumerate(deal("demo", "test", COUNT)):
        paths.append(folder / f"example_{index + 1}.png")
        draw("demo", "test", index, cards, SIZE).image.save(paths[-1])
    return paths


def find_examples(folder: Path) -> list[Path]:
    """The first pictures of a folder.

    Raises:
        InputError: no such folder, or no picture in it.
    """
    return [source.path for source in find_inputs([str(folder)]).images[:COUNT]]
