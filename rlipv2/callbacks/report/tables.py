"""Tables of a report: on the page, and as CSV files beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torchmetrics import Metric

from rlipv2.metrics import HICODetMAP, OpenImagesSGG, VCOCORoleAP
from rlipv2.metrics.diagnosis import Diagnosis
from rlipv2.pages.tables import write_table


@dataclass(frozen=True)
class Table:
    """A table of plain values; fractions stay fractions.

    Attributes:
        name: of the CSV file.
        title: above it.
        header: names of the columns.
        rows: numbers, texts, or None.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: list[list[Any]]


@dataclass(frozen=True)
class Official:
    """What a metric knows per class beyond the diagnosis.

    Attributes:
        columns: figures of the classes of the diagnosis, by name.
        tables: figures of other classes.
    """

    columns: Mapping[str, Float[np.ndarray, " c"]] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()


def official_of(metric: Metric, relations: tuple[str, ...]) -> Official:
    """The figures per class of a metric's own; runs its `compute`, and therefore on all processes together.

    Args:
        metric: of a test.
        relations: names of the label space.
    """
    if isinstance(metric, HICODetMAP):
        arrays = metric.per_class()
        other = "matlab" if metric.protocol == "rlipv2" else "rlipv2"
        names = {"known object": "ko_ap", "MATLAB" if other == "matlab" else "RLIPv2": f"{other}/ap"}
        return Official({f"AP, {name}": arrays[key] for name, key in names.items()})
    if isinstance(metric, OpenImagesSGG):
        arrays = metric.per_class()
        keys = ("pysgg/rel_ap", "pysgg/phr_ap", "pysgg/num_labelled")
        rows = [[name, *(_plain(arrays[key][row]) for key in keys)] for row, name in enumerate(relations)]
        header = ("relation", "AP of relations", "AP of phrases", "labels")
        title = "Per relation, rules of PySGG (not comparable with those of RLIPv2)"
        table = Table("pysgg_relations", title, header, rows)
        return Official({"AP of phrases": arrays["rlipv2/phr_100_ap"]}, (table,))
    if isinstance(metric, VCOCORoleAP):
        return Official({}, _vcoco_tables(metric))
    return Official()


def _vcoco_tables(metric: VCOCORoleAP) -> tuple[Table, ...]:
    arrays, verbs = metric.per_class(), metric.table
    persons = arrays["num_positives"]
    roles = [
        [name, _plain(first), _plain(second), int(persons[action]), "" if published else "not published"]
        for name, first, second, action, published in zip(
            verbs.slots, arrays["role_1/ap"], arrays["role_2/ap"], verbs.slot_actions, verbs.published, strict=True
        )
    ]
    agents = [
        [name, _plain(ap), int(count)]
        for name, ap, count in zip(verbs.actions, arrays["agent/ap"], persons, strict=True)
    ]
    header = ("action and role", "AP role, scenario 1", "AP role, scenario 2", "persons", "note")
    return (
        Table("roles", "The published figure, per action and role", header, roles),
        Table("agents", "Agents, per action", ("action", "AP agent", "persons"), agents),
    )


def write_tables(folder: Path, figures: Mapping[str, float], diagnosis: Diagnosis | None, official: Official) -> None:
    """Writes all tables as CSV files; an empty cell is an undefined number."""
    write_table(folder / "figures.csv", ("figure", "value"), ((name, _plain(v)) for name, v in figures.items()))
    for table in official.tables:
        write_table(folder / f"{table.name}.csv", table.header, table.rows)
    if diagnosis is None:
        return
    space = diagnosis.label_space
    classes = diagnosis.classes.rows(space)
    extra = {name: [_plain(value) for value in values] for name, values in official.columns.items()}
    header = [*(classes[0] if classes else ()), *extra]
    rows = [[*row.values(), *(values[k] for values in extra.values())] for k, row in enumerate(classes)]
    write_table(folder / "classes.csv", header, rows)
    for name, records in (("relations", diagnosis.relations.rows(space)), ("errors", diagnosis.errors.rows())):
        write_table(folder / f"{name}.csv", list(records[0]), (row.values() for row in records))  # type: ignore[misc]
    _write_details(folder, diagnosis)


def _write_details(folder: Path, diagnosis: Diagnosis) -> None:
    names, counts = diagnosis.confusion.relations, diagnosis.confusion.counts
    write_table(
        folder / "confusion.csv",
        ("labelled", *names, "(no pair found)"),
        ([name, *row] for name, row in zip(names, counts.tolist(), strict=True)),
    )
    curves = {"all": diagnosis.curves.overall} | dict(zip(names, diagnosis.curves.by_relation, strict=True))
    write_table(
        folder / "curves.csv",
        ("relation", "score", "recall", "precision"),
        (
            (name, f"{score:.6g}", f"{recall:.6f}", f"{precision:.6f}")
            for name, curve in curves.items()
            for score, recall, precision in zip(curve.scores, curve.recall, curve.precision, strict=True)
        ),
    )
    images = diagnosis.images
    columns = (images.indices, images.image_ids, images.num_labelled, images.num_found)
    write_table(
        folder / "images.csv",
        ("index", "image_id", "labels", "found", "ap"),
        ([*row, _plain(ap)] for *row, ap in zip(*(column.tolist() for column in columns), images.ap, strict=True)),
    )


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
