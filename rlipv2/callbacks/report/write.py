"""Writes the page of a report and its tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from rlipv2.callbacks.report.images import Example, triplets_of
from rlipv2.callbacks.report.tables import Official, write_tables
from rlipv2.callbacks.report.texts import KINDS, PREFIXES
from rlipv2.metrics.diagnosis import Diagnosis
from rlipv2.ops.files import write_atomically
from rlipv2.pages.pictures import data_uri
from rlipv2.pages.template import render
from rlipv2.structures import LabelSpace, Sample, Triplet
from rlipv2.visualize import draw_triplets

NUM_CONFUSIONS = 15
PANEL = 420
"""Long side of each drawn image in pixels."""
DRAWN = 5
"""Detections drawn on an image; the list beside it has more."""


@dataclass(frozen=True)
class Run:
    """What was evaluated.

    Attributes:
        title: heading of the page.
        protocol: what the figures are.
        figures: by name, fractions.
        losses: and what else is logged with them, by name.
        settings: shown at the end, by name.
        command: that was run.
        config: the settings of the run in full, as text.
        processes: that took part.
    """

    title: str
    protocol: str
    figures: Mapping[str, float]
    losses: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    config: str = ""
    processes: int = 1


def write_report(
    folder: Path,
    run: Run,
    *,
    diagnosis: Diagnosis | None = None,
    reason: str = "",
    official: Official | None = None,
    examples: tuple[Sequence[Example], Sequence[Example]] = ((), ()),
    sample: Callable[[int], Sample] | None = None,
) -> Path:
    """Writes `index.html`, which needs nothing beside it, and `tables/*.csv`; returns the page's path.

    Args:
        folder: of the report.
        run: what was evaluated.
        diagnosis: None gives a page with the figures alone.
        reason: why there is no diagnosis.
        official: what the metric knows per class beyond the diagnosis.
        examples: the best and the worst images.
        sample: gives an image and its labels by its position in the dataset; needed where there are examples.
    """
    official = official or Official()
    write_tables(folder / "tables", run.figures, diagnosis, official)
    page = render(
        __package__,
        "page.html",
        {
            "title": run.title,
            "run": run,
            "figures": _figures(run.figures),
            "numbers": _numbers(run, diagnosis),
            "reason": reason,
            "diagnosis": None if diagnosis is None else _parts(diagnosis, official),
            "official": official,
            "best": [_card(each, sample, diagnosis) for each in examples[0]],
            "worst": [_card(each, sample, diagnosis) for each in examples[1]],
        },
    )
    write_atomically(folder / "index.html", page)
    return folder / "index.html"


def _figures(figures: Mapping[str, float]) -> list[tuple[str, str, list[tuple[str, float]]]]:
    """(prefix, what it means, figures) in order."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for name, value in figures.items():
        prefix = name.partition("/")[0] if "/" in name else ""
        groups.setdefault(prefix, []).append((name, value))
    return [(prefix, PREFIXES.get(prefix, ""), rows) for prefix, rows in groups.items()]


def _numbers(run: Run, diagnosis: Diagnosis | None) -> list[tuple[str, str]]:
    """The figures at the top of the page."""
    if diagnosis is None:
        return [(name, _per_cent(value)) for name, value in list(run.figures.items())[:4]]
    errors = diagnosis.errors
    found = errors.num_found / errors.num_labelled if errors.num_labelled else float("nan")
    groups = {f"mean AP, {name}": value for name, value in diagnosis.groups.items() if name != "full"}
    headline = _headline(run.figures)
    numbers = [
        (name, _per_cent(value)) for name, value in ({**headline, diagnosis.figure: diagnosis.ap} | groups).items()
    ]
    return [
        *numbers,
        ("images", f"{len(diagnosis.images.indices):,}"),
        ("labels", f"{errors.num_labelled:,}"),
        ("labels found", _per_cent(found)),
    ]


def _headline(figures: Mapping[str, float]) -> dict[str, float]:
    """The published figures of the benchmarks whose diagnosis explains another one."""
    names = ("role_ap_1", "role_ap_2", "rlipv2/score_wtd")
    return {name: figures[name] for name in names if name in figures}


def _parts(diagnosis: Diagnosis, official: Official) -> dict[str, Any]:
    from rlipv2.callbacks.report import charts  # matplotlib takes a second

    names = diagnosis.label_space.relations
    rules = {"threshold": diagnosis.threshold, "near": diagnosis.near}
    errors = [row | {"what": KINDS[row["kind"]].format(**rules)} for row in diagnosis.errors.rows()]
    extra = {name: [None if np.isnan(v) else float(v) for v in values] for name, values in official.columns.items()}
    classes = diagnosis.classes.rows(diagnosis.label_space)
    drawn = {
        "groups": charts.groups(diagnosis.groups) if len(diagnosis.groups) > 1 else None,
        "classes": charts.class_histogram(diagnosis),
        "gains": charts.gains(diagnosis),
        "shares": charts.shares(diagnosis),
        "curves": charts.curves(diagnosis),
        "confusion": charts.confusion(diagnosis),
    }
    return {
        "protocol": diagnosis.protocol,
        "figure": diagnosis.figure,
        "ap": diagnosis.ap,
        "errors": errors,
        "num_found": diagnosis.errors.num_found,
        "num_labelled": diagnosis.errors.num_labelled,
        "classes": [row | {"extra": [values[k] for values in extra.values()]} for k, row in enumerate(classes)],
        "columns": list(extra),
        "named": {part: any(row[part] for row in classes) for part in ("subject", "object", "group")},
        "relations": diagnosis.relations.rows(diagnosis.label_space),
        "confusions": [
            (names[row], names[column], count) for row, column, count in diagnosis.confusion.most(NUM_CONFUSIONS)
        ],
        "charts": {name: Markup(chart) for name, chart in drawn.items() if chart is not None},
    }


def _card(example: Example, sample: Callable[[int], Sample] | None, diagnosis: Diagnosis | None) -> dict[str, Any]:
    """An image as the page shows it."""
    assert sample is not None
    assert diagnosis is not None
    shown = sample(example.index)
    predicted, labelled = (triplets_of(rows, diagnosis.label_space) for rows in (example.detections, example.labels))
    kinds = [diagnosis.errors.kinds[int(kind)] for kind in example.detections[:, 4]]
    marks = [kind == "correct" for kind in kinds]
    options = {"long_side": PANEL, "legend": False, "min_short_side": 1}
    pictures = (
        draw_triplets(shown.image, predicted.top(DRAWN), marks=marks[:DRAWN], **options),  # type: ignore[arg-type]
        draw_triplets(shown.image, labelled, show_scores=False, **options),  # type: ignore[arg-type]
    )
    return {
        "name": shown.annotation.file_name,
        "id": str(shown.annotation.image_id),
        "ap": example.ap,
        "size": pictures[0].size,
        "predicted": data_uri(pictures[0]),
        "labelled": data_uri(pictures[1]),
        "detections": [(each.score, _sentence(each), kind) for each, kind in zip(predicted, kinds, strict=True)],
        "labels": [(_sentence(each), bool(found)) for each, found in zip(labelled, example.labels[:, 4], strict=True)],
        "more": example.num_labelled - len(labelled),
    }


def _sentence(triplet: Triplet) -> str:
    """Subject, relation and, if there is one, object."""
    has_object = any(triplet.object_box) and triplet.object != LabelSpace.MISSING_OBJECT
    return f"{triplet.subject} {triplet.relation} {triplet.object if has_object else ''}".rstrip()


def _per_cent(value: float) -> str:
    return "\u2013" if np.isnan(value) else f"{100 * value:.2f} %"
