"""The micro-world written as scene graphs of Visual Genome: free names, relations between anything, incomplete.

The images are others than those of HICO-DET, as in relational pre-training.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Unpack

from rlipv2.microworld.relations import NO_INTERACTION
from rlipv2.microworld.spatial import spatial_relations
from rlipv2.microworld.words import OBJECT_WORDS, RELATION_WORDS, choose
from rlipv2.microworld.world import Drawn, Labels, Layout, Place, WorldOptions, write_world

FILES = {"train": "scene_graphs_preprocessv1.json", "test": "scene_graphs_test.json"}
"""The published file has no parts; the test split lies next to it, for figures on images that were not trained on."""

KEPT = 0.9, 0.4
"""Share of the planned and of the spatial relations that are written: scene graphs are incomplete."""
WRONG = 0.02
"""Share of the relations whose name is that of another relation."""


def write_scene_graphs(root: str | Path, **options: Unpack[WorldOptions]) -> Path:
    """Writes scene graphs as Visual Genome to `root`, or re-uses what is there; see `write_world`.

    All images lie in one folder, the graphs of the training split in `annotations/scene_graphs_preprocessv1.json`
    (after preprocessing: one lower-case name per object, no repeated relations), those of the test split in
    `annotations/scene_graphs_test.json`.
    """
    return write_world(root, LAYOUT, **options)


def _image_path(place: Place) -> str:
    return f"images/{place.number}.jpg"


def graph(drawn: Drawn, ids: Iterator[int]) -> dict[str, Any]:
    """The record of one image; `ids` gives those of objects and relations, which are unique in a file."""
    rng = drawn.random("scene graph")
    objects = []
    for name, (x1, y1, x2, y2) in zip(drawn.names, drawn.boxes, strict=True):
        names = choose(OBJECT_WORDS[name], rng)
        box = {"x": x1, "y": y1, "w": x2 - x1, "h": y2 - y1}
        objects.append({"object_id": next(ids), **box, "names": names, "synsets": []})
    relations = {}
    planned = [row for row in drawn.relations if row[2] != NO_INTERACTION]
    for share, rows in zip(KEPT, (planned, spatial_relations(drawn)), strict=True):
        for subject, target, verb in rows:
            if rng.random() < WRONG:
                verb = rng.choice(list(RELATION_WORDS))
            predicate = choose(RELATION_WORDS[verb], rng)
            if rng.random() < share:
                relations[subject, target, predicate] = {
                    "relationship_id": next(ids),
                    "predicate": predicate,
                    "subject_id": objects[subject]["object_id"],
                    "object_id": objects[target]["object_id"],
                    "synsets": [],
                }
    return {"image_id": drawn.place.number, "objects": objects, "relationships": list(relations.values())}


def _write_labels(root: Path, labels: Labels) -> dict[str, Any]:
    folder = root / "annotations"
    folder.mkdir()
    ids = itertools.count(1_000_001)
    counts = {}
    for split, name in FILES.items():
        graphs = [graph(drawn, ids) for drawn in labels[split]]
        (folder / name).write_text(json.dumps(graphs) + "\n", encoding="utf-8")
        counts[split] = {
            "images": len(graphs),
            "boxes": sum(len(record["objects"]) for record in graphs),
            "relations": sum(len(record["relationships"]) for record in graphs),
        }
    return counts


LAYOUT = Layout("scene_graphs", "2", _image_path, _write_labels, own_pictures=True)
