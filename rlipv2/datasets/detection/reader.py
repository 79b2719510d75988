"""Reads instance annotations in the COCO format into flat arrays, and names every record it cannot use."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.detection.fields import (
    boxes_xywh,
    category_ids,
    check,
    check_categories,
    declared_vocabulary,
    image_ids,
    image_numbers,
    labels_of,
    numbers,
    owners_of,
    sizes,
    texts,
)
from rlipv2.datasets.detection.records import DetectionRecords
from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.json_stream import Watch, iterate_members
from rlipv2.datasets.store.collector import collector_paused
from rlipv2.datasets.store.columns import Column, Columns
from rlipv2.datasets.store.grouping import Grouping
from rlipv2.vocabularies import ObjectVocabulary

CHUNK = 20_000
"""Annotations that are in memory at once as Python objects: about 20 MB."""


def read_instances(
    path: str | Path, vocabulary: ObjectVocabulary, *, image_path: Callable[[str], str] = str
) -> DetectionRecords:
    """The records of an instances file: all images in file order, all boxes, crowds and boxes without area too.

    Categories are mapped by id, never by their position: those of Objects365 are not in order. A missing
    `iscrowd` means 0, a missing `area` width times height.

    Args:
        path: JSON with `images`, `annotations` and `categories`.
        vocabulary: the classes; names in the file are compared with it.
        image_path: `file_name` of a record to the path relative to the root of the dataset.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
    """
    reader = InstancesReader(Path(path), vocabulary, image_path=image_path)
    return records_of(reader.read(Columns))


def read_any_instances(path: str | Path) -> tuple[DetectionRecords, ObjectVocabulary]:
    """The records of an instances file with the classes that it declares itself, whatever dataset it is of.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
    """
    reader = InstancesReader(Path(path), None)
    records = records_of(reader.read(Columns))
    assert reader.vocabulary is not None
    return records, reader.vocabulary


class InstancesReader:
    """Reads a file in chunks, so that never more than `CHUNK` annotations are in memory as Python objects.

    Args:
        path: JSON with `images`, `annotations` and `categories`, in any order.
        vocabulary: the classes; None takes those that the file declares.
        image_path: `file_name` of a record to the path relative to the root of the dataset.
        watch: see `iterate_members`.

    Attributes:
        vocabulary: the classes.
    """

    def __init__(
        self,
        path: Path,
        vocabulary: ObjectVocabulary | None,
        *,
        image_path: Callable[[str], str] = str,
        watch: Watch | None = None,
    ) -> None:
        self.path, self.vocabulary = path, vocabulary
        self._image_path, self._watch = image_path, watch

    def read(self, new_columns: Callable[[], Columns]) -> dict[str, dict[str, Column]]:
        """The tables images, boxes, labels and pointers, in columns made by `new_columns`.

        Boxes are in order of their images, those of an image in order of the file.
        """
        images, boxes = new_columns(), new_columns()
        self._read_images([], 0, images)  # columns of the right types where a list is empty
        self._read_annotations([], 0, boxes)
        categories: list[Any] = []
        chunks: dict[str, Callable[[list[Any], int], None]] = {
            "images": lambda chunk, first: self._read_images(chunk, first, images),
            "annotations": lambda chunk, first: self._read_annotations(chunk, first, boxes),
            "categories": lambda chunk, _: categories.extend(chunk),
        }
        with collector_paused():
            self._read_lists(chunks)
        if self.vocabulary is None:
            self.vocabulary = declared_vocabulary(categories, self.path)
        else:
            check_categories(categories, self.path, self.vocabulary)
        return self._joined(images.arrays(), boxes.arrays(), self.vocabulary, new_columns)

    def _read_lists(self, readers: Mapping[str, Callable[[list[Any], int], None]]) -> None:
        found: set[str] = set()
        waiting: list[Any] = []
        begun, first = "", 0
        for key, number, record in iterate_members(self.path, watch=self._watch):
            if waiting and (key != begun or len(waiting) == CHUNK):
                readers[begun](waiting, first)
                first, waiting = first + len(waiting), []
            if key not in readers:
                continue
            if number < 0:
                begun, first = key, 0
                found |= {key} if isinstance(record, list) else set()
            else:
                waiting.append(record)
        if waiting:
            readers[begun](waiting, first)
        for key in readers:
            if key not in found:
                todo = "expected instance annotations in the COCO format"
                raise AnnotationError.in_file(self.path, f"no list {key!r}", todo)

    def _read_images(self, images: Sequence[Any], first: int, columns: Columns) -> None:
        path = self.path
        columns.append(
            image_ids=image_ids(images, path, first),
            file_names=[self._image_path(name) for name in texts(images, "file_name", path, first)],
            sizes=np.stack([sizes(images, name, path, first) for name in ("height", "width")], axis=1),
        )

    def _read_annotations(self, annotations: Sequence[Any], first: int, columns: Columns) -> None:
        path = self.path
        boxes = boxes_xywh(annotations, path, first)
        area = numbers(annotations, "area", path, first, default=boxes[:, 2:].prod(axis=1))
        crowd = numbers(annotations, "iscrowd", path, first, default=np.zeros(len(boxes)))
        wrong, todo = "neither 0 nor 1", "correct this annotation"
        check(~np.isin(crowd, (0, 1)), annotations, path, first, "iscrowd", wrong, todo)
        columns.append(
            owners=image_numbers(annotations, path, first),
            boxes=boxes,
            labels=category_ids(annotations, path, first),
            areas=area,
            crowd=crowd == 1,
        )

    def _joined(
        self,
        images: dict[str, Column],
        boxes: dict[str, Column],
        vocabulary: ObjectVocabulary,
        new_columns: Callable[[], Columns],
    ) -> dict[str, dict[str, Column]]:
        ids = images["image_ids"]
        owners = owners_of(boxes.pop("owners"), ids, self.path, new_columns())
        boxes["labels"] = labels_of(boxes["labels"], owners, ids, vocabulary, path=self.path, columns=new_columns())
        # keeps the order of the file within an image, as COCO's tools do
        grouping = Grouping(owners, len(ids), new_columns)
        boxes = {name: grouping.ordered(boxes.pop(name)) for name in list(boxes)}
        return tables_of(images, boxes, grouping.ptr)


def records_of(tables: Mapping[str, Mapping[str, Any]]) -> DetectionRecords:
    """The records that these tables hold, in the same arrays."""
    return DetectionRecords(**tables["images"], **tables["boxes"], **tables["labels"], **tables["pointers"])


def tables_of(
    images: dict[str, Column], boxes: dict[str, Column], box_ptr: Int[np.ndarray, " i+1"]
) -> dict[str, dict[str, Column]]:
    """The tables of a store; coordinates, the largest column, have one of their own."""
    labels = {name: boxes.pop(name) for name in list(boxes) if name != "boxes"}
    return {"images": images, "boxes": boxes, "labels": labels, "pointers": {"box_ptr": box_ptr}}
