"""Writes miniature COCO and Objects365 folders in the real layouts, each with records of every odd kind."""

from pathlib import Path
from typing import Any

import numpy as np

from rlipv2 import vocabularies
from tests.fakes import write_image, write_json

CLASSES = {"coco": ("person", "dog", "tv"), "objects365": ("person", "sneakers", "dog")}
SIZES = {"train": (48, 64), "val": (64, 48)}


def write_detection(root: Path, layout: str = "coco", *, num_train: int = 6, num_val: int = 4) -> Path:
    """Writes both splits under `root` and returns it.

    Odd records of each split: image 0 has a crowd region; image 1 has no box and is greyscale; image 2 has a box that
    reaches over the edge, one without area and one listed twice. The categories of Objects365 are not in order.
    """
    for split, count in (("train", num_train), ("val", num_val)):
        content = instances(split, layout, count)
        for number, image in enumerate(content["images"]):
            path = root / stored_path(split, layout, image["file_name"])
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, SIZES[split], mode="L" if number == 1 else "RGB", seed=number)
        write_json(root / annotation_path(split, layout), content)
    return root


def annotation_path(split: str, layout: str) -> str:
    """Where the annotations of a split lie."""
    return f"annotations/instances_{split}2017.json" if layout == "coco" else f"{split}/zhiyuan_objv2_{split}.json"


def stored_path(split: str, layout: str, file_name: str) -> str:
    """Where an image of a record lies."""
    return f"{split}2017/{file_name}" if layout == "coco" else f"{split}/{'/'.join(file_name.split('/')[-2:])}"


def instances(split: str, layout: str, count: int) -> dict[str, Any]:
    """The content of an annotation file; image ids are 11, 12, ... in train and 511, ... in val."""
    generator = np.random.default_rng([count, split == "val"])
    vocabulary = vocabularies.load(layout)
    rows = [vocabulary.names.index(name) for name in CLASSES[layout]]
    ids = [int(vocabulary.category_ids[row]) for row in rows]
    height, width = SIZES[split]
    first = 11 if split == "train" else 511
    images, annotations = [], []

    def add(image: int, category: int, box: list[float], **changes: Any) -> None:
        area = box[2] * box[3] * 0.75
        record = {"id": len(annotations) + 1, "image_id": image, "category_id": category, "bbox": box, "area": area}
        annotations.append(record | {"iscrowd": 0} | changes)

    for number in range(count):
        image = first + number
        images.append({"id": image, "file_name": file_name(layout, image), "height": height, "width": width})
        if number == 1:
            continue
        for index in range(int(generator.integers(1, 4))):
            x, y = (float(value) for value in generator.uniform(0, 20, 2).round(2))
            add(image, ids[(number + index) % 3], [x, y, 20.5, 24.25])
        if number == 0:
            add(image, ids[0], [2.0, 3.0, 40.0, 20.0], iscrowd=1)
        if number == 2:
            add(image, ids[1], [width - 10.0, 5.0, 10.5, 10.0])
            add(image, ids[1], [7.0, 7.0, 0.0, 12.0])
            add(image, ids[2], [4.0, 4.0, 9.0, 9.0])
            add(image, ids[2], [4.0, 4.0, 9.0, 9.0])
    # files list the boxes of an image far from each other, and Objects365 its categories in no order
    annotations.sort(key=lambda record: record["id"] % 3)
    categories = [{"id": number, "name": vocabulary.raw_names[row]} for row, number in zip(rows, ids, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories[::-1]}


def file_name(layout: str, image: int) -> str:
    """As in the published files."""
    if layout == "coco":
        return f"{image:012d}.jpg"
    return f"images/v1/patch{image % 2}/objects365_v1_{image:08d}.jpg"
