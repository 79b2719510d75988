"""What is wrong in a file of annotations."""

import hashlib
import json
from array import array
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.json_stream import iterate_records
from rlipv2.datasets.report import Report

TOLERANCE = 0.01
"""Pixels that a box may stand out of its image by rounding."""


class KnownImages(Protocol):
    """The images that annotations should be of."""

    image_ids: Int[np.ndarray, " n"]
    """Sorted."""

    def size(self, place: int) -> tuple[int, int]:
        """(height, width) of an image by its place in `image_ids`."""
        ...


def validate(path: Path, *, images: KnownImages | None = None, excused: Container[int] = ()) -> Report:
    """Everything wrong in a file of annotations: fields, ids, boxes, names, confidences, images missing or repeated.

    A record at a time is in memory, and 8 bytes of each image.

    Args:
        path: the JSON list.
        images: every image that should be in it; None leaves out what needs them.
        excused: ids of images that need not have a record, as they could not be read.
    """
    report, seen, total = Report(), Seen(images), 0
    faults = {kind: Faults() for kind in KINDS}
    try:
        for number, record in enumerate(iterate_records(path)):
            total += 1
            where = f"record {number} (image {record.get('image_id') if isinstance(record, dict) else '?'})"
            for kind, wrong in _faults(record, seen):
                faults[kind].add(f"{where}: {wrong}")
    except AnnotationError as error:
        report.add(path.name, "file can be read", offenders=[str(error)], note="run the merge stage again")
        return report
    report.add(path.name, "file can be read")
    for repeated in seen.repeated():
        faults["images"].add(f"image {repeated}: repeated")
    for kind, found in faults.items():
        report.add(path.name, KINDS[kind], offenders=found.first, count=found.count, note="see the first ones below")
    if images is not None:
        missing = Faults()
        for image in seen.missing():
            if image not in excused:
                missing.add(str(image))
        note = "run stages=[merge] again"
        what = "every image that could be read has a record"
        report.add(path.name, what, offenders=missing.first, count=missing.count, note=note)
    report.add(path.name, "file has records", count=int(not total), note="nothing was tagged")
    return report


class Seen:
    """Which images have a record, in 8 bytes of each.

    Args:
        images: those that are known; None: any may be there.
    """

    def __init__(self, images: KnownImages | None) -> None:
        self.images = images
        self._ids = array("q")
        self._places = array("q")

    def add(self, image: Any) -> tuple[bool, tuple[int, int] | None]:
        """Whether an image is known, and its size if that is."""
        if self.images is None:
            self._ids.append(image if _is_id(image) else _hashed(image))
            return True, None
        ids = self.images.image_ids
        place = int(np.searchsorted(ids, image)) if _is_id(image) else len(ids)
        if place == len(ids) or int(ids[place]) != image:
            return False, None
        self._places.append(place)
        return True, self.images.size(place)

    def repeated(self) -> Iterator[int]:
        """Images with several records, once each."""
        rows = self._ids if self.images is None else self._places
        values = np.sort(np.frombuffer(rows, np.int64)) if rows else np.zeros(0, np.int64)
        for value in np.unique(values[1:][values[1:] == values[:-1]]).tolist():
            yield value if self.images is None else int(self.images.image_ids[value])

    def missing(self) -> Iterator[int]:
        """Known images without a record, sorted."""
        assert self.images is not None
        there = np.zeros(len(self.images.image_ids), bool)
        if self._places:
            there[np.frombuffer(self._places, np.int64)] = True
        yield from self.images.image_ids[~there].tolist()


def _is_id(image: Any) -> bool:
    return type(image) is int and abs(image) < 1 << 63


def _hashed(image: Any) -> int:
    """A number in the place of an id that is none, the same for the same id."""
    return int.from_bytes(hashlib.sha256(json.dumps(image).encode()).digest()[:7])


KINDS = {
    "fields": "fields are there and of their types",
    "images": "image ids are unique and known",
    "ids": "ids are unique, and ends of relations are objects of their record",
    "boxes": "boxes have an area and lie inside the image",
    "names": "names and predicates are not blank",
    "confidences": "confidences are from 0 to 1",
}


class Faults:
    """How many there are of a kind, and the first of them."""

    def __init__(self) -> None:
        self.count, self.first = 0, list[str]()

    def add(self, what: str) -> None:
        """Counts one."""
        self.count += 1
        if len(self.first) < 20:
            self.first.append(what)


def _faults(record: Any, seen: Seen) -> Iterator[tuple[str, str]]:
    try:
        image = record["image_id"]
        hash(image)  # of a list: TypeError
        objects = [
            (row["object_id"], row["x"], row["y"], row["w"], row["h"], row["names"]) for row in record["objects"]
        ]
        relations = [
            (row["relationship_id"], row["predicate"], row["subject_id"], row["object_id"], row.get("confidence"))
            for row in record["relationships"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        yield (
            "fields",
            f"{type(error).__name__} {error}: expected image_id, objects and relationships with their fields",
        )
        return
    known, size = seen.add(image)
    if not known:
        yield "images", "not an image of the dataset"
    yield from _object_faults(objects, size)
    yield from _relation_faults(relations, {row[0] for row in objects})


def _object_faults(objects: Sequence[tuple[Any, ...]], size: tuple[int, int] | None) -> Iterator[tuple[str, str]]:
    if len({row[0] for row in objects}) < len(objects):
        yield "ids", "an object_id occurs more than once"
    for number, x, y, w, h, name in objects:
        if not all(type(value) in (int, float) for value in (x, y, w, h)):
            yield "fields", f"object {number}: x, y, w, h are not all numbers"
        elif not (w > 0 and h > 0):
            yield "boxes", f"object {number}: w={w}, h={h}: no area"
        elif (
            x < -TOLERANCE or y < -TOLERANCE or (size and (x + w > size[1] + TOLERANCE or y + h > size[0] + TOLERANCE))
        ):
            yield "boxes", f"object {number}: x={x}, y={y}, w={w}, h={h}: outside of the image, (height, width)={size}"
        if not isinstance(name, str) or not name.strip():
            yield "names", f"object {number}: names={name!r}"


def _relation_faults(relations: Sequence[tuple[Any, ...]], objects: set[Any]) -> Iterator[tuple[str, str]]:
    if len({row[0] for row in relations}) < len(relations):
        yield "ids", "a relationship_id occurs more than once"
    for number, predicate, subject, object_, confidence in relations:
        if subject not in objects or object_ not in objects:
            yield (
                "ids",
                f"relationship {number}: subject_id={subject}, object_id={object_}: not both objects of the record",
            )
        if not isinstance(predicate, str) or not predicate.strip():
            yield "names", f"relationship {number}: predicate={predicate!r}"
        if confidence is not None and (type(confidence) not in (int, float) or not 0 <= confidence <= 1):
            yield "confidences", f"relationship {number}: confidence={confidence!r}"
