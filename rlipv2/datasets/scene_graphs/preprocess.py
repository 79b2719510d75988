"""Makes the scene graphs that RLIP trains on from those of the Visual Genome release: `convert vg --to scene_graphs`.

Official: datasets/vg.py, vg_preprocess. Its step "drop boxes outside of the image" is announced there, but not written:
such boxes stay here too and are clamped where they are read.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.files import sha256, write_json
from rlipv2.datasets.scene_graphs.release import Record, find_release, read_release
from rlipv2.ops.files import opened_atomically

ALIAS_FILES = ("object_alias.txt", "relationship_alias.txt")


@dataclass(frozen=True)
class Aliases:
    """Names that mean the same: every name of a group maps to the first of it. Names of no group stand for themselves.

    They only tell which relations are nearly the same; the names that are stored stay as annotated.
    """

    objects: Mapping[str, str] = field(default_factory=dict)
    relations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Aliases":
        """Reads `object_alias.txt` and `relationship_alias.txt` of the Visual Genome release.

        Raises:
            DatasetNotFoundError: one of them is not in the folder.
        """
        tables = []
        for path in (folder / name for name in ALIAS_FILES):
            if not path.is_file():
                todo = "it belongs to the release of Visual Genome; or compare names as annotated with `--aliases none`"
                raise DatasetNotFoundError.missing("table of aliases", path, todo)
            tables.append(parse_aliases(path.read_text(encoding="utf-8")))
        return cls(*tables)


def parse_aliases(text: str) -> dict[str, str]:
    """Name -> first name of its line; names are separated by commas, and a later line overrides an earlier one."""
    lines = (line.strip().split(",") for line in text.splitlines())
    return {name: names[0] for names in lines for name in names}


@dataclass
class Preprocessing:
    """The rules by which records are changed, and what they did so far.

    1. Names and predicates become lower case.
    2. Of relations of the same subject, object and predicate the first stays.
    3. Of the names of an object the first stays.
    4. Of relations that are nearly the same the first stays: equal predicates and names of both ends by the aliases,
       and both boxes overlap with at least `iou_threshold`.
    5. The first `max_relations` of an image stay.

    Attributes:
        aliases: for rule 4.
        iou_threshold: of rule 4, 0.7 in the published file.
        max_relations: of rule 5, 100 in the published file.
        counts: what was read, dropped and kept.
        object_names: how many boxes have each name.
        predicates: how many relations that stay have each predicate.
    """

    aliases: Aliases = field(default_factory=Aliases)
    iou_threshold: float = 0.7
    max_relations: int = 100
    counts: Counter[str] = field(default_factory=Counter)
    object_names: Counter[str] = field(default_factory=Counter)
    predicates: Counter[str] = field(default_factory=Counter)

    def __call__(self, record: Record) -> Record:
        """A new record by all rules; the given one is not changed. Other fields of it stay."""
        objects = [item | {"names": item["names"][0].lower()} for item in record["objects"]]
        annotated = [item | {"predicate": item["predicate"].lower()} for item in record["relationships"]]
        distinct = _first_of_equal(annotated)
        different = self._first_of_similar(distinct, {item["object_id"]: item for item in objects})
        relations = different[: self.max_relations]
        self.object_names.update(item["names"] for item in objects)
        self.predicates.update(item["predicate"] for item in relations)
        self.counts.update(
            {
                "images": 1,
                "objects": len(objects),
                "objects with several names": sum(len(item["names"]) > 1 for item in record["objects"]),
                "relations in file": len(annotated),
                "repeated relations dropped": len(annotated) - len(distinct),
                "nearly repeated relations dropped": len(distinct) - len(different),
                "relations beyond max_relations dropped": len(different) - len(relations),
                "relations": len(relations),
            }
        )
        return record | {"objects": objects, "relationships": relations}

    def _first_of_similar(self, relations: Sequence[Record], objects: Mapping[int, Record]) -> list[Record]:
        # only relations of equal names are compared, in the order of the file: the result is that of all comparisons
        kept, groups = [], {}  # type: tuple[list[Record], dict[tuple[str, ...], list[tuple[Record, Record]]]]
        for relation in relations:
            ends = objects[relation["subject_id"]], objects[relation["object_id"]]
            names = [self.aliases.objects.get(end["names"], end["names"]) for end in ends]
            predicate = self.aliases.relations.get(relation["predicate"], relation["predicate"])
            group = groups.setdefault((predicate, *names), [])
            if any(self._both_overlap(ends, others) for others in group):
                continue
            group.append(ends)
            kept.append(relation)
        return kept

    def _both_overlap(self, ends: tuple[Record, Record], others: tuple[Record, Record]) -> bool:
        return all(pixel_iou(a, b) >= self.iou_threshold for a, b in zip(ends, others, strict=True))


def pixel_iou(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Overlap of two boxes x, y, w, h whose last pixel counts as covered: sides are one longer than w and h.

    0 where the boxes without that pixel do not overlap, also for a box without area and itself.
    Official: datasets/vg.py, compute_IOU_vg.
    """
    common = []
    for start, side in (("x", "w"), ("y", "h")):
        low = max(first[start], second[start])
        high = min(first[start] + first[side], second[start] + second[side])
        if low >= high:
            return 0.0
        common.append(high - low + 1)
    intersection = common[0] * common[1]
    # last minus first corner, as officially: the sum of two fractions may round
    areas = [(box["x"] + box["w"] - box["x"] + 1) * (box["y"] + box["h"] - box["y"] + 1) for box in (first, second)]
    return intersection / (sum(areas) - intersection)


def _first_of_equal(relations: Iterable[Record]) -> list[Record]:
    first: dict[tuple[int, int, str], Record] = {}
    for relation in relations:
        first.setdefault((relation["subject_id"], relation["object_id"], relation["predicate"]), relation)
    return list(first.values())


def frequent_only(record: Record, counted: Preprocessing, min_count: int) -> Record:
    """The record without relations whose predicate, or the name of one of whose ends, occurs less often.

    Predicates are counted after all rules, names over all boxes. Boxes stay. Not part of the published file; official
    variants "greater5", "greater20" and "greater100".
    """
    often = {item["object_id"]: counted.object_names[item["names"]] >= min_count for item in record["objects"]}
    relations = [
        item
        for item in record["relationships"]
        if counted.predicates[item["predicate"]] >= min_count and often[item["subject_id"]] and often[item["object_id"]]
    ]
    return record | {"relationships": relations}


def convert(
    source: str | Path,
    target: str | Path,
    *,
    aliases: str | Path | None = "auto",
    iou_threshold: float = 0.7,
    max_relations: int = 100,
    min_count: int = 0,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Writes the preprocessed scene graphs and, next to them, `<target>.meta.json`; returns the metadata.

    One image at a time is in memory. With a `min_count` the source is read twice.

    Args:
        source: `scene_graphs.json`, or the folder that holds it.
        target: file to write; replaced when the new one is whole.
        aliases: folder of the tables of aliases; "auto" is that of the source; None compares names as annotated.
        iou_threshold: see `Preprocessing`.
        max_relations: the same.
        min_count: see `frequent_only`; 0 keeps all, as in the published file.
        progress: called with the number of images that are written.

    Raises:
        DatasetNotFoundError: scene graphs or aliases are not there.
        AnnotationError: a record cannot be used; names it. The target stays as it was.
        ValueError: an option out of range.
    """
    if not 0 <= iou_threshold <= 1 or max_relations < 1 or min_count < 0:
        raise ValueError(
            f"iou_threshold={iou_threshold}, max_relations={max_relations}, min_count={min_count}: expected a share, "
            "at least 1 and at least 0"
        )
    path, target = find_release(source), Path(target)
    folder = path.parent if aliases == "auto" else aliases
    tables = Aliases() if folder is None else Aliases.read(Path(folder))
    counted = rules = Preprocessing(tables, iou_threshold, max_relations)
    if min_count:
        for record in read_release(path):
            counted(record)
        rules = Preprocessing(tables, iou_threshold, max_relations)
    left = 0
    with opened_atomically(target) as file:
        for number, record in enumerate(read_release(path)):
            record = rules(record)
            if min_count:
                record = frequent_only(record, counted, min_count)
            left += len(record["relationships"])
            file.write((",\n" if number else "[").encode() + json.dumps(record).encode())
            if progress is not None:
                progress(number + 1)
        if not rules.counts:
            raise AnnotationError.in_file(path, "an empty list", "download it again")
        file.write(b"]\n")
    counts = dict(rules.counts)
    if min_count:
        counts["relations of rare names dropped"] = counts["relations"] - left
        counts["relations"] = left
    metadata = {
        "format": "rlipv2-conversion/1",
        "source": path.name,
        "source_sha256": sha256(path),
        "to": "scene_graphs",
        "aliases": None if folder is None else [len(tables.objects), len(tables.relations)],
        "iou_threshold": iou_threshold,
        "max_relations": max_relations,
        "min_count": min_count,
        **counts,
        "object names": len(rules.object_names),
    }
    write_json(target.with_name(target.name + ".meta.json"), metadata)
    return metadata
