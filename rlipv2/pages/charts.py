"""Charts as SVG that takes its ink from the page, so that it suits light and dark ones."""

import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE = "#3b82c4", "#d9782d", "#2f9e77", "#b06fae"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
INK = "#012345"
"""Stands for the colour of the text around it, which the page decides; no chart may use it for anything else."""
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the font of the page
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def svg(name: str, draw: Callable[[Axes], None], size: tuple[float, float] = (5.2, 3.3)) -> str:
    """An `<svg>` element, the same text for the same content.

    Args:
        name: of the chart; makes the ids in it differ from those of other charts of a page.
        draw: draws on the axes.
        size: width and height in inches of 72 points; the page may scale it.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        content = io.StringIO()
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = content.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r' id="[A-Za-z][A-Za-z0-9.]*_\d+"', "", text)  # "axes_1" and the like: once per page, and of no use
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL).strip()


def nothing(axes: Axes) -> None:
    """Says that there is nothing to show."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, "nothing to show", ha="center", va="center", alpha=0.6)


def heat_map(
    name: str,
    counts: Mapping[tuple[str, str], int],
    labels: tuple[str, str],
    most: tuple[int, int],
    *,
    order: tuple[Sequence[str], Sequence[str]] | None = None,
) -> str:
    """Counts of pairs of names as shades on a logarithmic scale: the most frequent rows and columns.

    Args:
        name: of the chart.
        counts: by (row, column).
        labels: of the rows and of the columns.
        most: rows and columns to show.
        order: the rows and columns instead, for example the same ones in the same order.
    """
    rows, columns = order or tuple(_most_frequent(counts, end, number) for end, number in enumerate(most))
    table = np.array([[counts.get((row, column), 0) for column in columns] for row in rows], np.int64)

    def draw(axes: Axes) -> None:
        if not table.any():
            return nothing(axes)
        # from nothing to full colour: suits any background
        shades = LinearSegmentedColormap.from_list("shades", [(0.23, 0.51, 0.77, 0.0), (0.23, 0.51, 0.77, 1.0)])
        axes.pcolormesh(np.log1p(table), cmap=shades, edgecolors=INK, linewidth=0.15)
        for row, column in zip(*np.nonzero(table), strict=True):
            value = table[row, column]
            shown = f"{value}" if value < 10_000 else f"{value / 1000:.0f}k"
            axes.text(column + 0.5, row + 0.5, shown, ha="center", va="center", fontsize=7)
        axes.set_xticks(np.arange(len(columns)) + 0.5, [short(text) for text in columns], rotation=45, ha="right")
        axes.set_yticks(np.arange(len(rows)) + 0.5, [short(text) for text in rows])
        axes.tick_params(length=0)
        axes.invert_yaxis()
        axes.set(ylabel=labels[0], xlabel=labels[1])

    return svg(name, draw, (max(4.0, 0.44 * len(columns) + 1.6), max(2.5, 0.24 * len(rows) + 1.2)))


def _most_frequent(counts: Mapping[tuple[str, str], int], end: int, number: int) -> list[str]:
    totals: Counter[str] = Counter()
    for key, count in counts.items():
        totals[key[end]] += count
    return sorted(totals, key=lambda name: (-totals[name], name))[:number]


def short(text: str, length: int = 26) -> str:
    """The text, cut to so many characters with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"
