"""Checks a folder of COCO or Objects365: `python -m rlipv2.datasets check coco|objects365`."""

from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from rlipv2.datasets.checks import SplitUnderCheck, check_boxes, check_images
from rlipv2.datasets.detection.dataset import missing_files
from rlipv2.datasets.detection.layouts import LAYOUTS, Layout, LayoutName, Split, find_annotations
from rlipv2.datasets.detection.reader import read_instances
from rlipv2.datasets.detection.records import DetectionRecords
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.report import Report
from rlipv2.vocabularies import ObjectVocabulary, load


def check_detection(
    root: str | Path,
    layout: LayoutName = "coco",
    *,
    decode: str = "200",
    vocabulary: ObjectVocabulary | None = None,
) -> Report:
    """Everything found in a folder of a detection dataset: annotations, boxes, image headers, decoded images.

    Args:
        root: folder of the dataset.
        layout: "coco" or "objects365".
        decode: how many images of each split to decode: a number, a fraction such as "0.01", or "all".
        vocabulary: other classes than those of the dataset.
    """
    report, known = Report(), LAYOUTS[layout]
    root = Path(root).expanduser()
    ids: dict[str, np.ndarray] = {}
    for split in cast("tuple[Split, ...]", ("train", "val")):
        try:
            path = find_annotations(root, split, layout)
            image_path = partial(known.image_path, split)
            records = read_instances(path, vocabulary or load(layout), image_path=image_path)
        except (DatasetNotFoundError, AnnotationError) as error:
            report.add(split, "annotations can be read", offenders=[str(error)], note="nothing further is checked here")
            continue
        report.add(split, f"annotations can be read ({path.name})")
        ids[split] = records.image_ids
        _check_totals(report, split, records, known)
        part = SplitUnderCheck(split, path, _present(report, split, records, root, known).relation_records(), report)
        check_boxes(part)
        check_images(part, root, decode, readme=known.readme)
    shared = np.intersect1d(ids.get("train", np.zeros(0)), ids.get("val", np.zeros(0))).tolist()
    note = "the validation images must not be trained on"
    report.add("both", "no image in train and val", offenders=[str(number) for number in shared], note=note)
    return report


def _check_totals(report: Report, split: Split, records: DetectionRecords, layout: Layout) -> None:
    images, expected = len(records), layout.num_images[split]
    wrong = [] if images == expected else [f"{images:,} images, the release has {expected:,}"]
    note = "expected for a subset or a miniature only"
    report.add(split, "number of images", offenders=wrong, found="warning", note=note)
    note = "left out of training; detections on them are no false positives"
    report.add(split, "crowd regions", count=int(records.crowd.sum()), found="ok", note=note)
    names = records.file_names
    repeated = len(names) - len(np.unique(names))
    report.add(split, "image files listed once", count=repeated, found="warning", note="kept")


def _present(report: Report, split: Split, records: DetectionRecords, root: Path, layout: Layout) -> DetectionRecords:
    """Without the images that no copy of the dataset has."""
    absent = np.isin(records.image_ids, list(layout.absent))
    if absent.any():
        absent &= missing_files(root, records)
        report.add(split, "images that no copy has", count=int(absent.sum()), found="ok", note="skipped in training")
    return records.select(~absent)
