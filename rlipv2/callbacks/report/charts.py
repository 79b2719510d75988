"""Charts of a report about a test."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from rlipv2.metrics.diagnosis import Diagnosis
from rlipv2.pages.charts import BLUE, COLOURS, GREEN, ORANGE, heat_map, nothing, short, svg

KIND_COLOURS = {
    "correct": "#2f9e77",
    "duplicate": "#8ab6d6",
    "relation": "#3b82c4",
    "class": "#7a6fc0",
    "pairing": "#b06fae",
    "subject box": "#e0b040",
    "object box": "#d9782d",
    "both boxes": "#b9502a",
    "several": "#8a7f72",
    "background": "#9aa2a8",
}
"""One colour per kind of error, on light and dark ground."""
NUM_CURVES = 6
NUM_CONFUSED = 20
COLUMN_OF_NOTHING = "(no pair found)"


def groups(values: Mapping[str, float]) -> str:
    """Mean average precision of groups of classes."""
    known = {name: value for name, value in values.items() if not np.isnan(value)}

    def draw(axes: Axes) -> None:
        if not known:
            return nothing(axes)
        heights = [100 * value for value in known.values()]
        axes.bar(list(known), heights, color=[BLUE, *[ORANGE, GREEN] * 2][: len(known)], width=0.6)
        for column, height in enumerate(heights):
            axes.annotate(f"{height:.1f}", (column, height), (0, 3), textcoords="offset points", ha="center")
        axes.set(ylabel="mean AP in per cent", ylim=(0, max([1, *heights]) * 1.15))

    return svg("groups", draw, (4.6, 3.3))


def class_histogram(diagnosis: Diagnosis) -> str:
    """How many classes have which average precision, rare ones apart."""
    ap = 100 * diagnosis.classes.ap
    rare = diagnosis.classes.rare
    parts = {"": ~np.isnan(ap)} if rare is None else {"non-rare": ~rare & ~np.isnan(ap), "rare": rare & ~np.isnan(ap)}

    def draw(axes: Axes) -> None:
        if np.isnan(ap).all():
            return nothing(axes)
        values = [ap[mask] for mask in parts.values()]
        axes.hist(values, bins=20, range=(0, 100), stacked=True, color=[BLUE, ORANGE][: len(parts)], label=list(parts))
        axes.set(xlabel="AP of a class in per cent", ylabel="classes", xlim=(0, 100))
        if rare is not None:
            axes.legend(frameon=False)

    return svg("classes", draw)


def gains(diagnosis: Diagnosis) -> str:
    """What average precision would gain from putting each kind of error right."""
    values = {name: 100 * gain for name, gain in diagnosis.errors.gains.items() if not np.isnan(gain)}
    kinds = sorted(values, key=lambda name: values[name])

    def draw(axes: Axes) -> None:
        if not kinds:
            return nothing(axes)
        colours = [KIND_COLOURS.get(name, "#667078") for name in kinds]
        axes.barh(kinds, [values[name] for name in kinds], color=colours, height=0.7)
        for row, name in enumerate(kinds):
            axes.annotate(f"+{values[name]:.1f}", (values[name], row), (4, 0), textcoords="offset points", va="center")
        axes.set(xlabel="AP gained, in points", xlim=(0, max([1, *values.values()]) * 1.18))

    return svg("gains", draw, (5.2, 3.8))


def shares(diagnosis: Diagnosis) -> str:
    """What kinds the best detections of each class are, from the very best ones to many times its labels."""
    errors = diagnosis.errors
    table = np.nan_to_num(100 * errors.shares)

    def draw(axes: Axes) -> None:
        if not table.any():
            return nothing(axes)
        places, below = np.arange(len(errors.multiples)), np.zeros(len(errors.multiples))
        for kind, column in zip(errors.kinds, table.T, strict=True):
            if column.any():
                axes.bar(places, column, bottom=below, color=KIND_COLOURS[kind], label=kind, width=0.85)
                below = below + column
        axes.set_xticks(places, [f"{multiple:g} N" for multiple in errors.multiples])
        axes.set(ylabel="share in per cent", ylim=(0, 100), xlabel="best detections of a class with N labels")
        handles, names = axes.get_legend_handles_labels()
        axes.figure.legend(handles[::-1], names[::-1], frameon=False, loc="outside right center")

    return svg("shares", draw, (5.6, 3.8))


def curves(diagnosis: Diagnosis) -> str:
    """Precision over recall: of everything, and of the relations with most labels."""
    labels = diagnosis.relations.num_labelled
    frequent = [row for row in np.argsort(-labels, kind="stable")[:NUM_CURVES].tolist() if labels[row]]
    names = diagnosis.label_space.relations

    def draw(axes: Axes) -> None:
        overall = diagnosis.curves.overall
        if not overall.num_labelled:
            return nothing(axes)
        for place, row in enumerate(frequent):
            curve, line = diagnosis.curves.relation(row), ("-", "--")[place // len(COLOURS)]
            label = f"{short(names[row], 18)} ({curve.ap:.2f})"
            axes.plot(
                curve.recall, curve.precision, line, color=COLOURS[place % len(COLOURS)], linewidth=1.1, label=label
            )
        text = f"all ({overall.ap:.2f})"
        axes.plot(overall.recall, overall.precision, color="#8a9299", linewidth=2.4, label=text)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.figure.legend(frameon=False, loc="outside right center")

    return svg("curves", draw, (6.2, 3.8))


def confusion(diagnosis: Diagnosis) -> str:
    """Which relations are taken for which, among those with most labels."""
    counts, names = diagnosis.confusion.counts, diagnosis.confusion.relations
    totals = counts.sum(axis=1)
    rows = [row for row in np.argsort(-totals, kind="stable")[:NUM_CONFUSED].tolist() if totals[row]]
    named = [*names, COLUMN_OF_NOTHING]
    chosen = {(names[row], named[column]): int(counts[row, column]) for row in rows for column in [*rows, len(names)]}
    return heat_map(
        "confusion",
        chosen,
        ("labelled", "surest on the pair"),
        (NUM_CONFUSED, NUM_CONFUSED + 1),
        order=_order(named, rows),
    )


def _order(names: Sequence[str], rows: Sequence[int]) -> tuple[list[str], list[str]]:
    shown = [names[row] for row in rows]
    return shown, [*shown, COLUMN_OF_NOTHING]
