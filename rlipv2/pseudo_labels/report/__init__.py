"""A page about pseudo-labels: counts, charts, pictures, scores against the truth; and the tables behind it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from rlipv2.ops.files import write_atomically
from rlipv2.pages.charts import heat_map
from rlipv2.pages.template import as_script, render
from rlipv2.pseudo_labels.agreement import Agreement
from rlipv2.pseudo_labels.batches import ImageFailure
from rlipv2.pseudo_labels.matching import Matcher
from rlipv2.pseudo_labels.report import figures
from rlipv2.pseudo_labels.report.examples import Extremes, Reservoir
from rlipv2.pseudo_labels.report.page import Cards
from rlipv2.pseudo_labels.report.scores import Methods
from rlipv2.pseudo_labels.report.sheets import write_sheets
from rlipv2.pseudo_labels.report.statistics import PERSON, THRESHOLDS, ReportImage, Statistics, levels
from rlipv2.pseudo_labels.report.tables import (
    count_failures,
    image_table,
    write_agreement,
    write_counts,
    write_curves,
    write_tables,
)
from rlipv2.pseudo_labels.truth import Truth

__all__ = ["ReportImage", "write_report"]

PUBLISHED = {0.2: ("49.7", 1141), 0.25: ("25.6", 1020), 0.3: ("13.1", 903), 0.4: ("3.2", 671), 0.5: ("0.7", 379)}
"""Relations per image and distinct names by threshold, from the priors files of the official repository."""
LONG_TAILS = (0.05, 0.2, 0.5)
NOTHING_KEPT = 6
SOMETIMES = ("scores.json", "tables/scores.csv", "tables/agreement.csv")
"""What only some reports have; those of before go."""


def write_report(
    out: Path,
    images: Iterable[ReportImage],
    *,
    class_names: Sequence[str],
    matcher: Matcher | None = None,
    truth: Path | None = None,
    failures: Iterable[tuple[str, ImageFailure]] = (),
    counts: Mapping[str, Mapping[str, int]] | None = None,
    agreement: Agreement | None = None,
    threshold: float = 0.2,
    num_examples: int = 24,
    title: str = "Relational pseudo-labels",
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Writes `report/index.html`, which needs nothing beside it, `report/tables/*.csv` and `report/sheet_*.png`.

    Returns the page's path.

    Images are read once and not kept, but for the examples. The same arguments give the same bytes.

    Args:
        out: folder of the run.
        images: every image of the run in order, those without relations and those that failed too (with empty tags).
        class_names: of the labels.
        matcher: the one that the candidates were found with: tells which parsed relations name classes. Needed for
            the two baselines where there is a truth.
        truth: file of the true scene graphs, see `Truth`: adds precision and recall, and `report/scores.json`.
        failures: (stage, failure) of the images that failed.
        counts: what each stage counted.
        agreement: with another run on the same images.
        threshold: scores that reach it are kept; also where the slider of the page begins.
        num_examples: images of the contact sheet, drawn at random; half as many of the surest and least sure
            relations.
        title: heading.
        settings: of the run, by name, shown at the end.
        seed: of the random choice of images.

    Raises:
        DatasetNotFoundError: no truth there.
        AnnotationError: the truth cannot be used.
        ValueError: the truth of an image has another number of boxes, or there is no matcher for its baselines.
    """
    known = Truth(truth, index=Path(out) / "index") if truth is not None else None
    if known is not None and matcher is None:
        raise ValueError("scores against the truth compare with captions alone, which takes the matcher")
    methods = Methods(known, matcher) if known is not None and matcher is not None else None
    statistics = Statistics(threshold, matcher, person=list(class_names).index(PERSON) if PERSON in class_names else -1)
    sample, nothing = Reservoir(num_examples, seed), Reservoir(NOTHING_KEPT, seed + 1)
    most, least = Extremes(num_examples // 2), Extremes(num_examples // 2, lowest=True, threshold=threshold)
    folder = Path(out) / "report"
    for name in SOMETIMES:
        (folder / name).unlink(missing_ok=True)
    with image_table(folder / "tables" / "images.csv") as table:
        for report in images:
            of_image = statistics.add(report)
            table.add(report, of_image)
            for collector in (sample, most, least):
                collector.add(report)
            if not of_image.kept:
                nothing.add(report)
            if methods is not None:
                methods.add(report)
    rows, failed = levels(statistics), count_failures(failures)
    write_tables(folder / "tables", statistics, rows, failed, class_names)
    write_counts(folder / "tables" / "counts.csv", counts or {})
    write_sheets(folder, sample.images, class_names=class_names, threshold=threshold, title=title)
    charts = _charts(statistics, class_names)
    scores = None
    if methods is not None:
        curves = methods.curves
        charts["precision_recall"] = figures.precision_recall(curves, threshold)
        charts["by_threshold"] = figures.by_threshold(next(iter(curves.values())), threshold)
        write_curves(folder / "tables" / "scores.csv", curves)
        scores = methods.summary(threshold)
        write_atomically(folder / "scores.json", json.dumps(scores, indent=1) + "\n")
    if agreement is not None:
        charts["agreement"] = figures.agreement(agreement, threshold)
        write_agreement(folder / "tables" / "agreement.csv", agreement)
    cards = Cards(class_names, matcher, known)
    groups = {
        "sample": [cards.card(report) for report in sample.images],
        "nothing": [cards.card(report) for report in nothing.images],
        "most": [cards.card(item.image, item.row) for item in most.relations],
        "least": [cards.card(item.image, item.row) for item in least.relations],
    }
    unpictured = {name: [{**card, "picture": None} for card in group] for name, group in groups.items()}
    page = render(
        __name__,
        "page.html",
        {
            "title": title,
            "numbers": _numbers(statistics, sum(row.count for row in failed)),
            "charts": {name: Markup(chart) for name, chart in charts.items()},
            "levels": rows,
            "published": PUBLISHED,
            "threshold": threshold,
            "scores": scores,
            "images": statistics.images,
            "without_relations": statistics.without_relations,
            "sampled": len(groups["sample"]),
            "sample": groups["sample"],
            "nothing_kept": groups["nothing"],
            "most": groups["most"],
            "least": groups["least"],
            "failures": failed,
            "counts": counts or {},
            "agreement": agreement,
            "agreement_rows": [] if agreement is None else [(step, agreement.at(step)) for step in THRESHOLDS],
            "settings": settings or {},
            "data": as_script(unpictured),
        },
    )
    write_atomically(folder / "index.html", page)
    return folder / "index.html"


def _numbers(statistics: Statistics, failed: int) -> list[tuple[str, str]]:
    """The figures at the top of the page."""
    kept = statistics.totals["kept"]
    return [
        ("images", f"{statistics.images:,}"),
        ("captions", f"{statistics.totals['captions']:,}"),
        ("scored relations", f"{statistics.totals['scored']:,}"),
        (f"kept at {statistics.threshold:g}", f"{kept:,}"),
        ("kept per image", f"{kept / max(statistics.images, 1):.2f}"),
        ("images without any", f"{statistics.without_relations:,}"),
        ("failures", f"{failed:,}"),
    ]


def _charts(statistics: Statistics, class_names: Sequence[str]) -> dict[str, str]:
    """Those that need no truth, by name."""
    return {
        "scores": figures.score_histogram(statistics),
        "per_image": figures.relations_per_image(statistics),
        "long_tail": figures.long_tail(statistics, LONG_TAILS),
        "funnel": figures.funnel_chart(statistics),
        "top": figures.top_relations(statistics.kept_by_relation),
        "relation_objects": heat_map(
            "relation-object",
            {(text, class_names[row]): count for (text, row), count in statistics.relation_objects.items()},
            ("relation", "class of the object"),
            (25, 20),
        ),
        "subject_objects": heat_map(
            "subject-object",
            {(class_names[a], class_names[b]): count for (a, b), count in statistics.subject_objects.items()},
            ("class of the subject", "class of the object"),
            (12, 12),
        ),
    }
