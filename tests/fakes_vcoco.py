"""Writes miniature V-COCO folders in the real file formats, with one record of every odd kind."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rlipv2 import vocabularies
from tests.fakes import write_image, write_json

VCOCO = vocabularies.load("vcoco")
Action = tuple[str, dict[str, int | None]]


@dataclass
class People:
    """One image: its boxes of COCO (class, x y w h) and the actions of the annotated people, by box.

    An action names its roles with the box that fills each, or None. `split` is "train" or "val" (of V-COCO), or "test".
    """

    image_id: int
    split: Literal["train", "val", "test"]
    boxes: list[tuple[str, tuple[float, ...]]]
    people: dict[int, list[Action]]
    size: tuple[int, int] = (48, 64)
    crowd: Sequence[int] = ()
    area: dict[int, float] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        half = "val2014" if self.split == "test" else "train2014"
        return f"COCO_{half}_{self.image_id:012d}.jpg"

    def annotation_id(self, row: int) -> int:
        return 1000 * self.image_id + row + 1


def vcoco_scenes() -> list[People]:
    """Eight images: five of trainval (two of them of val), three of test."""
    person = ("person", (1.5, 2.25, 20.0, 40.5))
    return [
        # two roles of which one is missing, a relation between people, a crowd, a person nobody annotated
        People(
            36,
            "train",
            [
                ("tennis racket", (30.0, 4.0, 12.25, 8.5)),
                person,
                ("person", (20.0, 1.0, 18.0, 44.0)),
                ("person", (0.0, 0.0, 64.0, 12.0)),
                ("person", (50.0, 20.0, 10.0, 20.0)),
            ],
            {1: [("hold", {"obj": 0}), ("hit", {"instr": 0, "obj": None}), ("stand", {})], 2: [("look", {"obj": 1})]},
            crowd=[3],
        ),
        # an annotated person without any action: the image stays, with no relation
        People(49, "train", [person, ("dog", (30.0, 30.0, 20.0, 10.0))], {0: []}),
        # several actions without object of one person, and two verbs of one pair
        People(
            9,
            "val",
            [person, ("horse", (10.1, 20.2, 30.3, 20.4))],
            {
                0: [
                    ("ride", {"instr": 1}),
                    ("sit", {"instr": 1}),
                    ("walk", {}),
                    ("smile", {}),
                    ("point", {"instr": None}),
                ]
            },
        ),
        # a box that reaches over the edge and one without width, whose relation training drops
        People(
            61,
            "val",
            [("person", (40.0, 10.0, 24.5, 38.5)), ("cup", (30.0, 10.0, 0.0, 5.0)), ("cup", (10.0, 10.0, 5.0, 5.0))],
            {0: [("hold", {"obj": 1}), ("drink", {"instr": 2}), ("look", {"obj": 2})]},
        ),
        People(64, "train", [person, ("book", (5.0, 5.0, 9.0, 7.0))], {0: [("read", {"obj": 1})]}, size=(64, 48)),
        People(42, "test", [person, ("chair", (20.0, 20.0, 30.0, 20.0))], {0: [("sit", {"instr": 1})]}),
        People(
            73,
            "test",
            [person, ("knife", (2.0, 2.0, 9.0, 3.0)), ("cake", (9.0, 20.0, 15.0, 9.0)), ("dog", (30.0, 1.0, 9.0, 9.0))],
            {0: [("cut", {"instr": 1, "obj": 2}), ("eat", {"obj": 2, "instr": None}), ("smile", {})]},
            area={3: 0.0},
        ),
        People(74, "test", [person, ("person", (30.0, 2.0, 20.0, 40.0))], {0: [("run", {})], 1: []}),
    ]


def write_vcoco(
    root: Path,
    *,
    kind: Literal["release", "hoia"] = "release",
    scenes: Sequence[People] | None = None,
    extract: bool = False,
) -> Path:
    """Writes a miniature V-COCO under `root` and returns its folder, `root/v-coco`.

    "release" writes the action files of all splits, lists of ids and COCO's instances; with `extract` these as the one
    file that the script of the release makes. "hoia" writes what the official converter makes of them, nothing else.
    """
    folder = root / "v-coco"
    scenes = vcoco_scenes() if scenes is None else scenes
    for number, scene in enumerate(scenes):
        path = folder / "images" / scene.file_name.split("_")[1] / scene.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, scene.size, seed=number)
    splits = {
        "train": [scene for scene in scenes if scene.split == "train"],
        "val": [scene for scene in scenes if scene.split == "val"],
        "test": [scene for scene in scenes if scene.split == "test"],
    }
    splits["trainval"] = splits["train"] + splits["val"]
    if kind == "hoia":
        for split in ("trainval", "test"):
            records = [hoia_record(scene) for scene in splits[split]]
            write_json(folder / "annotations" / f"{split}_vcoco.json", records)
        return folder
    for split, members in splits.items():
        write_json(folder / "data" / "vcoco" / f"vcoco_{split}.json", action_file(members))
        ids = folder / "data" / "splits" / f"vcoco_{split}.ids"
        ids.parent.mkdir(exist_ok=True)
        ids.write_text("".join(f"{scene.image_id:>6}\n" for scene in sorted(members, key=lambda s: s.image_id)))
    if extract:
        write_json(folder / "data" / "instances_vcoco_all_2014.json", instances(scenes))
    else:
        write_json(folder / "annotations" / "instances_train2014.json", instances(splits["trainval"]))
        write_json(folder / "annotations" / "instances_val2014.json", instances(splits["test"]))
    return folder


def action_file(scenes: Sequence[People]) -> list[dict[str, Any]]:
    """The 26 actions with parallel lists over the annotated people."""
    people = [(scene, box) for scene in scenes for box in scene.people]
    actions = []
    for name, roles in VCOCO.actions:
        done = [dict(scene.people[box]).get(name) for scene, box in people]
        columns = [[scene.annotation_id(box) for scene, box in people]]
        for role in roles:
            rows = [None if found is None else found[role] for found in done]
            columns.append(
                [0 if row is None else scene.annotation_id(row) for row, (scene, _) in zip(rows, people, strict=True)]
            )
        actions.append(
            {
                "action_name": name,
                "role_name": ["agent", *roles],
                "include": [[] for _ in range(len(roles) + 1)],
                "image_id": [scene.image_id for scene, _ in people],
                "ann_id": columns[0],
                "label": [int(found is not None) for found in done],
                "role_object_id": [value for column in columns for value in column],
            }
        )
    return actions


def instances(scenes: Sequence[People]) -> dict[str, Any]:
    """Instance annotations of COCO, those of different images mixed as in the real files, and an image too many."""
    annotations = [
        {
            "id": scene.annotation_id(row),
            "image_id": scene.image_id,
            "category_id": int(VCOCO.coco_ids[VCOCO.objects.index(name)]),
            "bbox": list(box),
            "iscrowd": int(row in scene.crowd),
            "area": scene.area.get(row, 12.5),
            "segmentation": {"counts": [1, 2], "size": [3, 4]} if row in scene.crowd else [[1.0, 2.0, 3.0, 4.0]],
        }
        for scene in scenes
        for row, (name, box) in enumerate(scene.boxes)
    ]
    order = np.random.default_rng(0).permutation(len(annotations))
    mixed: list[dict[str, Any]] = []  # within an image in the order of its boxes
    queues = {scene.image_id: [a for a in annotations if a["image_id"] == scene.image_id] for scene in scenes}
    for place in order:
        mixed.append(queues[annotations[place]["image_id"]].pop(0))
    stranger = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "iscrowd": 0, "area": 1.0}
    images = [
        {"id": scene.image_id, "file_name": scene.file_name, "height": scene.size[0], "width": scene.size[1]}
        for scene in sorted(scenes, key=lambda scene: scene.image_id)
    ]
    images.append({"id": 1, "file_name": "COCO_train2014_000000000001.jpg", "height": 1, "width": 1})
    categories = [{"id": int(i), "name": name} for i, name in zip(VCOCO.coco_ids, VCOCO.objects[:-1], strict=True)]
    return {"info": {}, "images": images, "annotations": [*mixed, stranger], "categories": categories}


def hoia_record(scene: People) -> dict[str, Any]:
    """One record as the official converter writes it: relations by action, then by person, then by role."""
    hois = []
    for name, roles in VCOCO.actions:
        for person, actions in scene.people.items():
            found = dict(actions).get(name)
            if found is None:
                continue
            for role in roles or (None,):
                target = None if role is None else found[role]
                verb = VCOCO.verbs.index(name if role is None else f"{name}_{role}")
                hois.append({"subject_id": person, "object_id": -1 if target is None else target, "category_id": verb})
    return {
        "file_name": scene.file_name,
        "annotations": [
            {
                "category_id": int(VCOCO.coco_ids[VCOCO.objects.index(name)]),
                "bbox": [x, y, x + width, y + height],
            }
            for name, (x, y, width, height) in scene.boxes
        ],
        "hoi_annotation": hois,
    }
