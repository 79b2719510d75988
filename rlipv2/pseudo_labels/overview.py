"""How far a run is, and whether what it made is sound."""

from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np

from rlipv2.datasets.report import Report
from rlipv2.pseudo_labels import validation
from rlipv2.pseudo_labels.candidates import kept_boxes
from rlipv2.pseudo_labels.merging import failed_images
from rlipv2.pseudo_labels.plan import Plan, PlanError
from rlipv2.pseudo_labels.progress import allowed_failures, told
from rlipv2.pseudo_labels.source import LabelledImages
from rlipv2.pseudo_labels.units import FOLDERS, StageFolder, UnitError
from rlipv2.pseudo_labels.validation import Faults


def stage_counts(plan: Plan) -> dict[str, dict[str, int]]:
    """What each stage counted in its complete units."""
    found = {}
    for stage in FOLDERS:
        try:
            folder = plan.folder(stage)
        except PlanError:
            continue
        counts: Counter[str] = Counter()
        for unit in range(plan.num_units):
            try:
                counts.update(folder.record(unit).counts)
            except UnitError:
                continue
        found[stage] = {name: count for name, count in counts.items() if count}
    return found


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
        max_failures: share of the images that may have failed: so many are told, but no error.
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
    failed = {image for unit in range(plan.num_units) for image in failed_images(plan, unit)}
    accepted = len(failed) <= allowed_failures(len(images), max_failures)
    report.add(
        "images",
        "all could be read" if accepted else "no more failed than max_failures accepts",
        offenders=sorted(map(str, failed)),
        found="warning" if accepted else "error",
        note="accepted: they have no record" if accepted else "mend them and run again with retry_failures=true",
    )
    known = ImageSizes(images, plan)
    report.findings.extend(validation.validate(merged, images=known, excused=failed).findings)
    return report


class ImageSizes:
    """(height, width) of the images of a run by id, read from their stores unit by unit.

    Args:
        images: of the run.
        plan: of the run.
    """

    def __init__(self, images: LabelledImages, plan: Plan) -> None:
        self.images, self.plan = images, plan
        ids = images.image_ids
        self._order = np.argsort(ids, kind="stable")
        self.image_ids = ids[self._order]
        self._sizes_of_unit = lru_cache(maxsize=4)(self._read)

    def size(self, place: int) -> tuple[int, int]:
        """The size of an image by its place in `image_ids`."""
        unit, row = divmod(int(self._order[place]), int(self.plan.data["unit_size"]))
        return self._sizes_of_unit(unit)[row]

    def _read(self, unit: int) -> list[tuple[int, int]]:
        return [image.size for image in self.images.read(self.plan.images_of(unit))]


def _check_rows(report: Report, folder: StageFolder, plan: Plan, images: LabelledImages) -> None:
    """Rows are of images of their unit; pairs of candidates and tags are boxes."""
    foreign, outside = Faults(), Faults()
    for unit in range(plan.num_units):
        known = {image.image_id: image for image in images.read(plan.images_of(unit))}
        for row in folder.rows(unit):
            image, pairs = _pairs(row)
            if image not in known:
                foreign.add(f"{folder.data(unit).name}: image {image}")
            elif len(pairs) and not (pairs.min() >= 0 and pairs.max() < len(kept_boxes(known[image])[1])):
                outside.add(f"{folder.data(unit).name}: image {image}: box {int(pairs.max())}")
    checks = {"rows are of images of their unit": foreign}
    if folder.stage in ("candidates", "tag"):
        checks["pairs are boxes of their image"] = outside
    for what, found in checks.items():
        report.add(folder.stage, what, offenders=found.first, count=found.count, note="run the stage again")


def _pairs(row: object) -> tuple[int, np.ndarray]:
    if isinstance(row, dict):
        pairs = [pair for group in row.get("groups", []) for pair in group[0]]
        return row["image_id"], np.array(pairs, np.int64).reshape(-1, 2)
    assert isinstance(row, tuple)
    return row[0], row[1].pairs
