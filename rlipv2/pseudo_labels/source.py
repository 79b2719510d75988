"""The images to be pseudo-labelled: one or more parts of a detection dataset, read from their stores unit by unit."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.detection.fields import declared_vocabulary
from rlipv2.datasets.detection.index import index_instances
from rlipv2.datasets.detection.layouts import LAYOUTS, LayoutName, Split, find_annotations
from rlipv2.datasets.detection.reader import records_of
from rlipv2.datasets.detection.records import DetectionRecords
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.json_stream import iterate_members
from rlipv2.datasets.store import Source, Store, StoreWriter, open_store, reading, store_at, store_folder
from rlipv2.datasets.store.sources import outdated_sources
from rlipv2.ops.texts import TextArray
from rlipv2.pseudo_labels.records import LabelledImage
from rlipv2.vocabularies import ObjectVocabulary, load

Unlabelled = Literal["drop", "keep"]
SPLIT_NAMES: dict[LayoutName, dict[Split, str]] = {
    "coco": {"train": "train2017", "val": "val2017"},
    "objects365": {"train": "train", "val": "val"},
}


@dataclass(frozen=True)
class Part:
    """Some images of one annotation file.

    Attributes:
        split: its name in records.
        annotations: the file.
        folder: of its store.
        digest: of its store.
        rows: the images in their order, by position in the file.
        image_ids: their ids.
    """

    split: str
    annotations: Path
    folder: Path
    digest: str
    rows: Int[np.ndarray, " n"]
    image_ids: Int[np.ndarray, " n"]


class LabelledImages:
    """The images of all parts, part by part, each sorted by id as in the official code.

    Nothing of an image is in memory but its id and its place: 16 bytes. The rest is read when asked for, from stores
    that are opened anew each time: pages that were read count as memory while a file is open.

    Args:
        root: folder that file names are relative to.
        names: the classes; labels are rows of it.
        parts: at least one.
        dataset: name of the dataset in records, "coco2017" for example.

    Raises:
        AnnotationError: an image id is in two parts.
    """

    def __init__(self, root: Path, names: Sequence[str], parts: Sequence[Part], *, dataset: str) -> None:
        self.root, self.names, self.parts, self.dataset = root, tuple(names), tuple(parts), dataset
        self._starts = np.cumsum([0, *(len(part.rows) for part in parts)])
        ids = np.sort(self.image_ids)
        doubled = np.flatnonzero(ids[1:] == ids[:-1])
        if len(doubled):
            raise AnnotationError.in_file(
                parts[-1].annotations,
                f"image {int(ids[doubled[0]])} is in another part too ({len(doubled)} such images)",
                "ids must be unique; leave a part out",
            )

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def image_ids(self) -> Int[np.ndarray, " n"]:
        """The ids of all images in order."""
        return np.concatenate([part.image_ids for part in self.parts])

    def path(self, image: LabelledImage) -> Path:
        """The file of an image."""
        return self.root / image.file_name

    def read(self, positions: range) -> list[LabelledImage]:
        """The images at consecutive positions.

        Raises:
            StoreError: an annotation file changed since this was made.
        """
        images: list[LabelledImage] = []
        for part, start in zip(self.parts, self._starts[:-1].tolist(), strict=True):
            rows = part.rows[max(positions.start - start, 0) : max(positions.stop - start, 0)]
            if len(rows):
                store = open_store(part.folder, digest=part.digest)
                images += _labelled(records_of(store.tables), rows.tolist(), part.split)
        return images

    def identity(self) -> dict[str, Any]:
        """Plain values that tell these images and boxes from others."""
        return {
            "dataset": self.dataset,
            "names": list(self.names),
            "parts": [
                {"split": part.split, "images": len(part.rows), "content": _content(part)} for part in self.parts
            ],
            "images": len(self),
            "image_ids": _hash(self.image_ids),
        }


def detection_images(
    root: str | Path,
    layout: LayoutName = "coco",
    *,
    splits: Sequence[Split] = ("train", "val"),
    unlabelled: Unlabelled = "drop",
    limit: int | None = None,
    index: str | Path | None = None,
) -> LabelledImages:
    """The images of COCO 2017 or Objects365 v2.

    The images of Objects365 that no copy of the dataset has are left out.

    Args:
        root: folder of the dataset.
        layout: "coco" or "objects365".
        splits: in their order; official: train, then val.
        unlabelled: "drop" images without any annotation, as officially, or "keep" them.
        limit: only the first images of each part, for a trial.
        index: folder of the indices of annotations, see `COCODetection`.

    Raises:
        DatasetNotFoundError: annotations are not there.
        AnnotationError: they cannot be used; names the record.
        ValueError: an option out of range.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r}: expected one of {sorted(LAYOUTS)}")
    known, vocabulary, root = LAYOUTS[layout], load(layout), Path(root).expanduser()
    parts = []
    for split in splits:
        if split not in ("train", "val"):
            raise ValueError(f"splits: {split!r}: expected 'train' and 'val'")
        path = find_annotations(root, split, layout)
        image_path = partial(known.image_path, split)
        store = index_instances(root, path, vocabulary, split=split, image_path=image_path, index=index)
        parts.append(_part(store, SPLIT_NAMES[layout][split], path, unlabelled, limit, absent=known.absent))
    return LabelledImages(root, vocabulary.names, parts, dataset={"coco": "coco2017", "objects365": "o365"}[layout])


def custom_images(
    annotations: str | Path | None,
    images: str | Path | None,
    *,
    dataset: str = "custom",
    split: str = "train",
    unlabelled: Unlabelled = "keep",
    limit: int | None = None,
    index: str | Path | None = None,
) -> LabelledImages:
    """The images of an annotation file in the format of COCO's instances, with the classes that it declares.

    Args:
        annotations: JSON with `images` (id, file_name, width, height), `annotations` (image_id, category_id, bbox as
            x y w h in pixels) and `categories` (id, name).
        images: folder that each `file_name` is relative to.
        dataset: name of the dataset in records.
        split: name of the part in records.
        unlabelled: "keep" images without any annotation, or "drop" them.
        limit: only the first images, for a trial.
        index: folder of the index of the annotations, by default `.rlipv2-index` in `images`.

    Raises:
        DatasetNotFoundError: file or folder are not there.
        AnnotationError: the annotations cannot be used; names the record.
        ValueError: a path is not given, or an option out of range.
    """
    for name, value, what in (
        ("annotations", annotations, "your boxes in COCO's format"),
        ("images", images, "the folder of your images"),
    ):
        if value is None:
            raise ValueError(f"source.{name}: not given; write source.{name}=PATH, {what}")
    path, root = Path(str(annotations)).expanduser(), Path(str(images)).expanduser()
    if not root.is_dir():
        raise DatasetNotFoundError.missing("folder of images", root, "give the folder that file_name is relative to")
    vocabulary = _declared(root, path, index)
    store = index_instances(root, path, vocabulary, split=split, image_path=str, index=index)
    part = _part(store, split, path, unlabelled, limit)
    return LabelledImages(root, vocabulary.names, [part], dataset=dataset)


def _declared(root: Path, path: Path, index: str | Path | None) -> ObjectVocabulary:
    """The classes that a file declares; kept in a store, as they may stand at the end of a large file."""

    def build(writer: StoreWriter) -> dict[str, Any]:
        source, categories = Source.of(path), []
        with reading(path) as progress:
            for key, number, record in iterate_members(path, watch=progress.watch):
                if key == "categories" and number >= 0:
                    categories.append(record)
        vocabulary = declared_vocabulary(categories, path)
        if len(set(vocabulary.names)) != len(vocabulary):
            raise AnnotationError.in_file(path, "categories: a name is listed twice", "list every class once")
        if not categories:
            raise AnnotationError.in_file(path, "no list 'categories', or an empty one", "expected id and name of each")
        columns = {"category_ids": vocabulary.category_ids, "names": TextArray.of(list(vocabulary.names))}
        writer.write_all({"categories": columns})
        return {"kind": "categories", "sources": {"annotations": source.finished(path, progress.sha256).to_meta()}}

    folder = store_folder(root, path, index=index, kind="categories", options={})
    store = store_at(folder, outdated=lambda store: outdated_sources(store, {"annotations": path}), build=build)
    table = store.tables["categories"]
    names = tuple(table["names"])
    return ObjectVocabulary(names=names, category_ids=np.array(table["category_ids"]), raw_names=names)


def _part(
    store: Store,
    split: str,
    annotations: Path,
    unlabelled: Unlabelled,
    limit: int | None,
    *,
    absent: Iterable[int] = (),
) -> Part:
    """The images of a store that count, sorted by id."""
    if unlabelled not in ("drop", "keep"):
        raise ValueError(f"unlabelled={unlabelled!r}: expected 'drop' or 'keep'")
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit}: expected at least 1 image, or null for all")
    ids = np.array(store.tables["images"]["image_ids"])
    keep = ~np.isin(ids, list(absent))
    if unlabelled == "drop":
        keep &= np.diff(store.tables["pointers"]["box_ptr"]) > 0
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(ids[rows], kind="stable")][:limit]
    return Part(split, annotations, store.folder, store.digest, rows, ids[rows])


def _labelled(records: DetectionRecords, rows: Sequence[int], split: str) -> list[LabelledImage]:
    images = []
    for row in rows:
        boxes = slice(int(records.box_ptr[row]), int(records.box_ptr[row + 1]))
        height, width = records.sizes[row].tolist()
        images.append(
            LabelledImage(
                image_id=int(records.image_ids[row]),
                file_name=records.file_name(row),
                split=split,
                size=(height, width),
                boxes_xywh=np.array(records.boxes[boxes], np.float64),  # copies: the store is closed again
                labels=np.array(records.labels[boxes], np.int64),
                crowd=np.array(records.crowd[boxes], np.bool_),
            )
        )
    return images


def _content(part: Part) -> str:
    """Checksum of the annotation file, as it was when its store was built."""
    told: str = open_store(part.folder, digest=part.digest).content["sources"]["annotations"]["sha256"]
    return told


def _hash(ids: Int[np.ndarray, " n"]) -> str:
    return hashlib.sha256(np.ascontiguousarray(ids, "<i8").tobytes()).hexdigest()
