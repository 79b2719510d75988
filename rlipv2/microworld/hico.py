"""The micro-world written as HICO-DET, in the layout that the PPDM authors published and RLIPv2 reads."""

import functools
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from rlipv2.microworld.splits import SPLITS_FILE, zero_shot_lists
from rlipv2.microworld.world import Drawn, Labels, Layout, Place, WorldOptions, write_world
from rlipv2.vocabularies import HICOVocabulary, load

ANNOTATION_FILES = {"train": "trainval_hico.json", "test": "test_hico.json"}


def write_hico(root: str | Path, **options: Unpack[WorldOptions]) -> Path:
    """Writes the HICO-DET part of the micro-world to `root`, or re-uses what is there; see `write_world`.

    Besides the official files there is `annotations/microworld_splits.json` with the rare and unseen interactions
    of this world.
    """
    return write_world(root, LAYOUT, **options)


def _image_path(place: Place) -> str:
    return f"images/{place.split}2015/HICO_{place.split}2015_{place.index + 1:08d}.jpg"


@functools.cache
def _vocabulary() -> HICOVocabulary:
    return load("hico")


def _record(drawn: Drawn) -> dict[str, Any]:
    """The PPDM record of one image."""
    record: dict[str, Any] = {"file_name": Path(drawn.file).name}
    train = drawn.place.split == "train"
    if train:
        record["img_id"] = drawn.place.index + 1
    vocabulary = _vocabulary()
    objects, coco_ids = vocabulary.label_space.objects, vocabulary.coco_ids
    rows = [objects.index(name) for name in drawn.names]
    record["annotations"] = [
        {"bbox": list(box), "category_id": int(coco_ids[row])} for box, row in zip(drawn.boxes, rows, strict=True)
    ]
    record["hoi_annotation"] = []
    for subject, target, verb in drawn.relations:
        relation = vocabulary.verbs.index(verb)
        hoi = {"subject_id": subject, "object_id": target, "category_id": relation + 1}
        if train:  # the published test file has no such field either
            hoi["hoi_category_id"] = int(vocabulary.hoi_ids[relation, rows[target]]) + 1
        record["hoi_annotation"].append(hoi)
    return record


def _write_labels(root: Path, labels: Labels) -> dict[str, Any]:
    """Writes all files of `annotations/` and returns the counts for the settings file."""
    folder = root / "annotations"
    folder.mkdir()
    vocabulary = _vocabulary()
    records = {split: [_record(drawn) for drawn in labels[split]] for split in ANNOTATION_FILES}
    for split, name in ANNOTATION_FILES.items():
        (folder / name).write_text(json.dumps(records[split]) + "\n", encoding="utf-8")
    np.save(folder / "corre_hico.npy", vocabulary.valid_pairs.astype(np.float64))
    (folder / "hoi_list_new.json").write_text(json.dumps(_hoi_list(vocabulary)) + "\n", encoding="utf-8")
    counts = {split: hoi_counts(records[split], vocabulary) for split in records}
    lists = zero_shot_lists(counts["train"], counts["test"], vocabulary)
    (folder / SPLITS_FILE).write_text(json.dumps(lists, indent=1) + "\n", encoding="utf-8")
    return {
        split: {
            "images": len(records[split]),
            "boxes": sum(len(record["annotations"]) for record in records[split]),
            "relations": sum(counts[split].values()),
            "interactions": len(counts[split]),
        }
        for split in records
    }


def _hoi_list(vocabulary: HICOVocabulary) -> list[dict[str, Any]]:
    return [
        {"id": str(hoi + 1), "object_cat": int(vocabulary.coco_ids[target]), "verb_id": int(verb) + 1}
        for hoi, (verb, target) in enumerate(vocabulary.hois)
    ]


def hoi_counts(records: Iterable[dict[str, Any]], vocabulary: HICOVocabulary) -> Counter[int]:
    """Instances of each interaction in PPDM records, by official id (1 to 600)."""
    counts: Counter[int] = Counter()
    for record in records:
        for hoi in record["hoi_annotation"]:
            category = record["annotations"][hoi["object_id"]]["category_id"]
            row = vocabulary.hoi_ids[hoi["category_id"] - 1, vocabulary.coco_rows[category]]
            counts[int(row) + 1] += 1
    return counts


LAYOUT = Layout("hico", "1", _image_path, _write_labels)
