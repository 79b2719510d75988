"""Charts of a report about pseudo-labels."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rlipv2.pages.charts import BLUE, COLOURS, GREEN, ORANGE, nothing, short, svg
from rlipv2.pseudo_labels.agreement import Agreement
from rlipv2.pseudo_labels.report.statistics import SCORE_BINS, Statistics, funnel
from rlipv2.pseudo_labels.truth import Curve


def agreement(found: Agreement, threshold: float) -> str:
    """The share of relations, and of related pairs, that two runs have in common, by threshold."""

    def draw(axes: Axes) -> None:
        if not found.here[0] and not found.there[0]:
            return nothing(axes)
        steps = np.linspace(0, 1, len(found.here))
        axes.plot(steps, found.shares, color=BLUE, label="relations")
        axes.plot(steps, found.pair_shares, color=ORANGE, label="related pairs")
        _threshold(axes, threshold)
        axes.set(xlabel="score at least", ylabel="in both, of those in any", xlim=(0, 1), ylim=(0, 1.03))
        axes.legend(frameon=False)

    return svg("agreement", draw)


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
        axes.barh([short(name) for name in names], [counts[name] for name in names], color=BLUE)
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
