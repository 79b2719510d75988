"""Converts detection annotations in COCO's format with relations beside them: `convert custom` of the command."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlipv2.datasets.custom.layout import FORMAT
from rlipv2.datasets.custom.read import parse_content
from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json, sha256, write_json


def convert_coco(source: str | Path, target: str | Path, *, relations: str | Path | None = None) -> dict[str, Any]:
    """Writes `target`, an annotation file of a user's own data, and returns what was counted.

    The source has the lists `images` (`id`, `file_name`, `width`, `height`), `categories` (`id`, `name`) and
    `annotations` (`id`, `image_id`, `category_id`, `bbox` x y w h) as in COCO, and a list `relations`, which may be a
    file of its own: each entry has the ids of two annotations of one image, `subject_id` and `object_id`, and a
    `name`. Crowds and boxes without area are left out with their relations and counted.

    Args:
        source: a JSON file in COCO's format.
        target: file to write, such as `ROOT/annotations/train.json`; replaced if it exists.
        relations: a JSON file with the list `relations` (or that list alone); by default the source.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the source cannot be used; names the entry.
    """
    source, target = Path(source), Path(target)
    detections = _Source(source, read_json(source))
    related = detections if relations is None else _Source(Path(relations), read_json(Path(relations)))
    conversion = _Conversion()
    conversion.add_images(detections)
    conversion.add_boxes(detections)
    conversion.add_relations(related)
    content = {"format": FORMAT, "images": list(conversion.images.values())}
    parse_content(content, target).require_sound()
    write_json(target, content)
    return {"source": source.name, "source_sha256": sha256(source), **conversion.counts}


@dataclass(frozen=True)
class _Source:
    path: Path
    content: Any

    def entries(self, key: str, fields: Sequence[str]) -> list[dict[str, Any]]:
        """The list under `key`, whose entries all have `fields`."""
        content = {key: self.content} if key == "relations" and isinstance(self.content, list) else self.content
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            todo = f"expected images, categories, annotations and relations; each of {key} has {', '.join(fields)}"
            raise AnnotationError.in_file(self.path, f"no list {key!r}", todo)
        for number, entry in enumerate(entries):
            missing = [name for name in fields if not isinstance(entry, dict) or name not in entry]
            if missing:
                raise self.error(key, number, "entry", entry, f"without {', '.join(missing)}", "add it")
        return entries

    def error(self, key: str, number: int, name: str, value: Any, wrong: str, todo: str) -> AnnotationError:
        """The error for entry `number` of the list `key`."""
        return AnnotationError.in_record(
            self.path, number, f"of {key}", field=name, value=value, wrong=wrong, todo=todo
        )

    def known(self, ids: dict[Any, Any], key: str, number: int, name: str, entry: dict[str, Any]) -> Any:
        """What the id `entry[name]` stands for."""
        try:
            return ids[entry[name]]
        except (KeyError, TypeError):
            todo = f"expected one of {len(ids):,} ids, such as {next(iter(ids), 'none')!r}"
            raise self.error(key, number, name, entry[name], "unknown id", todo) from None


@dataclass
class _Conversion:
    images: dict[Any, dict[str, Any]] = field(default_factory=dict)
    # image and position of each annotation, or why it was left out
    places: dict[Any, tuple[Any, int] | str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add_images(self, source: _Source) -> None:
        for number, entry in enumerate(source.entries("images", ("id", "file_name"))):
            _require_new(self.images, source, "images", number, entry)
            size: dict[str, Any] = {key: entry[key] for key in ("width", "height") if key in entry}
            self.images[entry["id"]] = {"file_name": entry["file_name"], **size, "objects": [], "relations": []}
        self.counts["images"] = len(self.images)

    def add_boxes(self, source: _Source) -> None:
        names = {entry["id"]: entry["name"] for entry in source.entries("categories", ("id", "name"))}
        fields = ("id", "image_id", "category_id", "bbox")
        for number, entry in enumerate(source.entries("annotations", fields)):
            _require_new(self.places, source, "annotations", number, entry)
            image = source.known(self.images, "annotations", number, "image_id", entry)
            name = source.known(names, "annotations", number, "category_id", entry)
            box = _corners(source, number, entry["bbox"])
            if entry.get("iscrowd") or box is None:
                why = "crowds" if entry.get("iscrowd") else "boxes without area"
                self.places[entry["id"]] = why
                self.counts[f"{why} left out"] += 1
                continue
            self.places[entry["id"]] = entry["image_id"], len(image["objects"])
            image["objects"].append({"name": name, "box": box})
            self.counts["boxes"] += 1

    def add_relations(self, source: _Source) -> None:
        ends = ("subject_id", "object_id")
        for number, entry in enumerate(source.entries("relations", (*ends, "name"))):
            places = [source.known(self.places, "relations", number, end, entry) for end in ends]
            gone = [place for place in places if isinstance(place, str)]
            if gone:
                self.counts[f"relations of {gone[0]} left out"] += 1
                continue
            (image, subject), (other, target) = places
            if image != other:
                wrong = f"these annotations are in the images {image!r} and {other!r}"
                value = [entry[end] for end in ends]
                raise source.error("relations", number, "ids", value, wrong, "expected two of one image")
            self.images[image]["relations"].append({"subject": subject, "name": entry["name"], "object": target})
            self.counts["relations"] += 1


def _require_new(ids: dict[Any, Any], source: _Source, key: str, number: int, entry: dict[str, Any]) -> None:
    if type(entry["id"]) not in (int, str) or entry["id"] in ids:
        wrong = "used before, or neither a number nor a text"
        raise source.error(key, number, "id", entry["id"], wrong, "give every entry an id of its own")


def _corners(source: _Source, number: int, bbox: Any) -> list[int | float] | None:
    """x1 y1 x2 y2 of a box x y w h, None if it has no area."""
    if not (
        isinstance(bbox, list)
        and len(bbox) == 4
        and set(map(type, bbox)) <= {int, float}
        and all(map(math.isfinite, bbox))
    ):
        wrong = "not four finite numbers"
        raise source.error("annotations", number, "bbox", bbox, wrong, "expected [x, y, width, height] in pixels")
    x, y, width, height = bbox
    return None if width <= 0 or height <= 0 else [x, y, x + width, y + height]
