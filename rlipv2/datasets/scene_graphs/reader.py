"""Reader of scene graphs in the layout of Visual Genome, human or pseudo-labelled.

A record: `image_id`; `objects`, each `object_id`, `x`, `y`, `w`, `h` in pixels and a name `names`; `relationships`,
each a `predicate`, `subject_id` and `object_id` (of `objects`), for pseudo-labels also a `confidence`; `dataset`
("coco2017", "o365", "hico"; none for Visual Genome) and `data_split`.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.json_stream import Watch, iterate_records
from rlipv2.datasets.numbers import Locator, pointers
from rlipv2.datasets.scene_graphs.fields import boxes_xywh, columns, confidences_of, joined_rows, names_of
from rlipv2.datasets.scene_graphs.paths import ImageFiles
from rlipv2.datasets.store.collector import collector_paused
from rlipv2.datasets.store.columns import Column, Columns, ends
from rlipv2.structures import RelationRecords

CHUNK = 1000
"""Records that are in memory at once: with 15 objects and 11 relations each they take about 15 MB."""


@dataclass(frozen=True)
class SceneGraphContent:
    """All records of a file in flat arrays, names as numbers.

    Attributes:
        records: boxes x1 y1 x2 y2; labels are rows of `objects`, relations of `relations`. `image_ids` are those of the
            file where they are numbers, else positions.
        objects: names in order of first occurrence in the file, as stored.
        relations: the same for predicates.
        confidences: per relation; infinite where the file tells none (human labels).
        skipped: how many objects and relations were left out, by reason.
        numbered: false where the file has texts as image ids.
    """

    records: RelationRecords
    objects: tuple[str, ...]
    relations: tuple[str, ...]
    confidences: Float[np.ndarray, " h"]
    skipped: dict[str, int]
    numbered: bool = True

    def keep_relations(self, keep: Bool[np.ndarray, " h"]) -> "SceneGraphContent":
        """The same images and boxes with only the relations where `keep` is true."""
        return dataclasses.replace(self, records=self.records.keep_relations(keep), confidences=self.confidences[keep])

    def select(self, images: Int[np.ndarray, " k"]) -> "SceneGraphContent":
        """The images at these positions, each at most once, in file order."""
        chosen = np.zeros(len(self.records), bool)
        chosen[images] = True
        relations = np.repeat(chosen, np.diff(self.records.relation_ptr))
        return dataclasses.replace(
            self, records=self.records.select(np.flatnonzero(chosen)), confidences=self.confidences[relations]
        )


def read_scene_graphs(
    path: Path, *, image_paths: Path | None = None, lower_case: bool = False, max_skip_rate: int | float = 0.001
) -> SceneGraphContent:
    """Reads a whole file into memory, every value checked.

    Objects without a name or of a size that is not positive, and relations without a name or with an object that is
    not in the record, are left out and counted; beyond `max_skip_rate` of all objects or relations they are an error.
    Where a record lists an `object_id` twice, relations mean the last one, as in the official code.

    Args:
        path: the JSON list.
        image_paths: `image_id_to_filepath.json`, needed for Objects365.
        lower_case: names in lower case; official: as stored.
        max_skip_rate: share of objects, and of relations, that may be left out.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
    """
    reader = SceneGraphReader(path, image_paths=image_paths, lower_case=lower_case)
    tables = reader.read(Columns)
    limit_skipped(path, reader.skipped, reader.totals, max_skip_rate)
    objects, relations = tuple(reader.objects), tuple(reader.relations)
    return content_of(tables, objects, relations, skipped=reader.skipped, numbered=reader.numbered)


class SceneGraphReader:
    """Reads the records of a file in chunks, so that never more than `CHUNK` of them are in memory as Python objects.

    Args:
        path: the JSON list.
        image_paths: `image_id_to_filepath.json`, needed for Objects365.
        lower_case: names in lower case.
        watch: see `iterate_records`.

    Attributes:
        objects: number of every name, in order of first occurrence.
        relations: the same for predicates.
        skipped: how many objects and relations were left out, by reason.
        totals: how many there were of both.
        numbered: whether all image ids are numbers.
    """

    def __init__(
        self, path: Path, *, image_paths: Path | None = None, lower_case: bool = False, watch: Watch | None = None
    ) -> None:
        self.path, self.lower_case, self._watch = path, lower_case, watch
        self.objects: dict[str, int] = {}
        self.relations: dict[str, int] = {}
        self.skipped: dict[str, int] = {}
        self.totals = {"objects": 0, "relations": 0}
        self.numbered = True
        self._image_paths = image_paths

    def read(self, new_columns: Callable[[], Columns]) -> dict[str, dict[str, Column]]:
        """The tables images, boxes, relations and pointers, in columns made by `new_columns`."""
        images, boxes, relations, count = new_columns(), new_columns(), new_columns(), 0
        files = ImageFiles(self.path, self._image_paths, new_columns)
        with collector_paused():
            for chunk in _chunks(iterate_records(self.path, watch=self._watch)):
                lengths = self._read_chunk(chunk, count, boxes, relations)
                images.append(**lengths, file_names=files(chunk, count))
                count += len(chunk)
        if not count:
            todo = "expected a list with a record per image"
            raise AnnotationError.in_file(self.path, "its top level is an empty list", todo)
        del files  # and its list of images
        fields = images.arrays()
        if not self.numbered:
            fields["image_ids"] = np.arange(count)
        pointers = {f"{kind}_ptr": ends(fields.pop(f"{kind}_counts")) for kind in ("box", "relation")}
        return {"images": fields, "boxes": boxes.arrays(), "relations": relations.arrays(), "pointers": pointers}

    def _read_chunk(
        self, content: list[Any], first: int, boxes: Columns, relations: Columns
    ) -> dict[str, Int[np.ndarray, " i"]]:
        """Appends the boxes and relations of records; returns the ids of their images and how many each image has."""
        ids, objects, links = columns(content, self.path, first)
        names = [str(image) for image in ids]
        box_rows = Locator(self.path, names, pointers(len(r["objects"]) for r in content), first)
        relation_rows = Locator(self.path, names, pointers(len(r["relationships"]) for r in content), first)
        xywh = boxes_xywh(objects, box_rows)
        labels = names_of(objects, "names", box_rows, "objects[].names", self.objects, self.lower_case)
        predicates = names_of(
            links, "predicate", relation_rows, "relationships[].predicate", self.relations, self.lower_case
        )
        confidences = confidences_of(links, relation_rows)
        joined = joined_rows(objects, links, box_rows, relation_rows)
        kept_boxes, kept = self._usable(xywh, labels, predicates, joined)
        before = np.concatenate([[0], np.cumsum(kept_boxes)]).astype(np.int64)
        before_relations = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        box_ptr = before[box_rows.ptr]
        owners = np.repeat(np.arange(len(content)), np.diff(relation_rows.ptr))
        local = before[joined] - box_ptr[owners][:, None]
        numbered = set(map(type, ids)) == {int}
        self.numbered &= numbered
        corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        boxes.append(boxes=corners[kept_boxes].astype(np.float32), labels=labels[kept_boxes])
        triplets = np.concatenate([local, predicates[:, None]], axis=1)
        relations.append(relations=triplets[kept].astype(np.int32), confidences=confidences[kept])
        return {
            "image_ids": np.array(ids if numbered else range(first, first + len(ids)), np.int64),
            "box_counts": np.diff(box_ptr),
            "relation_counts": np.diff(before_relations[relation_rows.ptr]),
        }

    def _usable(
        self,
        boxes: Float[np.ndarray, "n 4"],
        labels: Int[np.ndarray, " n"],
        predicates: Int[np.ndarray, " h"],
        joined: Int[np.ndarray, "h 2"],
    ) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " h"]]:
        """Which objects and relations can be used; counts the others."""
        fine = {"objects without a name": labels >= 0, "objects without an area": (boxes[:, 2:] > 0).all(axis=1)}
        kept_boxes = np.logical_and.reduce(list(fine.values()))
        found = (joined >= 0).all(axis=1)
        # row -1 stands for the object that is not there
        has_both = np.append(kept_boxes, False)[joined].all(axis=1)
        fine["relations without a name"] = predicates >= 0
        fine["relations to an object that is not in the record"] = found
        fine["relations to an object that is left out"] = has_both | ~found
        for what, good in fine.items():
            if not good.all():
                self.skipped[what] = self.skipped.get(what, 0) + int((~good).sum())
        self.totals["objects"] += len(boxes)
        self.totals["relations"] += len(joined)
        return kept_boxes, (predicates >= 0) & has_both


def content_of(
    tables: Mapping[str, Mapping[str, Any]],
    objects: tuple[str, ...],
    relations: tuple[str, ...],
    *,
    skipped: Mapping[str, int],
    numbered: bool,
) -> SceneGraphContent:
    """The content that these tables hold, in the same arrays."""
    images, pointers = tables["images"], tables["pointers"]
    records = RelationRecords(
        image_ids=images["image_ids"],
        file_names=images["file_names"],
        sizes=np.broadcast_to(np.int64(0), (len(images["image_ids"]), 2)),  # the file tells none
        boxes=tables["boxes"]["boxes"],
        labels=tables["boxes"]["labels"],
        box_ptr=pointers["box_ptr"],
        relations=tables["relations"]["relations"],
        relation_ptr=pointers["relation_ptr"],
    )
    confidences = tables["relations"]["confidences"]
    return SceneGraphContent(records, objects, relations, confidences, dict(skipped), numbered)


def limit_skipped(
    path: Path, skipped: Mapping[str, int], totals: Mapping[str, int], max_skip_rate: int | float
) -> None:
    """Raises where more than this share of the objects or relations of a file cannot be used.

    Raises:
        AnnotationError: names the reasons.
    """
    for kind, total in totals.items():
        reasons = {what: count for what, count in skipped.items() if what.startswith(kind)}
        if sum(reasons.values()) > max_skip_rate * total:
            found = ", ".join(f"{count:,} {what}" for what, count in reasons.items())
            raise AnnotationError.in_file(
                path,
                f"of {total:,} {kind} more than the share max_skip_rate={max_skip_rate} cannot be used: {found}",
                "run `python -m rlipv2.datasets check vg` to see where; correct them or raise max_skip_rate",
            )


def _chunks(records: Iterator[Any]) -> Iterator[list[Any]]:
    while chunk := list(itertools.islice(records, CHUNK)):
        yield chunk
