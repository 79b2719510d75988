"""Checks a folder of Open Images v6 before anything is trained on it: `python -m rlipv2.datasets check open_images`."""

from itertools import combinations
from pathlib import Path

import numpy as np

from rlipv2.datasets.checks import SplitUnderCheck, check_boxes, check_images, check_relations
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.open_images.files import (
    ANNOTATION_FILES,
    CATEGORIES,
    OCCURRING_CATEGORIES,
    README,
    SPLITS,
    Annotations,
    Categories,
    Split,
    find_kind,
    find_root,
    read_categories,
)
from rlipv2.datasets.open_images.names import read_label_space
from rlipv2.datasets.open_images.reader import read
from rlipv2.datasets.records import out_of_range, relation_images
from rlipv2.datasets.report import Level, Report
from rlipv2.vocabularies import load

# numbers of images as papers tell them; boxes and relations of train and val together as counted
NUM_IMAGES = {"train": 126_368, "val": 1_813, "test": 5_322}
NUM_TRAINVAL = {"boxes": 518_312, "relations": 353_281}
NUM_OBJECTS = 288
SUBSET = "expected for a subset or a miniature only"


def check_open_images(
    root: str | Path,
    *,
    annotations: Annotations = "auto",
    decode: str = "200",
    max_skip_rate: int | float = 0.001,
) -> Report:
    """Everything found in a folder of Open Images v6: names, annotations, image headers, decoded images.

    Args:
        root: folder `open_image_v6`, or the one that holds it.
        annotations: as for `OpenImagesSGG`.
        decode: how many images of each split to decode: a number, a fraction such as "0.01", or "all".
        max_skip_rate: share of training images that may be left out for relations to missing boxes.
    """
    report = Report()
    try:
        root = find_root(root)
        categories = read_categories(root / CATEGORIES)
    except (DatasetNotFoundError, AnnotationError) as error:
        report.add("all", "folder and class names", offenders=[str(error)], note=f"see {README}")
        return report
    _check_categories(categories, report)
    parts: dict[str, SplitUnderCheck] = {}
    for split in SPLITS:
        part = _read_split(root, split, annotations, categories, report)
        if part is not None:
            parts[split] = part
            _check_split(part, root, decode, max_skip_rate)
    for one, other in combinations(parts, 2):
        shared = sorted(set(parts[one].records.file_names) & set(parts[other].records.file_names))
        note = "images that are evaluated must not be trained on"
        report.add("all", f"no image in {one} and {other}", offenders=shared, note=note)
    if len(parts) == len(SPLITS):
        _check_totals(parts, report)
    _check_label_space(root, annotations, categories, report)
    return report


def _read_split(
    root: Path, split: Split, annotations: Annotations, categories: Categories, report: Report
) -> SplitUnderCheck | None:
    """One split, or None where it cannot be checked further."""
    try:
        kind = find_kind(root, split, annotations)
        path = root / ANNOTATION_FILES[kind][split]
        records = read(path, categories)
    except (DatasetNotFoundError, AnnotationError) as error:
        # published models neither train nor are evaluated on val; its classes may be listed in a file of their own
        level: Level = "warning" if split == "val" and isinstance(error, DatasetNotFoundError) else "error"
        note = "nothing further is checked here"
        report.add(split, "annotations can be read", offenders=[str(error)], found=level, note=note)
        return None
    report.add(split, f"annotations can be read ({kind}: {path.name})")
    return SplitUnderCheck(split, path, records, report)


def _check_categories(categories: Categories, report: Report) -> None:
    """Names and order against the public class lists, which were not compared with a real `categories_dict.json`."""
    known = load("open_images")
    for kind in ("objects", "relations"):
        found, expected = getattr(categories, kind), getattr(known, kind)
        offenders = [] if len(found) == len(expected) else [f"{len(found)} names, the release has {len(expected)}"]
        offenders += [
            f"id {number}: {one!r}, the public list has {other!r}"
            for number, (one, other) in enumerate(zip(found, expected, strict=False))
            if one != other
        ]
        note = "the names of the file are used; another order would mix up classes of published models"
        report.add("all", f"names of {kind} are those of the release", offenders=offenders, found="warning", note=note)


def _check_split(part: SplitUnderCheck, root: Path, decode: str, max_skip_rate: int | float) -> None:
    images, expected = len(part.records), NUM_IMAGES[part.split]
    wrong = [] if images == expected else [f"{images:,} images, papers tell {expected:,}"]
    part.add("number of images", offenders=wrong, found="warning", note=SUBSET)
    repeated = images - len(set(part.records.file_names))
    part.add("images listed once", count=repeated, found="warning", note="kept, each counts")
    check_boxes(part)
    broken = out_of_range(part.records)
    skipped = len(np.unique(relation_images(part.records)[broken]))
    tolerated = part.split == "train" and skipped <= max_skip_rate * images
    part.add(
        "relations refer to boxes of their image",
        offenders=part.relation_offenders(broken),
        found="warning" if tolerated else "error",
        note=f"training leaves these {skipped:,} images out"
        if part.split == "train"
        else "evaluation needs every image: correct the records",
    )
    valid = part.records.keep_relations(~broken)
    check_relations(SplitUnderCheck(part.split, part.path, valid, part.report))
    check_images(part, root / "images", decode, readme=README)


def _check_totals(parts: dict[str, SplitUnderCheck], report: Report) -> None:
    for what, expected in NUM_TRAINVAL.items():
        count = sum(len(getattr(parts[split].records, what)) for split in ("train", "val"))
        offenders = [] if count == expected else [f"{count:,} in train and val, the release has {expected:,}"]
        report.add("all", f"number of {what}", offenders=offenders, found="warning", note=SUBSET)


def _check_label_space(root: Path, annotations: Annotations, categories: Categories, report: Report) -> None:
    try:
        found = read_label_space(root, annotations=annotations).objects
    except (DatasetNotFoundError, AnnotationError) as error:
        note = "data.label_space=all asks for all classes instead"
        report.add("all", "object classes that occur", offenders=[str(error)], note=note)
        return
    wrong = (
        [] if len(found) == NUM_OBJECTS else [f"{len(found)} of {len(categories.objects)}, published: {NUM_OBJECTS}"]
    )
    report.add("all", "object classes that occur", offenders=wrong, found="warning", note=SUBSET)
    if (root / OCCURRING_CATEGORIES).is_file():
        order = [categories.objects.index(name) for name in found]
        wrong = [] if order == sorted(order) else [f"{OCCURRING_CATEGORIES}: another order than {CATEGORIES}"]
        report.add("all", "order of the classes that occur", offenders=wrong, found="warning", note="used as it is")
