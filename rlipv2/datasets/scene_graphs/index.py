"""Scene graphs in stores: everything in an annotation file, and what is left of it under the options of a dataset."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.datasets.files import sha256
from rlipv2.datasets.scene_graphs.names import NameCounts
from rlipv2.datasets.scene_graphs.reader import SceneGraphContent, SceneGraphReader, content_of
from rlipv2.datasets.scene_graphs.subsets import (
    check_excluded,
    excluded_images,
    first_of_each,
    first_relations,
    overlapping,
)
from rlipv2.datasets.store import ImageListing, Source, Store, StoreWriter, open_store, reading, store_at, store_folder
from rlipv2.datasets.store.columns import Column, Columns, ends
from rlipv2.datasets.store.images import outdated_view
from rlipv2.datasets.store.location import key_of
from rlipv2.datasets.store.sources import outdated_sources
from rlipv2.ops.texts import TextArray

SHOWN = 20
IMAGES = 50_000
"""Images that the rules are applied to at once."""


def index_scene_graphs(
    root: Path,
    path: Path,
    *,
    image_paths: Path | None = None,
    lower_case: bool = False,
    index: str | Path | None = None,
    rebuild: bool = False,
) -> Store:
    """The store of everything in an annotation file, built if need be.

    Args:
        root: folder of the dataset.
        path: the annotation file.
        image_paths: see `read_scene_graphs`.
        lower_case: the same.
        index: folder of all stores of the dataset, by default `.rlipv2-index` in `root`.
        rebuild: build in any case.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
        PermissionError: the store has to be built but cannot be written.
    """
    listed = None if image_paths is None or not image_paths.is_file() else image_paths
    options = {"lower_case": lower_case, "image_paths": None if image_paths is None else image_paths.name}
    folder = store_folder(root, path, index=index, kind="scene_graphs", options=options)
    files = {"annotations": path} | ({} if listed is None else {"image_paths": listed})

    def build(writer: StoreWriter) -> dict[str, Any]:
        sources = {name: Source.of(file) for name, file in files.items()}
        with reading(path) as progress:
            reader = SceneGraphReader(path, image_paths=image_paths, lower_case=lower_case, watch=progress.watch)
            tables = reader.read(writer.columns)
        sums = {"annotations": progress.sha256} | ({} if listed is None else {"image_paths": sha256(listed)})
        writer.write_all(tables)
        for name, names in (("object_names", reader.objects), ("relation_names", reader.relations)):
            writer.write(name, {"names": TextArray.of(tuple(names))})
        return {
            "kind": "scene_graphs",
            "sources": {name: source.finished(files[name], sums[name]).to_meta() for name, source in sources.items()},
            "skipped": reader.skipped,
            "totals": reader.totals,
            "numbered": reader.numbered,
        }

    return store_at(folder, outdated=lambda store: outdated_sources(store, files), build=build, rebuild=rebuild)


def content_in(store: Store) -> SceneGraphContent:
    """The scene graphs of a store, in its memory-mapped arrays."""
    content, tables = store.content, store.tables
    names = (tuple(tables[table]["names"]) for table in ("object_names", "relation_names"))
    return content_of(tables, *names, skipped=content["skipped"], numbered=content["numbered"])


@dataclass(frozen=True)
class Rules:
    """Which relations and images of a file count; see `SceneGraphs` for the order and meaning of the rules."""

    relation_threshold: float
    pair_overlap: bool
    max_relations: int | None
    relation_order: str
    doubled_relations: str
    unrelated_images: str
    exclude_ids: tuple[int | str, ...]


@dataclass(frozen=True)
class View:
    """What the rules leave of a file.

    Attributes:
        folder: of its store.
        digest: of its store.
        content: the scene graphs, memory-mapped.
        names: names counted before doubled relations, images and all further relations were left out.
        counts: what was left out.
        missing: how many of the remaining images had no file, and the first of them; they are left out as well.
    """

    folder: Path
    digest: str
    content: SceneGraphContent
    names: NameCounts
    counts: dict[str, int]
    missing: tuple[int, tuple[str, ...]]

    @classmethod
    def open(cls, folder: Path, digest: str) -> "View":
        """The same view in another process.

        Raises:
            StoreError: it was built anew in the meantime.
        """
        return cls.of(open_store(folder, digest=digest))

    @classmethod
    def of(cls, store: Store) -> "View":
        """The view in a store."""
        content, tables = content_in(store), store.tables
        names = NameCounts.of_counts(
            content.objects,
            tables["object_names"]["counts"],
            content.relations,
            tables["relation_names"]["counts"],
        )
        told = store.content
        missing = (int(told["missing"]["count"]), tuple(told["missing"]["first"]))
        return cls(store.folder, store.digest, content, names, dict(told["counts"]), missing)


def view_of(store: Store, root: Path, rules: Rules) -> View:
    """What the rules, and the image files that are there, leave of a store; built if need be, beside it.

    Files of images are looked for when a view is built, and again when files came to or went from a folder of theirs.

    Raises:
        ValueError: numbers are excluded where ids are names.
        PermissionError: the view has to be built but cannot be written.
    """
    check_excluded(rules.exclude_ids, numbered=store.content["numbered"])
    key = key_of({"root": str(root.resolve()), **dataclasses.asdict(rules)})
    folder = store.folder.with_name(f"{store.folder.name}.view-{key}")

    def build(writer: StoreWriter) -> dict[str, Any]:
        return _build_view(writer, store, root, rules)

    return View.of(store_at(folder, outdated=lambda view: outdated_view(view, store, root), build=build))


def _build_view(writer: StoreWriter, store: Store, root: Path, rules: Rules) -> dict[str, Any]:
    content = content_in(store)
    listing, selection = ImageListing(root), _Selection(rules, content)
    images, boxes, relations = writer.columns(), writer.columns(), writer.columns()
    for part in _parts(store):
        _append(selection.apply(part, listing), images, boxes, relations)
    fields = images.arrays()
    pointers = {f"{kind}_ptr": ends(fields.pop(f"{kind}_counts")) for kind in ("box", "relation")}
    tables: dict[str, dict[str, Column]] = {"images": fields, "boxes": boxes.arrays()}
    tables |= {"relations": relations.arrays(), "pointers": pointers}
    writer.write_all(tables)
    for name, counts in (("object_names", selection.objects), ("relation_names", selection.relations)):
        writer.write(name, {**store.tables[name], "counts": counts})
    return {
        "kind": "scene_graphs view",
        "of": store.digest,
        "rules": dataclasses.asdict(rules),
        "folders": listing.folders,
        "skipped": content.skipped,
        "numbered": content.numbered,
        "counts": selection.counts,
        "missing": {"count": selection.missing, "first": selection.first_missing},
    }


def _parts(store: Store) -> Iterator[SceneGraphContent]:
    total = len(store.tables["images"]["image_ids"])
    for start in range(0, total, IMAGES):
        # opened anew for each part: pages that were read count as memory while a file is open
        content = content_in(open_store(store.folder, digest=store.digest))
        yield content.select(np.arange(start, min(start + IMAGES, total)))


def _append(part: SceneGraphContent, images: Columns, boxes: Columns, relations: Columns) -> None:
    records = part.records
    images.append(
        image_ids=records.image_ids,
        file_names=list(records.file_names),
        box_counts=np.diff(records.box_ptr),
        relation_counts=np.diff(records.relation_ptr),
    )
    boxes.append(boxes=records.boxes, labels=records.labels)
    relations.append(relations=records.relations, confidences=part.confidences)


class _Selection:
    """Applies rules to the images of a file, some at a time, and counts what they leave out."""

    def __init__(self, rules: Rules, content: SceneGraphContent) -> None:
        self.rules = rules
        self.counts: dict[str, int] = {}
        self.objects = np.zeros(len(content.objects), np.int64)
        self.relations = np.zeros(len(content.relations), np.int64)
        self.missing = 0
        self.first_missing: list[str] = []

    def apply(self, part: SceneGraphContent, listing: ImageListing) -> SceneGraphContent:
        rules = self.rules
        part = self._keep("relations below the threshold", part, part.confidences >= rules.relation_threshold)
        if rules.pair_overlap:
            part = self._keep("relations of boxes apart", part, overlapping(part))
        self.objects += np.bincount(part.records.labels, minlength=len(self.objects))
        self.relations += np.bincount(part.records.relations[:, 2], minlength=len(self.relations))
        if rules.doubled_relations == "drop":
            part = self._keep("doubled relations", part, first_of_each(part))
        if rules.max_relations is not None:
            kept = first_relations(part, rules.max_relations, order=rules.relation_order)
            part = self._keep("relations beyond max_relations", part, kept)
        if rules.unrelated_images == "drop":
            part = self._keep_images("images without relations", part, np.diff(part.records.relation_ptr) > 0)
        if rules.exclude_ids:
            part = self._keep_images("excluded images", part, ~excluded_images(part, rules.exclude_ids))
        missing = listing.missing(part.records.file_names)
        self.missing += int(missing.sum())
        absent = [part.records.file_names[row] for row in np.flatnonzero(missing)[:SHOWN]]
        self.first_missing = list(dict.fromkeys(self.first_missing + absent))[:SHOWN]
        return part.select(np.flatnonzero(~missing)) if missing.any() else part

    def _keep(self, what: str, part: SceneGraphContent, keep: np.ndarray) -> SceneGraphContent:
        self._count(what, keep)
        return part if keep.all() else part.keep_relations(keep)

    def _keep_images(self, what: str, part: SceneGraphContent, keep: np.ndarray) -> SceneGraphContent:
        self._count(what, keep)
        return part if keep.all() else part.select(np.flatnonzero(keep))

    def _count(self, what: str, keep: np.ndarray) -> None:
        what = f"{what} dropped"
        self.counts[what] = self.counts.get(what, 0) + int((~keep).sum())


def describe(store: Store) -> Mapping[str, int]:
    """How much is in a store, for people."""
    tables = store.tables
    return {
        "images": len(tables["images"]["image_ids"]),
        "boxes": len(tables["boxes"]["boxes"]),
        "relations": len(tables["relations"]["relations"]),
        "object names": len(tables["object_names"]["names"]),
        "relation names": len(tables["relation_names"]["names"]),
        **store.content["skipped"],
    }
