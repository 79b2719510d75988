"""The micro-world written as Open Images v6 for scene graphs, in the layout of the PySGG package.

All splits lie in one image folder. Pairs often have several predicates, objects are related to each other too.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Unpack

from rlipv2.microworld.spatial import spatial_relations
from rlipv2.microworld.world import Drawn, Labels, Layout, Place, WorldOptions, write_world

OBJECT_NAMES = {
    "person": "Person",
    "bicycle": "Bicycle",
    "horse": "Horse",
    "dog": "Dog",
    "chair": "Chair",
    "umbrella": "Umbrella",
    "kite": "Kite",
    "sports ball": "Ball",
    "bottle": "Bottle",
    "boat": "Boat",
    "bench": "Bench",
    "backpack": "Backpack",
}

PREDICATES: dict[str, tuple[str, ...]] = {
    "ride": ("ride", "on"),
    "sit_on": ("on",),
    "stand_on": ("on",),
    "hold": ("holds",),
    "carry": ("holds",),
    "push": ("holds", "interacts_with"),
    "fly": ("plays",),
    "pull": ("interacts_with",),
    "walk": ("interacts_with",),
    "inspect": ("interacts_with",),
    "kick": ("kick", "hits"),
    "next to": ("at",),
    "under": ("under",),
}
"""Predicates of each verb and spatial relation; what is missing here has none among the thirty."""

SPECIAL: dict[tuple[str, str], tuple[str, ...]] = {
    ("sit_on", "boat"): ("on", "inside_of"),
    ("stand_on", "boat"): ("on", "inside_of"),
    ("sit_on", "bench"): ("on", "at"),
    ("hold", "umbrella"): ("holds", "under"),
    ("carry", "backpack"): ("wears",),
}
"""Predicates of a verb with a certain object, instead of those above."""

PLACES = ("bench", "boat", "chair")
"""What something can be `at`."""

UNUSED = ("Accordion", "Mug"), ("read", "surf")
"""Names of `categories_dict.json` that no image shows: as in the real file, most objects are like that."""

IMAGES, ANNOTATIONS = "images", "annotations"


def write_open_images(root: str | Path, **options: Unpack[WorldOptions]) -> Path:
    """Writes scene graphs as Open Images v6 to `root`, or re-uses what is there; see `write_world`.

    Files are `annotations/vrd-{train,val,test}-anno.json` and `categories_dict.json`; the latter has only names
    that occur here and four that do not.
    """
    return write_world(root, LAYOUT, **options)


def categories() -> dict[str, list[str]]:
    """The content of `categories_dict.json`: `obj` and `rel`, in the order of the labels."""
    words = {word for words in (*PREDICATES.values(), *SPECIAL.values()) for word in words}
    return {"obj": sorted([*OBJECT_NAMES.values(), *UNUSED[0]]), "rel": sorted([*words, *UNUSED[1]])}


def _image_path(place: Place) -> str:
    digest = hashlib.sha256(f"{place.world}/{place.split}/{place.index}".encode()).hexdigest()
    return f"{IMAGES}/{digest[:16]}.jpg"


def triplets(drawn: Drawn) -> list[tuple[int, int, str]]:
    """Rows (subject, object, predicate) of an image; `no_interaction` and what has no predicate are left out."""
    rows = []
    for subject, target, verb in drawn.relations:
        words = SPECIAL.get((verb, drawn.names[target]), PREDICATES.get(verb, ()))
        rows += [(subject, target, word) for word in words]
    for subject, target, name in spatial_relations(drawn):
        if name != "next to" or (drawn.names[target] in PLACES and drawn.names[subject] not in PLACES):
            rows += [(subject, target, word) for word in PREDICATES.get(name, ())]
    return list(dict.fromkeys(rows))


def _record(drawn: Drawn, objects: Sequence[str], relations: Sequence[str]) -> dict[str, Any]:
    return {
        "bbox": [list(box) for box in drawn.boxes],
        "det_labels": [objects.index(OBJECT_NAMES[name]) for name in drawn.names],
        "rel": [[subject, target, relations.index(word)] for subject, target, word in triplets(drawn)],
        "img_size": list(drawn.size),
        "img_fn": Path(drawn.file).stem,
    }


def _write_labels(root: Path, labels: Labels) -> dict[str, Any]:
    folder = root / ANNOTATIONS
    folder.mkdir()
    names = categories()
    (folder / "categories_dict.json").write_text(json.dumps(names) + "\n", encoding="utf-8")
    counts = {}
    for split, images in labels.items():
        records = [_record(drawn, names["obj"], names["rel"]) for drawn in images]
        (folder / f"vrd-{split}-anno.json").write_text(json.dumps(records) + "\n", encoding="utf-8")
        counts[split] = _counts(records)
    return counts


def _counts(records: Iterable[dict[str, Any]]) -> dict[str, int]:
    records = list(records)
    return {
        "images": len(records),
        "boxes": sum(len(record["bbox"]) for record in records),
        "relations": sum(len(record["rel"]) for record in records),
        "pairs": sum(len({(s, o) for s, o, _ in record["rel"]}) for record in records),
    }


LAYOUT = Layout("open_images", "1", _image_path, _write_labels, validation=True)
