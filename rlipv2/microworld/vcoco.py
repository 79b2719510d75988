"""The micro-world written as V-COCO: the original release with COCO instances, and the files that RLIPv2 reads.

Persons do things without an object (stand, walk, run), the object of an action may be missing (nothing to sit on that
V-COCO knows, nothing under somebody who jumps), some persons have no labels and some are part of a crowd.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from rlipv2.microworld.instances import annotation_id, busy_persons, coco_category_ids, crowd, instance_file
from rlipv2.microworld.relations import PERSON
from rlipv2.microworld.world import Drawn, Labels, Layout, Place, WorldOptions, write_world
from rlipv2.vocabularies import VCOCOVocabulary, load

COCO_SPLITS = {"train": "train2014", "test": "val2014"}
HOIA_FILES = {"train": "trainval_vcoco.json", "test": "test_vcoco.json"}

TRAIN_SHARE = 2533 / 5400
"""Of the training images; the rest is the validation split of the release."""
UNLABELLED = 0.3
"""Share of the idle persons that the annotation of actions left out."""

ACTIVITIES = {"stand": "stand", "wave": "stand", "walk": "walk", "run": "run", "hop": "jump"}
"""Action of a person that does nothing with an object."""

ACTIONS: dict[str, tuple[tuple[str, bool], ...]] = {
    "ride": (("ride", True), ("sit", True)),
    "sit_on": (("sit", True),),
    "stand_on": (("stand", False),),
    "jump": (("jump", False),),
    "hold": (("hold", True),),
    "carry": (("carry", True),),
    "push": (("hold", True), ("walk", False)),
    "fly": (("look", True),),
    "pull": (("walk", False),),
    "walk": (("walk", False),),
    "chase": (("run", False),),
    "inspect": (("look", True),),
    "kick": (("kick", True),),
}
"""Actions of each verb, and whether the object of the verb fills their role."""

MOVING = ("ride", "sit", "jump", "walk", "run", "kick")
"""A person that does none of these stands."""


def write_vcoco(root: str | Path, **options: Unpack[WorldOptions]) -> Path:
    """Writes the V-COCO part of the micro-world to `root`, or re-uses what is there; see `write_world`.

    The release is in `data/` (`vcoco/vcoco_SPLIT.json`, `splits/vcoco_SPLIT.ids`, `instances_vcoco_all_2014.json`),
    the files made from it in `annotations/`, images in `images/{train2014,val2014}`.
    """
    return write_world(root, LAYOUT, **options)


@functools.cache
def _vocabulary() -> VCOCOVocabulary:
    return load("vcoco")


def _image_path(place: Place) -> str:
    folder = COCO_SPLITS[place.split]
    return f"images/{folder}/COCO_{folder}_{place.number:012d}.jpg"


def labelled_persons(drawn: Drawn) -> list[int]:
    """Rows of the persons that have actions; others are in a crowd, or were left out."""
    rng = drawn.random("labelled")
    busy, together = busy_persons(drawn), crowd(drawn)
    rows = []
    for row, name in enumerate(drawn.names):
        left_out = rng.random() < UNLABELLED
        if name == PERSON and (row in busy or not left_out) and row not in together:
            rows.append(row)
    return rows


def person_actions(drawn: Drawn, person: int) -> dict[str, int | None]:
    """Each action of a person with the row of its object, None without one; the first where there are several."""
    found: dict[str, int | None] = {}
    for subject, target, verb in drawn.relations:
        if subject == person:
            for action, has_object in ACTIONS.get(verb, ()):
                fits = has_object and _may_fill(action, drawn.names[target])
                if found.get(action) is None:
                    found[action] = target if fits else None
            if verb == "carry" and drawn.names[target] != "backpack":
                found["walk"] = None
    if person not in busy_persons(drawn):
        found[ACTIVITIES[drawn.activities[person] or "stand"]] = None
    if not any(action in found for action in MOVING):
        found["stand"] = None
    return found


def _may_fill(action: str, name: str) -> bool:
    """Whether annotators could choose an object of this category for the role of an action."""
    vocabulary = _vocabulary()
    roles = dict(vocabulary.actions)[action]
    allowed = vocabulary.role_objects[vocabulary.verbs.index(f"{action}_{roles[0]}")]
    return not allowed or vocabulary.objects.index(name) in allowed


def action_file(images: Sequence[Drawn]) -> list[dict[str, Any]]:
    """The content of a `vcoco_SPLIT.json`: all 26 actions, each with parallel lists over the labelled persons."""
    vocabulary = _vocabulary()
    persons = [(drawn, row, person_actions(drawn, row)) for drawn in images for row in labelled_persons(drawn)]
    person_ids = [annotation_id(drawn, row) for drawn, row, _ in persons]
    content = []
    for action, roles in vocabulary.actions:
        allowed = [vocabulary.role_objects[vocabulary.verbs.index(f"{action}_{role}")] for role in roles]
        filled = [
            annotation_id(drawn, target) if (target := found.get(action)) is not None else 0
            for drawn, _, found in persons
        ]
        # No action of this world has two roles that are filled.
        columns = [person_ids, *(filled if column == 0 else [0] * len(persons) for column, _ in enumerate(roles))]
        content.append(
            {
                "action_name": action,
                "role_name": ["agent", *roles],
                "include": [[], *([vocabulary.objects[row] for row in rows] for rows in allowed)],
                "image_id": [drawn.place.number for drawn, _, _ in persons],
                "ann_id": person_ids,
                "label": [int(action in found) for _, _, found in persons],
                "role_object_id": [number for column in columns for number in column],
            }
        )
    return content


def hoia_records(images: Sequence[Drawn], instances: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The HOIA records of some images: all their COCO boxes, crowds too, and one entry per person, action and role."""
    vocabulary = _vocabulary()
    boxes: dict[int, list[dict[str, Any]]] = {drawn.place.number: [] for drawn in images}
    for box in instances["annotations"]:
        boxes.get(box["image_id"], []).append(box)
    records: list[dict[str, Any]] = []
    for drawn in images:
        own = boxes[drawn.place.number]
        rows = {box["id"]: row for row, box in enumerate(own)}
        entries = [
            {"subject_id": rows[annotation_id(drawn, person)], "object_id": target, "category_id": verb}
            for person in labelled_persons(drawn)
            for verb, target in _verbs(drawn, person, rows, vocabulary)
        ]
        records.append(
            {
                "file_name": Path(drawn.file).name,
                "annotations": [
                    {"bbox": [x, y, x + w, y + h], "category_id": box["category_id"]}
                    for box in own
                    for x, y, w, h in [box["bbox"]]
                ],
                "hoi_annotation": sorted(entries, key=lambda entry: entry["category_id"]),
            }
        )
    return [record for record in records if record["hoi_annotation"]]


def _verbs(drawn: Drawn, person: int, rows: Mapping[int, int], vocabulary: VCOCOVocabulary) -> list[tuple[int, int]]:
    """(verb, row of the object or -1) of a person; `rows` are those of the annotation ids."""
    roles = dict(vocabulary.actions)
    found = []
    for action, target in person_actions(drawn, person).items():
        names = [f"{action}_{role}" for role in roles[action]] or [action]
        for column, name in enumerate(names):
            filled = target is not None and column == 0
            row = rows[annotation_id(drawn, target)] if filled and target is not None else -1
            found.append((vocabulary.verbs.index(name), row))
    return found


def _write_labels(root: Path, labels: Labels) -> dict[str, Any]:
    """Writes the release and what is made from it; returns the counts for the settings file."""
    part = round(TRAIN_SHARE * len(labels["train"]))
    splits = {
        "train": labels["train"][:part],
        "val": labels["train"][part:],
        "trainval": labels["train"],
        "test": labels["test"],
    }
    images = [*labels["train"], *labels["test"]]
    instances = instance_file(images, coco_category_ids(), [Path(drawn.file).name for drawn in images])
    _write_release(root / "data", splits, instances)
    records = {split: hoia_records(labels[split], instances) for split in HOIA_FILES}
    folder = root / "annotations"
    folder.mkdir()
    for split, name in HOIA_FILES.items():
        (folder / name).write_text(json.dumps(records[split]) + "\n", encoding="utf-8")
    np.save(folder / "corre_vcoco.npy", _seen_pairs(records["train"]))
    return {split: _counts(records[split], labels[split]) for split in records}


def _write_release(folder: Path, splits: Mapping[str, Sequence[Drawn]], instances: Mapping[str, Any]) -> None:
    for name in ("vcoco", "splits"):
        (folder / name).mkdir(parents=True)
    for split, images in splits.items():
        text = json.dumps(action_file(images))
        (folder / "vcoco" / f"vcoco_{split}.json").write_text(text + "\n", encoding="utf-8")
    for split, images in {**splits, "all": [*splits["trainval"], *splits["test"]]}.items():
        ids = "".join(f"{drawn.place.number}\n" for drawn in images)
        (folder / "splits" / f"vcoco_{split}.ids").write_text(ids, encoding="utf-8")
    (folder / "instances_vcoco_all_2014.json").write_text(json.dumps(instances) + "\n", encoding="utf-8")


def _seen_pairs(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """1 for each (verb, object) of the training images; stands for the table of VSGNet that RLIPv2 uses."""
    vocabulary = _vocabulary()
    table = np.zeros((len(vocabulary.verbs), len(vocabulary.coco_ids)))
    for record in records:
        for entry in record["hoi_annotation"]:
            if entry["object_id"] >= 0:
                category = record["annotations"][entry["object_id"]]["category_id"]
                table[entry["category_id"], vocabulary.coco_rows[category]] = 1
    return table


def _counts(records: Sequence[Mapping[str, Any]], images: Sequence[Drawn]) -> dict[str, int]:
    entries = [entry for record in records for entry in record["hoi_annotation"]]
    return {
        "images": len(records),
        "boxes": sum(len(record["annotations"]) for record in records),
        "crowds": sum(bool(crowd(drawn)) for drawn in images),
        "persons": sum(len(labelled_persons(drawn)) for drawn in images),
        "relations": len(entries),
        "without object": sum(entry["object_id"] < 0 for entry in entries),
    }


LAYOUT = Layout("vcoco", "1", _image_path, _write_labels)
