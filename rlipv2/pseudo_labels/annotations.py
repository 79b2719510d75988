"""Scored relations as annotations in the layout of Visual Genome, which relational pre-training reads."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.json_stream import iterate_records
from rlipv2.datasets.report import Level, Report
from rlipv2.datasets.scene_graphs.index import index_scene_graphs
from rlipv2.datasets.store import Store
from rlipv2.ops.files import opened_atomically
from rlipv2.pseudo_labels.candidates import image_boxes_xywh, kept_boxes
from rlipv2.pseudo_labels.records import LabelledImage, Tags

Record = dict[str, Any]
FIRST_IDS = {"coco2017": 10_000_000, "o365": 20_000_000}
OTHER_FIRST_ID = 30_000_000
TOLERANCE = 0.01
"""Pixels that a box may stand out of its image by rounding."""


@dataclass
class RecordIds:
    """Numbers for objects and relations, counting up over the images of a part (official: of a split and segment).

    They tell the objects of one image apart; nothing refers to those of another.
    """

    objects: Iterator[int] = field(default_factory=lambda: count(OTHER_FIRST_ID))
    relations: Iterator[int] = field(default_factory=lambda: count(OTHER_FIRST_ID))

    @classmethod
    def starting(cls, dataset: str) -> "RecordIds":
        """From 10,000,000 for COCO and 20,000,000 for Objects365, as officially, else from 30,000,000."""
        first = FIRST_IDS.get(dataset, OTHER_FIRST_ID)
        return cls(count(first), count(first))


def image_record(
    image: LabelledImage, tags: Tags, ids: RecordIds, *, class_names: Sequence[str], dataset: str
) -> Record:
    """The annotation of an image, as `verb_tagger_with_text` in generate_relations_using_verb_tagger.py has it.

    Objects are all kept boxes; images without relations have a record too.

    Args:
        image: with its boxes.
        tags: whose pairs are rows of the kept boxes.
        ids: the next numbers.
        class_names: of the labels.
        dataset: "coco2017" and "o365" tell the reader where images lie; of "custom" the record tells the file name.
    """
    _, labels = kept_boxes(image)
    boxes = image_boxes_xywh(image).tolist()
    objects = [
        {"object_id": next(ids.objects), "x": x, "y": y, "w": w, "h": h, "names": class_names[label]}
        for (x, y, w, h), label in zip(boxes, labels.tolist(), strict=True)
    ]
    relations = [
        {
            "relationship_id": next(ids.relations),
            "predicate": text,
            "subject_id": objects[subject]["object_id"],
            "object_id": objects[object_]["object_id"],
            "confidence": score,
        }
        for (subject, object_), text, score in zip(tags.pairs.tolist(), tags.texts, tags.scores.tolist(), strict=True)
    ]
    record: Record = {"image_id": image.image_id, "dataset": dataset, "data_split": image.split}
    if dataset not in FIRST_IDS:
        record["file_name"] = image.file_name
    return {**record, "objects": objects, "relationships": relations}


def write_annotations(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Writes a JSON list of records, of which one at a time is in memory, and returns their number.

    The file takes the place of an older one when it is whole.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
        ValueError: a score that is no number.
    """
    number = 0
    with opened_atomically(path) as file:
        file.write(b"[")
        for number, record in enumerate(records, start=1):
            file.write(b",\n" if number > 1 else b"")
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False).encode())
        file.write(b"]\n")
    return number


def write_store(root: Path, path: Path, *, image_paths: Path | None = None, index: str | Path | None = None) -> Store:
    """The annotation store of a written file, in the place where `SceneGraphs` looks for it: it need not build it.

    Args:
        root: folder of the images, that `SceneGraphs` will be given.
        path: the written annotations.
        image_paths: `image_id_to_filepath.json` of Objects365.
        index: folder of the stores, by default `.rlipv2-index` in `root`.

    Raises:
        AnnotationError: no record in the file, or one that cannot be used.
        PermissionError: the store cannot be written.
    """
    return index_scene_graphs(root, path, image_paths=image_paths, index=index)


def validate(path: Path, *, sizes: Mapping[int, tuple[int, int]] | None = None, max_skip_rate: float = 0.0) -> Report:
    """Everything wrong in a file of annotations: fields, ids, boxes, names, confidences, images missing or repeated.

    Args:
        path: the JSON list.
        sizes: (height, width) of every image that should be in it; None leaves out what needs them.
        max_skip_rate: share of these images that may be missing without an error, as those that could not be read.
    """
    report, seen, total = Report(), set[Any](), 0
    faults = {kind: _Faults() for kind in KINDS}
    try:
        for number, record in enumerate(iterate_records(path)):
            total += 1
            where = f"record {number} (image {record.get('image_id') if isinstance(record, dict) else '?'})"
            for kind, wrong in _faults(record, seen, sizes):
                faults[kind].add(f"{where}: {wrong}")
    except AnnotationError as error:
        report.add(path.name, "file can be read", offenders=[str(error)], note="run the merge stage again")
        return report
    report.add(path.name, "file can be read")
    for kind, found in faults.items():
        report.add(path.name, KINDS[kind], offenders=found.first, count=found.count, note="see the first ones below")
    if sizes is not None:
        missing = [str(image) for image in sizes if image not in seen]
        level: Level = "warning" if len(missing) <= max_skip_rate * len(sizes) else "error"
        report.add(path.name, "every image has a record", offenders=missing, found=level, note="left out on errors?")
    report.add(path.name, "file has records", count=int(not total), note="nothing was tagged")
    return report


KINDS = {
    "fields": "fields are there and of their types",
    "images": "image ids are unique and known",
    "ids": "ids are unique, and ends of relations are objects of their record",
    "boxes": "boxes have an area and lie inside the image",
    "names": "names and predicates are not blank",
    "confidences": "confidences are from 0 to 1",
}


class _Faults:
    """How many there are of a kind, and the first of them."""

    def __init__(self) -> None:
        self.count, self.first = 0, list[str]()

    def add(self, what: str) -> None:
        self.count += 1
        if len(self.first) < 20:
            self.first.append(what)


def _faults(record: Any, seen: set[Any], sizes: Mapping[int, tuple[int, int]] | None) -> Iterator[tuple[str, str]]:
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
    if image in seen:
        yield "images", "repeated"
    seen.add(image)
    size = None if sizes is None else sizes.get(image)
    if sizes is not None and size is None:
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
