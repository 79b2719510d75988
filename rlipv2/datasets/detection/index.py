"""Boxes of detection datasets in stores: everything in an annotation file, and what a split trains or is judged on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.datasets.detection.reader import InstancesReader, records_of, tables_of
from rlipv2.datasets.detection.records import DetectionRecords, to_xyxy
from rlipv2.datasets.store import ImageListing, Source, Store, StoreWriter, open_store, reading, store_at, store_folder
from rlipv2.datasets.store.columns import ends
from rlipv2.datasets.store.images import outdated_view
from rlipv2.datasets.store.location import key_of
from rlipv2.datasets.store.sources import outdated_sources
from rlipv2.vocabularies import ObjectVocabulary

SHOWN = 20
IMAGES = 50_000
"""Images that the rules are applied to at once."""


def index_instances(
    root: Path,
    path: Path,
    vocabulary: ObjectVocabulary,
    *,
    split: str,
    image_path: Callable[[str], str],
    index: str | Path | None = None,
    rebuild: bool = False,
) -> Store:
    """The store of everything in an annotation file, built if need be.

    Args:
        root: folder of the dataset.
        path: the annotation file.
        vocabulary: see `read_instances`.
        split: whose images `image_path` finds.
        image_path: see `read_instances`.
        index: folder of all stores of the dataset, by default `.rlipv2-index` in `root`.
        rebuild: build in any case.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
        PermissionError: the store has to be built but cannot be written.
    """
    classes = [np.asarray(vocabulary.category_ids).tolist(), list(vocabulary.names), list(vocabulary.raw_names)]
    options = {"split": split, "classes": key_of({"classes": classes})}
    folder = store_folder(root, path, index=index, kind="instances", options=options)
    files = {"annotations": path}

    def build(writer: StoreWriter) -> dict[str, Any]:
        source = Source.of(path)
        with reading(path) as progress:
            reader = InstancesReader(path, vocabulary, image_path=image_path, watch=progress.watch)
            tables = reader.read(writer.columns)
        writer.write_all(tables)
        sources = {"annotations": source.finished(path, progress.sha256).to_meta()}
        return {"kind": "instances", "sources": sources}

    return store_at(folder, outdated=lambda store: outdated_sources(store, files), build=build, rebuild=rebuild)


@dataclass(frozen=True)
class DetectionView:
    """The images that are there and, for training, the boxes that can be trained on.

    Attributes:
        folder: of its store.
        digest: of its store.
        records: the boxes, memory-mapped.
        counts: what was left out.
        missing: of images without a file: how many no copy of the dataset has, how many others there are, and the first
            of all of them. They are left out.
    """

    folder: Path
    digest: str
    records: DetectionRecords
    counts: dict[str, int]
    missing: tuple[int, int, tuple[str, ...]]

    @classmethod
    def open(cls, folder: Path, digest: str) -> "DetectionView":
        """The same view in another process.

        Raises:
            StoreError: it was built anew in the meantime.
        """
        return cls.of(open_store(folder, digest=digest))

    @classmethod
    def of(cls, store: Store) -> "DetectionView":
        """The view in a store."""
        told = store.content["missing"]
        missing = (int(told["known"]), int(told["others"]), tuple(told["first"]))
        return cls(store.folder, store.digest, records_of(store.tables), dict(store.content["counts"]), missing)


def view_of(store: Store, root: Path, *, training: bool, absent: frozenset[int]) -> DetectionView:
    """The view of a store, built if need be, beside it.

    Files of images are looked for when a view is built, and again when files came to or went from a folder of theirs.

    Args:
        store: everything in the annotation file.
        root: folder of the dataset.
        training: leave out crowd regions and boxes without area in the image, and shorten the numbers.
        absent: ids of images that no copy of the dataset has.

    Raises:
        PermissionError: the view has to be built but cannot be written.
    """
    key = key_of({"root": str(root.resolve()), "training": training, "absent": sorted(absent)})
    folder = store.folder.with_name(f"{store.folder.name}.view-{key}")

    def build(writer: StoreWriter) -> dict[str, Any]:
        return _build_view(writer, store, root, training=training, absent=absent)

    return DetectionView.of(store_at(folder, outdated=lambda view: outdated_view(view, store, root), build=build))


def _build_view(
    writer: StoreWriter, store: Store, root: Path, *, training: bool, absent: frozenset[int]
) -> dict[str, Any]:
    total, listing = len(store.tables["images"]["image_ids"]), ImageListing(root)
    images, boxes = writer.columns(), writer.columns()
    counts: dict[str, int] = {}
    known = others = 0
    first: list[str] = []
    for start in range(0, max(total, 1), IMAGES):
        # opened anew for each part: pages that were read count as memory while a file is open
        part = records_of(open_store(store.folder, digest=store.digest).tables)
        part = part.part(start, min(start + IMAGES, total))
        missing = listing.missing(part.file_names)
        absent_here = missing & np.isin(part.image_ids, list(absent))
        known, others = known + int(absent_here.sum()), others + int((missing & ~absent_here).sum())
        first = (first + [part.file_name(int(row)) for row in np.flatnonzero(missing)[:SHOWN]])[:SHOWN]
        part = part.select(~missing) if missing.any() else part
        part = _for_training(part, counts) if training else part
        images.append(
            image_ids=part.image_ids,
            file_names=list(part.file_names),
            sizes=part.sizes,
            box_counts=np.diff(part.box_ptr),
        )
        boxes.append(boxes=part.boxes, labels=part.labels, areas=part.areas, crowd=part.crowd)
    fields = images.arrays()
    box_ptr = ends(fields.pop("box_counts"))
    writer.write_all(tables_of(fields, boxes.arrays(), box_ptr))
    return {
        "kind": "instances view",
        "of": store.digest,
        "training": training,
        "folders": listing.folders,
        "counts": counts,
        "missing": {"known": known, "others": others, "first": first},
    }


def _for_training(records: DetectionRecords, counts: dict[str, int]) -> DetectionRecords:
    """Without crowd regions and boxes that have no area inside the image."""
    limits = np.repeat(records.sizes[:, ::-1], np.diff(records.box_ptr), axis=0)
    corners = to_xyxy(records.boxes).clip(0, np.concatenate([limits, limits], axis=1))
    flat = np.asarray((corners[:, 2:] <= corners[:, :2]).any(axis=1))
    dropped = {
        "crowd regions dropped": int(records.crowd.sum()),
        "boxes without area in the image dropped": int((flat & ~records.crowd).sum()),
    }
    for what, count in dropped.items():
        counts[what] = counts.get(what, 0) + count
    return records.keep_boxes(~flat & ~records.crowd).compact()


def describe(store: Store) -> Mapping[str, int]:
    """How much is in a store, for people."""
    return {"images": len(store.tables["images"]["image_ids"]), "boxes": len(store.tables["boxes"]["boxes"])}
