"""The tables of a report as CSV files."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rlipv2.ops.files import opened_atomically
from rlipv2.pages.tables import write_table
from rlipv2.pseudo_labels.agreement import STEPS as AGREEMENT_STEPS
from rlipv2.pseudo_labels.agreement import Agreement
from rlipv2.pseudo_labels.batches import ImageFailure
from rlipv2.pseudo_labels.report.statistics import THRESHOLDS, ImageCounts, Level, ReportImage, Statistics, funnel
from rlipv2.pseudo_labels.truth import STEPS, Curve

EXAMPLES = 4


class ImageTable:
    """`images.csv`, a line per image."""

    def __init__(self, file: Any) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(["image_id", "split", "file_name", *(column.name for column in fields(ImageCounts))])

    def add(self, report: ReportImage, counts: ImageCounts) -> None:
        """Adds the line of an image."""
        image = report.image
        self._writer.writerow([image.image_id, image.split, image.file_name, *vars(counts).values()])


@contextmanager
def image_table(path: Path) -> Iterator[ImageTable]:
    """The table of images to be written line by line; it is there when the block ends."""
    with opened_atomically(path) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        yield ImageTable(file)
        file.detach()  # writes the rest, and leaves `raw` open to be renamed


@dataclass
class FailureCount:
    """How often a stage failed in one way, with the first few messages."""

    stage: str
    kind: str
    count: int
    examples: list[str]


def count_failures(failures: Iterable[tuple[str, ImageFailure]]) -> list[FailureCount]:
    """Failures by stage and kind, in order of appearance of the stages, the most frequent kinds first."""
    counts: dict[tuple[str, str], FailureCount] = {}
    stages: Counter[str] = Counter()
    for stage, failure in failures:
        stages[stage] += 1
        row = counts.setdefault((stage, failure.kind), FailureCount(stage, failure.kind, 0, []))
        row.count += 1
        if len(row.examples) < EXAMPLES:
            row.examples.append(f"{failure.image_id}: {failure.message}")
    order = list(stages)
    return sorted(counts.values(), key=lambda row: (order.index(row.stage), -row.count, row.kind))


def write_tables(
    folder: Path, statistics: Statistics, levels: Sequence[Level], failures: Sequence[FailureCount],
    class_names: Sequence[str],
) -> None:  # fmt: skip
    """Writes all tables but those of images and of scores."""
    write_table(folder / "funnel.csv", ("step", "count"), funnel(statistics))
    write_table(
        folder / "thresholds.csv",
        [column.name for column in fields(Level)],
        [list(vars(row).values()) for row in levels],
    )
    at = {threshold: statistics.relation_counts(threshold) for threshold in THRESHOLDS}
    order = [*at[THRESHOLDS[0]], *sorted(statistics.by_relation.keys() - at[THRESHOLDS[0]].keys())]
    write_table(
        folder / "relations.csv",
        ["relation", *(f"at_{threshold:g}" for threshold in THRESHOLDS)],
        ([text, *(counts.get(text, 0) for counts in at.values())] for text in order),
    )
    write_table(
        folder / "relations_per_image.csv",
        ("relations", "images"),
        [(number, int(images)) for number, images in enumerate(statistics.per_image) if images],
    )
    write_table(
        folder / "relation_objects.csv",
        ("relation", "object", "count"),
        ((text, class_names[row], count) for (text, row), count in _ordered(statistics.relation_objects)),
    )
    write_table(
        folder / "subject_objects.csv",
        ("subject", "object", "count"),
        ((class_names[a], class_names[b], count) for (a, b), count in _ordered(statistics.subject_objects)),
    )
    write_table(
        folder / "failures.csv",
        ("stage", "kind", "count"),
        ((row.stage, row.kind, row.count) for row in failures),
    )


def write_curves(path: Path, curves: dict[str, Curve]) -> None:
    """Writes precision, recall and F1 of every method at each hundredth of a score."""
    rows = []
    for name, curve in curves.items():
        for k in range(0, STEPS + 1, STEPS // 100):
            kept = int(curve.right[k] + curve.wrong[k])
            figures = (f"{values[k]:.6f}" for values in (curve.precision, curve.recall, curve.f1))
            rows.append((name, f"{curve.thresholds[k]:.2f}", kept, int(curve.right[k]), int(curve.found[k]), *figures))
    header = ("method", "threshold", "kept", "right", "found", "precision", "recall", "f1")
    write_table(path, header, rows)


def write_counts(path: Path, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Writes what each stage counted."""
    rows = [(stage, what, count) for stage, some in counts.items() for what, count in some.items()]
    write_table(path, ("stage", "what", "count"), rows)


def write_agreement(path: Path, found: Agreement) -> None:
    """Writes how far two runs agree at each threshold."""
    columns = ("here", "there", "both", "share", "pair_share")
    steps = [(k / AGREEMENT_STEPS, found.at(k / AGREEMENT_STEPS)) for k in range(AGREEMENT_STEPS + 1)]
    rows = [(f"{step:.2f}", *(f"{at[name]:.6g}" for name in columns)) for step, at in steps]
    write_table(path, ("threshold", *columns), rows)


def _ordered(counts: Counter[Any]) -> list[tuple[Any, int]]:
    """Most frequent first, equal ones sorted: the order of images must not matter."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
