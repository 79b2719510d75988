"""Checks a folder of HICO-DET before anything is trained on it: `python -m rlipv2.datasets check hico`."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from rich.console import Console
from rich.progress import track

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError, ImageFileError
from rlipv2.datasets.hico.dataset import FOLDER, IMAGE_FOLDERS, find_annotations, find_root, missing_images
from rlipv2.datasets.hico.readers import Kind, Split, detect, ppdm, read_annotations
from rlipv2.datasets.hico.subsets import out_of_range, relation_hois, relation_images
from rlipv2.datasets.images import ImageHeader, read_header, read_image
from rlipv2.datasets.report import Report
from rlipv2.structures import RelationRecords
from rlipv2.vocabularies import HICOVocabulary, load

NUM_IMAGES = {"train": 38_118, "test": 9_658}
# extensions that name the formats found in practice; others are not judged
EXTENSIONS = {"JPEG": {".jpg", ".jpeg"}, "PNG": {".png"}, "GIF": {".gif"}, "WEBP": {".webp"}, "BMP": {".bmp"}}
OUTSIDE_SHARE = 0.1
MIXUP_SHARE = 0.05


@dataclass
class SplitUnderCheck:
    """What the checks of one split share."""

    split: Split
    path: Path
    kind: Kind
    records: RelationRecords
    vocabulary: HICOVocabulary
    report: Report

    def add(self, what: str, **options: Any) -> None:
        """Adds a row about this split to the report."""
        self.report.add(self.split, what, **options)

    def box_offenders(self, bad: Bool[np.ndarray, " n"]) -> list[str]:
        """Record, image and coordinates of the boxes that are true in `bad`."""
        rows = np.flatnonzero(bad)
        images = np.searchsorted(self.records.box_ptr, rows, side="right") - 1
        return [
            f"record {image} (image {self.records.file_names[image]}): box {row - self.records.box_ptr[image]} "
            f"= {self.records.boxes[row].tolist()}"
            for row, image in zip(rows, images, strict=True)
        ]

    def relation_offenders(self, bad: Bool[np.ndarray, " h"]) -> list[str]:
        """Record, image and values of the relations that are true in `bad`."""
        rows, images = np.flatnonzero(bad), relation_images(self.records)[bad]
        return [
            f"record {image} (image {self.records.file_names[image]}): relation "
            f"{row - self.records.relation_ptr[image]} = {self.records.relations[row].tolist()}"
            for row, image in zip(rows, images, strict=True)
        ]


def check_hico(
    root: str | Path,
    *,
    annotations: str | Path = "auto",
    decode: str = "200",
    max_skip_rate: int | float = 0.001,
    vocabulary: HICOVocabulary | None = None,
) -> Report:
    """Everything found in a folder of HICO-DET: files, annotations, image headers, decoded images.

    Boxes are looked at as stored, before shifting and merging.

    Args:
        root: folder `hico_20160224_det`, or the one that holds it.
        annotations: as for `HICODet`.
        decode: how many images of each split to decode: a number, a fraction such as "0.01", or "all".
        max_skip_rate: share of training images that may be left out for relations to missing boxes.
        vocabulary: other classes than those of HICO-DET.
    """
    report, vocabulary = Report(), vocabulary or load("hico")
    try:
        root = find_root(root)
    except DatasetNotFoundError as error:
        report.add("both", "folder", offenders=[str(error)], note=f"see data/{FOLDER}/README.md")
        return report
    names: dict[str, set[str]] = {}
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        try:
            path = find_annotations(root, split, annotations)
            kind, content = detect(path)
            records = read_annotations(path, split, shift="none", merge_iou=None, vocabulary=vocabulary)
        except (DatasetNotFoundError, AnnotationError) as error:
            report.add(split, "annotations can be read", offenders=[str(error)], note="nothing further is checked here")
            continue
        part = SplitUnderCheck(split, path, kind, records, vocabulary, report)
        report.add(split, f"annotations can be read ({kind}: {path.name})")
        names[split] = set(records.file_names)
        _check_totals(part)
        _check_boxes(part)
        _check_relations(part, max_skip_rate)
        if kind == "ppdm":
            _check_hoi_ids(part, ppdm.read(content, path, vocabulary))
        _check_images(part, root / IMAGE_FOLDERS[split], decode)
    shared = sorted(names.get("train", set()) & names.get("test", set()))
    report.add("both", "no image in train and test", offenders=shared, note="the test images must not be trained on")
    return report


def _check_totals(part: SplitUnderCheck) -> None:
    records, note = part.records, "expected for a subset or a miniature only"
    images, expected = len(records), NUM_IMAGES[part.split]
    wrong = [] if images == expected else [f"{images:,} images, the release has {expected:,}"]
    part.add("number of images", offenders=wrong, found="warning", note=note)
    counts = part.vocabulary.train_counts if part.split == "train" else part.vocabulary.test_counts
    hois = relation_hois(*_valid(part))
    found = np.bincount(hois[hois >= 0], minlength=len(counts))
    differing = np.flatnonzero(found != counts)
    offenders = [f"{found.sum():,} relations in all, the release has {counts.sum():,}"]
    offenders += [f"interaction {hoi + 1}: {found[hoi]:,}, the release has {counts[hoi]:,}" for hoi in differing[:5]]
    part.add("relations of each interaction", offenders=offenders, count=len(differing), found="warning", note=note)
    repeated = len(records) - len(set(records.file_names))
    part.add("images listed once", count=repeated, found="warning", note="kept; few-shot files repeat on purpose")
    for what, ptr in (("without boxes", records.box_ptr), ("without relations", records.relation_ptr)):
        count = int((np.diff(ptr) == 0).sum())
        part.report.add(part.split, f"images {what}", count=count, found="ok", note="kept, as in the release")


def _check_boxes(part: SplitUnderCheck) -> None:
    records = part.records
    flat = np.asarray((records.boxes[:, 2:] <= records.boxes[:, :2]).any(axis=1))
    note = "dropped in training, with their relations"
    part.add("boxes have an area", offenders=part.box_offenders(flat), found="warning", note=note)
    images = np.repeat(np.arange(len(records)), np.diff(records.box_ptr))
    keys = np.concatenate([images[:, None], records.labels[:, None], records.boxes], axis=1)
    repeated = len(keys) - len(np.unique(keys, axis=0))
    part.add("boxes listed once", count=repeated, found="ok", note="kept; the PPDM test file repeats boxes")


def _check_relations(part: SplitUnderCheck, max_skip_rate: int | float) -> None:
    records, vocabulary = _valid(part)
    broken = out_of_range(part.records)
    skipped = len(np.unique(relation_images(part.records)[broken]))
    tolerated = part.split == "train" and skipped <= max_skip_rate * len(part.records)
    part.add(
        "relations refer to boxes of their image",
        offenders=part.relation_offenders(broken),
        found="warning" if tolerated else "error",
        note=f"training leaves these {skipped:,} images out"
        if part.split == "train"
        else "evaluation needs every image: correct the records",
    )
    # the offenders of the checks below are found among the valid relations only
    part = SplitUnderCheck(part.split, part.path, part.kind, records, vocabulary, part.report)
    subjects = records.labels[records.box_ptr[relation_images(records)] + records.relations[:, 0]]
    offenders = part.relation_offenders(subjects != vocabulary.PERSON)
    part.add("subjects are people", offenders=offenders, found="warning", note="kept; the evaluation ignores them")
    offenders = part.relation_offenders(relation_hois(records, vocabulary) < 0)
    note = "kept; the evaluation ignores them; no interaction of HICO-DET: ids of another order?"
    part.add("verb and object are an interaction", offenders=offenders, found="warning", note=note)
    keys = np.concatenate([relation_images(records)[:, None], records.relations], axis=1)
    repeated = len(keys) - len(np.unique(keys, axis=0))
    part.add("relations listed once", count=repeated, found="ok", note="kept")
    same = int((records.relations[:, 0] == records.relations[:, 1]).sum())
    part.add("subject and object are two boxes", count=same, found="ok", note="kept")


def _check_hoi_ids(part: SplitUnderCheck, content: ppdm.HOIAContent) -> None:
    records, vocabulary = _valid(part)
    hoi_ids = content.hois[~out_of_range(part.records), 3]
    differing = (hoi_ids > 0) & (hoi_ids - 1 != relation_hois(records, vocabulary))
    part = SplitUnderCheck(part.split, part.path, part.kind, records, vocabulary, part.report)
    note = "verb and object count; files with relation noise leave hoi_category_id as it was"
    offenders = part.relation_offenders(differing)
    part.add("hoi_category_id agrees with verb and object", offenders=offenders, found="warning", note=note)


def _valid(part: SplitUnderCheck) -> tuple[RelationRecords, HICOVocabulary]:
    """The records without relations to boxes that do not exist."""
    return part.records.keep_relations(~out_of_range(part.records)), part.vocabulary


def _check_images(part: SplitUnderCheck, folder: Path, decode: str) -> None:
    names = part.records.file_names
    if not folder.is_dir():
        part.add("image folder", offenders=[str(folder)], note=f"see data/{FOLDER}/README.md")
        return
    missing = missing_images(folder, names)
    part.add("images are there", offenders=missing, note="unpack the image archive fully")
    gone = set(missing)
    present = [index for index in range(len(names)) if names[index] not in gone]
    headers: dict[int, ImageHeader] = {}
    unreadable = []
    for index, result in _each(read_header, [folder / names[index] for index in present], f"{part.split} headers"):
        if isinstance(result, str):
            unreadable.append(result)
        else:
            headers[present[index]] = result
    part.add("images are images", offenders=unreadable, note="copy them again")
    _check_headers(part, headers)
    _check_sizes(part, headers)
    wanted = _sample(sorted(headers), decode)
    results = _each(read_image, [folder / names[index] for index in wanted], f"{part.split} images")
    broken = [result for _, result in results if isinstance(result, str)]
    part.add(f"{len(wanted):,} images decode", offenders=broken, note="damaged files: copy them again")


def _check_headers(part: SplitUnderCheck, headers: dict[int, ImageHeader]) -> None:
    names = part.records.file_names
    other = [
        f"{names[index]}: {header.format}"
        for index, header in headers.items()
        if Path(names[index]).suffix.lower() not in EXTENSIONS.get(header.format, {Path(names[index]).suffix.lower()})
    ]
    part.add("extensions tell the format", offenders=other, found="warning", note="read by content")
    coloured = [f"{names[index]}: {header.mode}" for index, header in headers.items() if header.mode != "RGB"]
    part.report.add(part.split, "images in other modes than RGB", count=len(coloured), found="ok", note="converted")
    rotated = [names[index] for index, header in headers.items() if header.rotated]
    note = "EXIF rotation is ignored: boxes must follow the stored pixels"
    part.add("images without EXIF rotation", offenders=rotated, found="warning", note=note)


def _check_sizes(part: SplitUnderCheck, headers: dict[int, ImageHeader]) -> None:
    """Sizes told by the annotation file, and boxes, against the sizes of the image files."""
    records = part.records
    differing = []
    for index, header in headers.items():
        told = tuple(records.sizes[index].tolist())
        if told != (0, 0) and told != header.size:
            hint = ", as if rotated by EXIF" if told == header.size[::-1] else ""
            differing.append(f"{records.file_names[index]}: file {header.size}, annotation {told} (h, w){hint}")
    part.add("sizes agree with the annotations", offenders=differing, note="boxes belong to other copies of the images")
    sizes = np.zeros((len(records), 2))
    for index, header in headers.items():
        sizes[index] = header.size
    per_box = np.repeat(sizes, np.diff(records.box_ptr), axis=0)
    known = per_box[:, 0] > 0
    outside = np.where(known, _share_outside(records.boxes, per_box), 0.0)
    some = int(((outside > 0) & (outside <= OUTSIDE_SHARE)).sum())
    part.report.add(
        part.split, "boxes reach over the edge a little", count=some, found="ok", note="clamped in training"
    )
    far = outside > OUTSIDE_SHARE
    mixed_up = bool(far.sum() > MIXUP_SHARE * max(int(known.sum()), 1))
    part.add(
        "boxes lie inside the image",
        offenders=part.box_offenders(far),
        found="error" if mixed_up else "warning",
        note="so many: are these x, y, width, height, or boxes of larger copies?"
        if mixed_up
        else "clamped in training",
    )
    _check_index_base(part, per_box, known)


def _share_outside(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The share of each box's area that lies outside of its image; 0 for boxes without area."""
    limits = np.concatenate([sizes[:, ::-1], sizes[:, ::-1]], axis=1)
    inside = np.clip(boxes, 0, limits)
    areas = [np.clip(box[:, 2:] - box[:, :2], 0, None).prod(axis=1) for box in (boxes, inside)]
    return np.where(areas[0] > 0, 1 - areas[1] / np.maximum(areas[0], 1e-9), 0.0)


def _check_index_base(part: SplitUnderCheck, sizes: np.ndarray, known: Bool[np.ndarray, " n"]) -> None:
    """Tells of 1-based boxes: none begins before 1, and some end at the last pixel."""
    boxes = part.records.boxes[known]
    one_based = bool(len(boxes)) and boxes[:, :2].min() == 1 and bool((boxes[:, 2:] == sizes[known][:, ::-1]).any())
    expected = part.kind != "ppdm" or part.split == "test"
    part.report.add(
        part.split,
        "boxes seem to count from 1",
        count=int(one_based),
        found="ok" if expected else "warning",
        note="as released" if expected else "PPDM training boxes count from 0: made with another shift?",
    )


def _each(function: Callable[[Path], Any], paths: list[Path], label: str) -> Iterator[tuple[int, Any]]:
    """Position and result of `function` for each path, or the message of its error."""

    def attempt(path: Path) -> Any:
        try:
            return function(path)
        except (ImageFileError, DatasetNotFoundError) as error:
            return str(error)

    console = Console(stderr=True)
    with ThreadPoolExecutor() as pool:
        results = pool.map(attempt, paths)
        yield from enumerate(
            track(results, label, len(paths), transient=True, console=console, disable=not console.is_terminal)
        )


def _sample(indices: list[int], decode: str) -> Int[np.ndarray, " k"]:
    """Which images to decode: "all", a number or a fraction, spread by a fixed seed.

    Raises:
        ValueError: none of these.
    """
    try:
        amount = float(len(indices)) if decode == "all" else float(decode)
    except ValueError:
        amount = -1.0
    if amount < 0 or not np.isfinite(amount):
        raise ValueError(f"decode={decode!r}: expected a number of images, a fraction such as 0.01, or 'all'")
    count = round(amount * len(indices)) if "." in decode and amount <= 1 else int(amount)
    chosen = np.random.RandomState(0).permutation(len(indices))[:count]
    return np.array(indices, np.int64)[np.sort(chosen)]
