"""Writes miniature datasets in the real file formats, each with one record of every odd kind."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from scipy.io import savemat

from rlipv2 import vocabularies

HICO = vocabularies.load("hico")


@dataclass
class Pair:
    """One interaction: boxes are 0-based and half open, x1 y1 x2 y2."""

    hoi: int
    subject: tuple[int, int, int, int]
    object: tuple[int, int, int, int]


@dataclass
class Scene:
    """One image and its interactions; `invisible` ones have no boxes (marked as such in the .mat)."""

    file_name: str
    size: tuple[int, int]
    pairs: list[Pair] = field(default_factory=list)
    invisible: list[int] = field(default_factory=list)
    mode: str = "RGB"


def hico_scenes(split: Literal["train", "test"], count: int, *, seed: int = 0) -> list[Scene]:
    """`count` scenes of one to three interactions; the odd ones are listed in `write_hico`."""
    generator = np.random.default_rng([seed, split == "test"])
    scenes = []
    for number in range(1, count + 1):
        height, width = (48, 64) if number % 3 else (64, 48)
        scene = Scene(f"HICO_{split}2015_{number:08d}.jpg", (height, width), mode="L" if number == 2 else "RGB")
        for index in range(int(generator.integers(1, 4))):
            # boxes of one image start 12 pixels apart, so that no two of them merge by accident
            x, y = 12 * index, int(generator.integers(0, 4))
            subject = (x, y, x + 11, y + 20)
            target = (x + 2, y + 22, x + 2 + int(generator.integers(6, 10)), y + 22 + int(generator.integers(6, 12)))
            scene.pairs.append(Pair(int(generator.integers(0, 600)), subject, target))
        scenes.append(scene)
    first = scenes[0].pairs[0]
    row = int(HICO.hois[first.hoi, 1])
    same_object = np.flatnonzero((HICO.hois[:, 1] == row) & (np.arange(600) != first.hoi))
    scenes[0].pairs.insert(1, Pair(int(same_object[0]), first.subject, first.object))
    if count > 2:
        hug_person = int(np.flatnonzero(HICO.hois[:, 1] == HICO.PERSON)[0])
        scenes[2].pairs = [Pair(hug_person, (0, 0, 20, 40), (22, 2, 44, 42))]
        scenes[2].invisible = [5]
    if count > 3:
        scenes[3].pairs, scenes[3].invisible = [], [7]
    return scenes


def write_hico(
    root: Path,
    *,
    kind: Literal["ppdm", "mat", "hicodet_json"] = "ppdm",
    num_train: int = 6,
    num_test: int = 4,
    scenes: dict[str, Sequence[Scene]] | None = None,
) -> Path:
    """Writes a miniature HICO-DET under `root` and returns its folder, `root/hico_20160224_det`.

    Odd records: image 1 has two interactions of one pair; image 2 is greyscale; image 3 shows two
    people, one as object, and an invisible interaction; image 4 has no visible interaction at all.
    The three kinds hold the same interactions: PPDM boxes are 0-based for train (shifted by one) and
    1-based for test, those of the other two are 1-based, as in the real files.
    """
    folder = root / "hico_20160224_det"
    counts = {"train": num_train, "test": num_test}
    scenes = scenes or {split: hico_scenes(split, count) for split, count in counts.items()}
    for split, members in scenes.items():
        images = folder / "images" / f"{split}2015"
        images.mkdir(parents=True, exist_ok=True)
        for number, scene in enumerate(members):
            write_image(images / scene.file_name, scene.size, mode=scene.mode, seed=number)
    if kind == "ppdm":
        names = {"train": "trainval_hico.json", "test": "test_hico.json"}
        for split, members in scenes.items():
            shift = 0 if split == "train" else 1
            write_json(folder / "annotations" / names[split], [ppdm_record(scene, shift) for scene in members])
    elif kind == "hicodet_json":
        for split, members in scenes.items():
            write_json(folder / f"instances_{split}2015.json", hicodet_content(members))
    else:
        savemat(folder / "anno_bbox.mat", {f"bbox_{split}": mat_structs(members) for split, members in scenes.items()})
    return folder


def write_image(path: Path, size: tuple[int, int], *, mode: str = "RGB", seed: int = 0, **options: Any) -> None:
    """A blurred noise image of (height, width), whose extension tells the format."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    coarse.resize(size[::-1], Image.Resampling.BILINEAR).convert(mode).save(path, **options)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def ppdm_record(scene: Scene, shift: int) -> dict[str, Any]:
    """One record of a PPDM list; `shift` is added to all coordinates."""
    boxes: dict[tuple[Any, ...], int] = {}
    hois = []
    for pair in scene.pairs:
        verb, row = (int(value) for value in HICO.hois[pair.hoi])
        rows = [boxes.setdefault((box, label), len(boxes)) for box, label in ((pair.subject, 0), (pair.object, row))]
        ids = {"subject_id": rows[0], "object_id": rows[1], "category_id": verb + 1, "hoi_category_id": pair.hoi + 1}
        hois.append(ids)
    return {
        "file_name": scene.file_name,
        "img_id": int(scene.file_name[-12:-4]),
        "annotations": [
            {"bbox": [value + shift for value in box], "category_id": int(HICO.coco_ids[label])} for box, label in boxes
        ],
        "hoi_annotation": hois,
    }


def hicodet_content(scenes: Sequence[Scene]) -> dict[str, Any]:
    """The content of a file of fredzzhang/hicodet: objects in alphabetical order, boxes 1-based."""
    names = [name.replace(" ", "_") for name in HICO.objects]
    objects = sorted(names)
    alphabetical = [objects.index(name) for name in names]

    def one_based(box: Sequence[int]) -> list[float]:
        return [float(value + 1) for value in box]

    annotation = [
        {
            "boxes_h": [one_based(pair.subject) for pair in scene.pairs],
            "boxes_o": [one_based(pair.object) for pair in scene.pairs],
            "hoi": [pair.hoi for pair in scene.pairs],
            "object": [alphabetical[HICO.hois[pair.hoi, 1]] for pair in scene.pairs],
            "verb": [int(HICO.hois[pair.hoi, 0]) for pair in scene.pairs],
        }
        for scene in scenes
    ]
    return {
        "annotation": annotation,
        "filenames": [scene.file_name for scene in scenes],
        "empty": [index for index, scene in enumerate(scenes) if not scene.pairs],
        "objects": objects,
        "verbs": list(HICO.verbs),
        "correspondence": [[hoi, alphabetical[row], int(verb)] for hoi, (verb, row) in enumerate(HICO.hois.tolist())],
        "size": [[scene.size[1], scene.size[0]] for scene in scenes],
        "rare": np.flatnonzero(HICO.rare).tolist(),
        "non_rare": np.flatnonzero(~HICO.rare).tolist(),
    }


def mat_structs(scenes: Sequence[Scene]) -> np.ndarray:
    """The struct array of one split in `anno_bbox.mat`; the pairs of one interaction share its entry."""
    images = []
    for scene in scenes:
        hois = []
        pairs = list(scene.pairs)
        while pairs:
            # only neighbours of one interaction are joined, which keeps the order of the pairs
            group = [pairs.pop(0)]
            while pairs and pairs[0].hoi == group[0].hoi:
                group.append(pairs.pop(0))
            connection = np.array([[index + 1, index + 1] for index in range(len(group))], np.uint8)
            humans, objects = (_mat_boxes([getattr(pair, part) for pair in group]) for part in ("subject", "object"))
            hois.append((np.uint16(group[0].hoi + 1), humans, objects, connection, np.uint8(0)))
        nothing = np.zeros((0, 0))
        hois += [(np.uint16(hoi + 1), nothing, nothing, nothing, np.uint8(1)) for hoi in scene.invisible]
        size = _struct(
            ("width", "height", "depth"), [(np.uint16(scene.size[1]), np.uint16(scene.size[0]), np.uint8(3))]
        )
        fields = ("id", "bboxhuman", "bboxobject", "connection", "invis")
        images.append((scene.file_name, size, _struct(fields, hois)))
    return _struct(("filename", "size", "hoi"), images)


def _mat_boxes(boxes: Sequence[Sequence[int]]) -> np.ndarray:
    rows = [tuple(np.uint16(value + 1) for value in (box[0], box[2], box[1], box[3])) for box in boxes]
    return _struct(("x1", "x2", "y1", "y2"), rows)


def _struct(fields: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> np.ndarray:
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in fields])
    for index, row in enumerate(rows):
        array[0, index] = row
    return array


OPEN_IMAGES_OBJECTS = ("Tortoise", "Man", "Beer", "Chair", "Woman", "Table")
OPEN_IMAGES_RELATIONS = ("at", "holds", "inside_of")


def open_images_records(split: Literal["train", "val", "test"], count: int) -> list[dict[str, Any]]:
    """Records as in `vrd-<split>-anno.json`; the odd ones are listed in `write_open_images`."""
    records = []
    for number in range(count):
        records.append(
            {
                "img_fn": f"{'abc'[('train', 'val', 'test').index(split)]}{number:015x}",
                "img_size": [64, 48],
                "bbox": [[2, 3, 20, 40], [10 + number, 5, 40, 30], [30, 20, 60, 45]],
                "det_labels": [1, 2 if split == "train" else 3, 4 if split == "val" else 3],
                "rel": [[0, 1, 1], [2, 0, number % 3]],
            }
        )
    records[0]["rel"].append([0, 1, 2])
    if count > 2:
        records[2]["rel"] = []
    if count > 3:
        records[3] |= {"bbox": [], "det_labels": [], "rel": []}
    return records


def write_open_images(
    root: Path, *, kind: Literal["vrd", "rlipv2"] = "vrd", num_train: int = 5, num_test: int = 4
) -> Path:
    """Writes a miniature Open Images v6 under `root` and returns its folder, `root/open_image_v6`.

    Of six classes "Tortoise" and "Table" occur in no split, and "Woman" in val only. Odd records: the first of every
    split has two relations of one pair, the third none, the fourth no boxes either.
    """
    folder = root / "open_image_v6"
    splits = {
        "train": open_images_records("train", num_train),
        "val": open_images_records("val", 2),
        "test": open_images_records("test", num_test),
    }
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for records in splits.values():
        for number, record in enumerate(records):
            width, height = record["img_size"]
            write_image(folder / "images" / f"{record['img_fn']}.jpg", (height, width), seed=number)
    names = {"obj": list(OPEN_IMAGES_OBJECTS), "rel": list(OPEN_IMAGES_RELATIONS)}
    write_json(folder / "annotations/categories_dict.json", names)
    if kind == "vrd":
        for split, records in splits.items():
            write_json(folder / f"annotations/vrd-{split}-anno.json", records)
        return folder
    converted = {split: [_open_images_converted(record) for record in records] for split, records in splits.items()}
    write_json(folder / "annotations/OI_SGG_train_finetuning.json", converted["train"])
    write_json(folder / "annotations/OI_SGG_trainval_finetuning.json", converted["train"] + converted["val"])
    write_json(folder / "annotations/OI_SGG_test.json", converted["test"])
    return folder


def _open_images_converted(record: dict[str, Any]) -> dict[str, Any]:
    """One record as the official code writes it anew."""
    boxes = zip(record["bbox"], record["det_labels"], strict=True)
    return {
        "file_name": f"{record['img_fn']}.jpg",
        "annotations": [{"bbox": box, "category_id": label} for box, label in boxes],
        "rel_annotations": [
            {"subject_id": subject, "object_id": target, "category_id": relation}
            for subject, target, relation in record["rel"]
        ],
    }


def custom_images(split: str, count: int) -> list[dict[str, Any]]:
    """The list `images` of one file of a user's own data; sizes are told of every second image."""
    images = []
    for number in range(count):
        image = {
            "file_name": f"{split}/{number}.png",
            "objects": [
                {"name": "person", "box": [1, 2, 20, 40]},
                {"name": "bicycle", "box": [10.5, 20, 40, 47.5]},
                {"name": "person", "box": [30, 5, 50, 45]},
            ],
            "relations": [
                {"subject": 0, "name": "riding", "object": 1},
                {"subject": 0, "name": "next to", "object": 2},
                {"subject": 0, "name": "next to", "object": 1},
            ],
        }
        images.append(image | ({"width": 64, "height": 48} if number % 2 else {}))
    return images


def write_custom_data(root: Path, *, splits: dict[str, list[dict[str, Any]]] | None = None) -> Path:
    """Writes `annotations/<split>.json` and the images of a user's own data, and returns `root`."""
    splits = splits or {
        "train": custom_images("train", 5),
        "val": custom_images("val", 2),
        "test": custom_images("test", 3),
    }
    for split, images in splits.items():
        write_json(root / f"annotations/{split}.json", {"images": images})
        for number, image in enumerate(images):
            path = root / "images" / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, (48, 64), seed=number)
    return root
