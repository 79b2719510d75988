"""Checks a folder of scene graphs before anything is trained on it: `python -m rlipv2.datasets check vg`."""

from pathlib import Path

import numpy as np

from rlipv2.datasets.checks import SplitUnderCheck, check_boxes, check_images, check_relations
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.report import Report
from rlipv2.datasets.scene_graphs.dataset import NAME_FILES, find_annotations
from rlipv2.datasets.scene_graphs.names import NameCounts
from rlipv2.datasets.scene_graphs.reader import SceneGraphContent, read_scene_graphs
from rlipv2.datasets.scene_graphs.subsets import first_relations

VG_TOTALS = {"images": 108_077, "relations": 1_987_331}
MAX_RELATIONS = 100
README = "data/vg/README.md"


def check_scene_graphs(
    root: str | Path,
    *,
    annotations: str | Path | None = None,
    image_paths: str | Path | None = None,
    decode: str = "200",
    max_skip_rate: int | float = 0.001,
) -> Report:
    """Everything found in a folder of scene graphs: file, names, boxes, relations, image headers, decoded images.

    Args:
        root: folder of the dataset.
        annotations: as for `SceneGraphs`.
        image_paths: the same.
        decode: how many images to decode: a number, a fraction such as "0.01", or "all".
        max_skip_rate: share of objects and relations that may be unusable.
    """
    report, root = Report(), Path(root).expanduser()
    try:
        path = find_annotations(root, annotations)
        content = read_scene_graphs(
            path, image_paths=None if image_paths is None else root / image_paths, max_skip_rate=1.0
        )
    except (DatasetNotFoundError, AnnotationError) as error:
        report.add("all", "annotations can be read", offenders=[str(error)], note=f"see {README}")
        return report
    part = SplitUnderCheck("all", path, content.records, report)
    part.add(f"annotations can be read ({path.name})")
    _check_skipped(part, content, max_skip_rate)
    _check_totals(part, content)
    check_boxes(part)
    _check_relations(part, content)
    _check_names(part, content, root)
    check_images(part, root, decode, readme=README)
    return report


def _check_skipped(part: SplitUnderCheck, content: SceneGraphContent, max_skip_rate: int | float) -> None:
    totals = {"objects": len(content.records.boxes), "relations": len(content.records.relations)}
    for kind, kept in totals.items():
        reasons = {what: count for what, count in content.skipped.items() if what.startswith(kind)}
        unusable = sum(reasons.values())
        part.add(
            f"{kind} can be used",
            offenders=[f"{count:,} {what}" for what, count in reasons.items()],
            count=unusable,
            found="error" if unusable > max_skip_rate * (kept + unusable) else "warning",
            note="left out; more than max_skip_rate of them stop training",
        )


def _check_totals(part: SplitUnderCheck, content: SceneGraphContent) -> None:
    records = content.records
    counts = {"images": len(records), "relations": len(records.relations)}
    wrong = [
        f"{counts[what]:,} {what}, Visual Genome as published for RLIP has {total:,}"
        for what, total in VG_TOTALS.items()
        if counts[what] != total
    ]
    human = np.isinf(content.confidences).all()
    part.add(
        "totals of Visual Genome", offenders=wrong if human else [], found="warning", note="another file, or a part"
    )
    repeated = len(records) - len(set(records.file_names))
    part.add("images listed once", count=repeated, found="warning", note="kept: such images train more often")


def _check_relations(part: SplitUnderCheck, content: SceneGraphContent) -> None:
    check_relations(part, self_relations="ok")  # noise of Visual Genome that the official code keeps
    beyond = int((~first_relations(content, MAX_RELATIONS)).sum())
    note = f"beyond the first {MAX_RELATIONS} of their image; cut where a model takes no more pairs"
    part.add(f"at most {MAX_RELATIONS} relations per image", count=beyond, found="ok", note=note)


def _check_names(part: SplitUnderCheck, content: SceneGraphContent, root: Path) -> None:
    records = content.records
    counted = NameCounts.count(content.objects, records.labels, content.relations, records.relations[:, 2])
    for kind, names in (("objects", counted.objects), ("relations", counted.relations)):
        mixed = sorted({name for name in names if name != name.lower()})
        note = f"of {len(names):,} names; kept: texts are read case by case (lower_case=true changes them)"
        part.add(f"names of {kind} are lower case", offenders=mixed, found="warning", note=note)
    for path in (root / name for name in NAME_FILES):
        if not path.is_file():
            continue
        try:
            listed = NameCounts.read(path)
        except AnnotationError as error:
            part.add("counts of names can be read", offenders=[str(error)], note="training would stop")
            continue
        missing = sorted({*counted.objects} - {*listed.objects}) + sorted({*counted.relations} - {*listed.relations})
        part.add("names have counts", offenders=missing, found="warning", note=f"not in {path.name}: never drawn")
