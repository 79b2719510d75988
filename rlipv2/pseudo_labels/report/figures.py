"""Charts of a report as SVG that takes its ink from the page, so that it suits light and dark ones."""

import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlipv2.pseudo_labels.report.statistics import SCORE_BINS, Statistics, funnel
from rlipv2.pseudo_labels.truth import Curve

BLUE, ORANGE, GREEN, PURPLE = "#3b82c4", "#d9782d", "#2f9e77", "#b06fae"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
INK = "#012345"
"""Stands for the colour of the text around it, which the page decides; no chart may use it for anything else."""
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the font of the page
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


def score_histogram(statistics: Statistics) -> str:
    """How many relations have which score."""

    def draw(axes: Axes) -> None:
        if not statistics.scores.any():
            return nothing(axes)
        edges = np.arange(SCORE_BINS) / SCORE_BINS
        axes.bar(edges, statistics.scores, width=1 / SCORE_BINS, align="edge", color=BLUE)
        _threshold(axes, statistics.threshold)
        axes.set(yscale="log", xlabel="score", ylabel="relations", xlim=(0, 1))

    return svg("scores", draw)


def long_tail(statistics: Statistics, thresholds: Sequence[float]) -> str:
    """How often the n-th most frequent name occurs, on logarithmic axes."""

    def draw(axes: Axes) -> None:
        counts = {threshold: list(statistics.relation_counts(threshold).values()) for threshold in thresholds}
        if not any(counts.values()):
            return nothing(axes)
        for (threshold, values), colour in zip(counts.items(), COLOURS, strict=False):
            if values:
                ranks = np.arange(len(values)) + 1
                axes.plot(ranks, values, color=colour, marker=".", markersize=4, label=f"score ≥ {threshold:g}")
        axes.set(xscale="log", yscale="log", xlabel="rank of the name", ylabel="relations")
        axes.legend(frameon=False)

    return svg("long-tail", draw)


def top_relations(counts: Mapping[str, int], number: int = 22) -> str:
    """The most frequent names."""
    names = list(counts)[:number][::-1]

    def draw(axes: Axes) -> None:
        if not names:
            return nothing(axes)
        axes.barh([_short(name) for name in names], [counts[name] for name in names], color=BLUE)
        axes.set(xlabel="kept relations")
        axes.margins(y=0.01)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))

    return svg("top", draw, (5.2, max(2.2, 0.2 * len(names) + 0.6)))


def relations_per_image(statistics: Statistics) -> str:
    """How many images have how many kept relations."""
    counts = statistics.per_image

    def draw(axes: Axes) -> None:
        if not counts.any():
            return nothing(axes)
        most = int(np.flatnonzero(counts).max())
        step = max(1, (most + 1) // 60 + ((most + 1) % 60 > 0))
        padded = np.concatenate([counts[: most + 1], np.zeros(-(most + 1) % step, np.int64)])
        grouped = padded.reshape(-1, step).sum(axis=1)
        axes.bar(np.arange(len(grouped)) * step - 0.5, grouped, width=0.92 * step, align="edge", color=GREEN)
        axes.set(xlabel="kept relations of an image", ylabel="images")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))

    return svg("per-image", draw)


def funnel_chart(statistics: Statistics) -> str:
    """From captions to kept relations."""
    steps = funnel(statistics)[::-1]

    def draw(axes: Axes) -> None:
        values = [value for _, value in steps]
        axes.barh([name for name, _ in steps], values, color=[ORANGE] + [BLUE] * (len(steps) - 1), height=0.7)
        for row, value in enumerate(values):
            axes.annotate(f"{value:,}", (value, row), (4, 0), textcoords="offset points", va="center")
        axes.set(xlim=(0, max([1, *values]) * 1.22))
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)

    return svg("funnel", draw)


def heat_map(name: str, counts: Mapping[tuple[str, str], int], labels: tuple[str, str], most: tuple[int, int]) -> str:
    """Counts of pairs of names as shades on a logarithmic scale: the most frequent rows and columns.

    Args:
        name: of the chart.
        counts: by (row, column).
        labels: of the rows and of the columns.
        most: rows and columns to show.
    """
    rows, columns = (_most_frequent(counts, end, number) for end, number in enumerate(most))
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
        axes.set_xticks(np.arange(len(columns)) + 0.5, [_short(text) for text in columns], rotation=45, ha="right")
        axes.set_yticks(np.arange(len(rows)) + 0.5, [_short(text) for text in rows])
        axes.tick_params(length=0)
        axes.invert_yaxis()
        axes.set(ylabel=labels[0], xlabel=labels[1])

    return svg(name, draw, (max(4.0, 0.44 * len(columns) + 1.6), max(2.5, 0.24 * len(rows) + 1.2)))


def _most_frequent(counts: Mapping[tuple[str, str], int], end: int, number: int) -> list[str]:
    totals: Counter[str] = Counter()
    for key, count in counts.items():
        totals[key[end]] += count
    return sorted(totals, key=lambda name: (-totals[name], name))[:number]


def precision_recall(curves: Mapping[str, Curve], threshold: float) -> str:
    """Precision over recall of each method; the dot of the first one is at the threshold."""

    def draw(axes: Axes) -> None:
        for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
            shown = ~np.isnan(curve.precision)
            label = f"{name} (AP {curve.average_precision:.3f})"
            # points, for where all scores are equal there is no line
            axes.plot(curve.recall[shown], curve.precision[shown], color=colour, marker=".", markersize=3, label=label)
        first = next(iter(curves.values())).at(threshold)
        axes.plot(first["recall"], first["precision"], "o", color=BLUE, markersize=8, markerfacecolor="none")
        axes.annotate(f"{threshold:g}", (first["recall"], first["precision"]), (6, 5), textcoords="offset points")
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.figure.legend(frameon=False, loc="outside lower center")

    return svg("precision-recall", draw, (5.2, 4.2))


def by_threshold(curve: Curve, threshold: float) -> str:
    """Precision, recall and F1 of the first method over the threshold."""

    def draw(axes: Axes) -> None:
        lines: dict[str, Float[np.ndarray, " k"]] = {
            "precision": curve.precision,
            "recall": curve.recall,
            "F1": curve.f1,
        }
        for (name, values), colour in zip(lines.items(), COLOURS, strict=False):
            axes.plot(curve.thresholds, values, color=colour, label=name)
        _threshold(axes, threshold)
        axes.set(xlabel="threshold", xlim=(0, 1), ylim=(0, 1.02))
        axes.figure.legend(frameon=False, loc="outside lower center", ncols=3)

    return svg("by-threshold", draw, (5.2, 4.2))


def _threshold(axes: Axes, threshold: float) -> None:
    axes.axvline(threshold, color=ORANGE, linewidth=1.2, linestyle="--")
    axes.annotate(
        f"{threshold:g}", (threshold, 1), (3, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
        color=ORANGE, va="top",
    )  # fmt: skip


def _short(text: str, length: int = 26) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
