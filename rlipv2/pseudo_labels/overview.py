"""How far a run is, and whether what it made is sound."""

from collections import Counter
from pathlib import Path

import numpy as np

from rlipv2.datasets.report import Report
from rlipv2.pseudo_labels import annotations
from rlipv2.pseudo_labels.candidates import kept_boxes
from rlipv2.pseudo_labels.plan import Plan, PlanError
from rlipv2.pseudo_labels.progress import told
from rlipv2.pseudo_labels.source import LabelledImages
from rlipv2.pseudo_labels.units import FOLDERS, StageFolder, UnitError

READ_AT_ONCE = 10_000


def status(plan: Plan) -> list[str]:
    """A line per stage: complete units, failures, counts. Every unit is read and compared with its checksum."""
    data = plan.data
    lines = [f"{plan.out}: {data['images']:,} images of {data['dataset']} in {plan.num_units:,} units"]
    for stage in FOLDERS:
        try:
            folder = plan.folder(stage)
        except PlanError:
            lines.append(f"{stage}: not begun")
            continue
        done, failures, counts = 0, Counter[str](), Counter[str]()
        for unit in range(plan.num_units):
            try:
                record = folder.record(unit)
            except UnitError:
                continue
            done += 1
            failures.update(record.failures)
            counts.update(record.counts)
        text = f"{stage}: {done:,}/{plan.num_units:,} units, {told(failures) if failures else 'no'} failures"
        lines.append(f"{text}; {told(counts)}" if told(counts) else text)
    return lines


def validate(plan: Plan, images: LabelledImages, merged: Path, *, max_failures: float) -> Report:
    """Everything wrong in a run: units, candidates of boxes that are not there, the merged file.

    Args:
        plan: of the run.
        images: of the run.
        merged: the merged file; one that is not there is told, not an error.
        max_failures: share of the images that may be missing in it.
    """
    report = Report()
    for stage in FOLDERS:
        try:
            folder = plan.folder(stage)
        except PlanError:
            report.add(stage, "units are complete", offenders=["not begun"], found="warning", note="run this stage")
            continue
        problems = [problem for unit in range(plan.num_units) if (problem := folder.problem(unit)) is not None]
        report.add(stage, "units are complete", offenders=problems, note="run the command again: they are made anew")
        if not problems:
            _check_rows(report, folder, plan, images)
    if not merged.is_file():
        report.add(
            "merge", "annotations are there", offenders=[str(merged)], found="warning", note="run stages=[merge]"
        )
        return report
    sizes = {}
    for start in range(0, len(images), READ_AT_ONCE):
        some = images.read(range(start, min(start + READ_AT_ONCE, len(images))))
        sizes.update({image.image_id: image.size for image in some})
    report.findings.extend(annotations.validate(merged, sizes=sizes, max_skip_rate=max_failures).findings)
    return report


def _check_rows(report: Report, folder: StageFolder, plan: Plan, images: LabelledImages) -> None:
    """Rows are of images of their unit; pairs of candidates and tags are boxes."""
    foreign, outside = [], []
    for unit in range(plan.num_units):
        known = {image.image_id: image for image in images.read(plan.images_of(unit))}
        for row in folder.rows(unit):
            image, pairs = _pairs(row)
            if image not in known:
                foreign.append(f"{folder.data(unit).name}: image {image}")
            elif len(pairs) and not (pairs.min() >= 0 and pairs.max() < len(kept_boxes(known[image])[1])):
                outside.append(f"{folder.data(unit).name}: image {image}: box {int(pairs.max())}")
    report.add(folder.stage, "rows are of images of their unit", offenders=foreign, note="run the stage again")
    if folder.stage in ("candidates", "tag"):
        report.add(folder.stage, "pairs are boxes of their image", offenders=outside, note="run the stage again")


def _pairs(row: object) -> tuple[int, np.ndarray]:
    if isinstance(row, dict):
        pairs = [pair for group in row.get("groups", []) for pair in group[0]]
        return row["image_id"], np.array(pairs, np.int64).reshape(-1, 2)
    assert isinstance(row, tuple)
    return row[0], row[1].pairs
