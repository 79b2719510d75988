"""The part of a check that is the same for every dataset: boxes, image files, and how offenders are named."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.progress import track

from rlipv2.datasets.errors import DatasetNotFoundError, ImageFileError
from rlipv2.datasets.images import ImageHeader, read_header, read_image
from rlipv2.datasets.records import missing_images, relation_images
from rlipv2.datasets.report import Level, Report
from rlipv2.structures import RelationRecords

# extensions that name the formats found in practice; others are not judged
EXTENSIONS = {"JPEG": {".jpg", ".jpeg"}, "PNG": {".png"}, "GIF": {".gif"}, "WEBP": {".webp"}, "BMP": {".bmp"}}
OUTSIDE_SHARE = 0.1
MIXUP_SHARE = 0.05


@dataclass
class SplitUnderCheck:
    """What the checks of one split share; boxes are looked at as stored.

    Attributes:
        split: its name in the report.
        path: the annotation file.
        records: the annotations.
        report: where rows are added.
    """

    split: str
    path: Path
    records: RelationRecords
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


def check_boxes(part: SplitUnderCheck) -> None:
    """Counts images without boxes, boxes without area and boxes listed twice."""
    records = part.records
    for what, ptr in (("without boxes", records.box_ptr), ("without relations", records.relation_ptr)):
        if what == "without relations" and not len(records.relations):
            continue  # a detection dataset
        part.add(f"images {what}", count=int((np.diff(ptr) == 0).sum()), found="ok", note="kept, as in the release")
    flat = np.asarray((records.boxes[:, 2:] <= records.boxes[:, :2]).any(axis=1))
    note = "dropped in training, with their relations"
    part.add("boxes have an area", offenders=part.box_offenders(flat), found="warning", note=note)
    images = np.repeat(np.arange(len(records)), np.diff(records.box_ptr))
    keys = np.concatenate([images[:, None], records.labels[:, None], records.boxes], axis=1)
    repeated = len(keys) - len(np.unique(keys, axis=0))
    part.add("boxes listed once", count=repeated, found="ok", note="kept")


def check_relations(part: SplitUnderCheck, *, self_relations: Level = "warning") -> None:
    """Counts relations listed twice, and relations of a box with itself, which are of level `self_relations`."""
    records = part.records
    keys = np.concatenate([relation_images(records)[:, None], records.relations], axis=1)
    repeated = len(keys) - len(np.unique(keys, axis=0))
    part.add("relations listed once", count=repeated, found="ok", note="kept")
    same = np.asarray(records.relations[:, 0] == records.relations[:, 1])
    offenders = part.relation_offenders(same)
    part.add("subject and object are two boxes", offenders=offenders, found=self_relations, note="kept")


def check_images(part: SplitUnderCheck, folder: Path, decode: str, *, readme: str) -> dict[int, ImageHeader]:
    """Looks at every image header, compares sizes and boxes, decodes some; returns headers by record.

    Args:
        part: the split.
        folder: what the file names of the records are relative to.
        decode: how many images to decode: a number, a fraction such as "0.01", or "all".
        readme: the README that tells what belongs where.
    """
    names = part.records.file_names
    if not folder.is_dir():
        part.add("image folder", offenders=[str(folder)], note=f"see {readme}")
        return {}
    missing = missing_images(folder, names)
    part.add("images are there", offenders=missing, note="unpack the image archive fully")
    gone = set(missing)
    present = [index for index in range(len(names)) if names[index] not in gone]
    headers: dict[int, ImageHeader] = {}
    unreadable = []
    for index, result in each(read_header, [folder / names[index] for index in present], f"{part.split} headers"):
        if isinstance(result, str):
            unreadable.append(result)
        else:
            headers[present[index]] = result
    part.add("images are images", offenders=unreadable, note="copy them again")
    _check_headers(part, headers)
    _check_sizes(part, headers)
    wanted = sample(sorted(headers), decode)
    results = each(read_image, [folder / names[index] for index in wanted], f"{part.split} images")
    broken = [result for _, result in results if isinstance(result, str)]
    part.add(f"{len(wanted):,} images decode", offenders=broken, note="damaged files: copy them again")
    return headers


def _check_headers(part: SplitUnderCheck, headers: dict[int, ImageHeader]) -> None:
    names = part.records.file_names
    other = [
        f"{names[index]}: {header.format}"
        for index, header in headers.items()
        if Path(names[index]).suffix.lower() not in EXTENSIONS.get(header.format, {Path(names[index]).suffix.lower()})
    ]
    part.add("extensions tell the format", offenders=other, found="warning", note="read by content")
    coloured = [f"{names[index]}: {header.mode}" for index, header in headers.items() if header.mode != "RGB"]
    part.add("images in other modes than RGB", count=len(coloured), found="ok", note="converted")
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
    per_box = sizes_per_box(records, headers)
    known = per_box[:, 0] > 0
    outside = np.where(known, share_outside(records.boxes, per_box), 0.0)
    some = int(((outside > 0) & (outside <= OUTSIDE_SHARE)).sum())
    part.add("boxes reach over the edge a little", count=some, found="ok", note="clamped in training")
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


def sizes_per_box(records: RelationRecords, headers: dict[int, ImageHeader]) -> Int[np.ndarray, "n 2"]:
    """(height, width) of the image file that each box belongs to, (0, 0) where the header is unknown."""
    sizes = np.zeros((len(records), 2), np.int64)
    for index, header in headers.items():
        sizes[index] = header.size
    return np.repeat(sizes, np.diff(records.box_ptr), axis=0)


def share_outside(boxes: Float[np.ndarray, "n 4"], sizes: Int[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """The share of each box's area that lies outside of its image; 0 for boxes without area."""
    limits = np.concatenate([sizes[:, ::-1], sizes[:, ::-1]], axis=1)
    inside = np.clip(boxes, 0, limits)
    areas = [np.clip(box[:, 2:] - box[:, :2], 0, None).prod(axis=1) for box in (boxes, inside)]
    return np.where(areas[0] > 0, 1 - areas[1] / np.maximum(areas[0], 1e-9), 0.0)


def each(function: Callable[[Path], Any], paths: list[Path], label: str) -> Iterator[tuple[int, Any]]:
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


def sample(indices: list[int], decode: str) -> Int[np.ndarray, " k"]:
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
