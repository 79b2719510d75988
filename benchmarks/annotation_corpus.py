"""Writes annotations of Objects365's size in the formats of the releases, with an empty file for each image."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from rlipv2.vocabularies import load

FULL = {"images": 1_800_000, "boxes": 27_000_000, "relations": 20_000_000}
PREDICATES = 1_141
PATCHES = 51
STREAMS = 8
BLOCK = 1000
GRAPHS, PATHS, INSTANCES = "rel_annotations/o365.json", "image_id_to_filepath.json", "train/zhiyuan_objv2_train.json"
Rows = list[Any]


def write_corpus(root: Path, images: int, kinds: tuple[str, ...]) -> dict[str, int]:
    """Writes the annotation files of these kinds, the list of images and empty image files; returns counts and sizes.

    The boxes of an image lie in `STREAMS` places of the instances file, since those of the releases do not follow
    their images either.
    """
    counts = {"images": images, "boxes": 0, "relations": 0}
    for folder in ("rel_annotations", *(f"train/patch{patch}" for patch in range(PATCHES))):
        (root / folder).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        listed = stack.enter_context((root / PATHS).open("w"))
        graphs = stack.enter_context((root / GRAPHS).open("w")) if "scene graphs" in kinds else None
        instances = stack.enter_context((root / INSTANCES).open("w")) if "boxes" in kinds else None
        streams = [stack.enter_context(tempfile.TemporaryFile("w+", dir=root)) for _ in range(STREAMS)]
        listed.write("{")
        _write(graphs, "[")
        _write(instances, '{"images": [')
        for image, objects, relations in _images(images, counts):
            name, separator = f"patch{image % PATCHES}/objects365_v1_{image:08d}.jpg", ", " if image > 1 else ""
            (root / "train" / name).touch()
            listed.write(f'{separator}"{image}": "train/{name}"')
            if graphs is not None:
                graphs.write(separator + _graph(image, objects, relations))
            if instances is not None:
                size = '"height": 512, "width": 768'
                instances.write(f'{separator}{{"id": {image}, "file_name": "images/v1/{name}", {size}}}')
                for row, box in enumerate(objects):
                    streams[(image + row) % STREAMS].write(_instance(image, box))
        listed.write("}")
        _write(graphs, "]")
        if instances is not None:
            _join(instances, streams)
    return counts | {
        "bytes": sum((root / file).stat().st_size for file in (GRAPHS, INSTANCES) if (root / file).exists())
    }


def _images(images: int, counts: dict[str, int]) -> Iterator[tuple[int, Rows, Rows]]:
    """Number, boxes (number, class, x, y, w, h) and relations (number, predicate, subject, object, confidence)."""
    draw, classes = np.random.default_rng(0), len(load("objects365").names)
    for first in range(1, images + 1, BLOCK):
        numbers = range(first, min(first + BLOCK, images + 1))
        sizes = [draw.integers(low, high, len(numbers)) for low, high in ((1, 30), (0, 23))]  # 15 and 11 in the mean
        boxes, relations = (int(size.sum()) for size in sizes)
        ends = [[0, *accumulate(size.tolist())] for size in sizes]
        values = draw.uniform(1, 300, (boxes, 4)).round(4).tolist()
        labels, predicates = draw.integers(0, classes, boxes).tolist(), draw.integers(0, PREDICATES, relations).tolist()
        confidences, pairs = draw.uniform(0.05, 0.9, relations).tolist(), draw.random((relations, 2))
        rows = (np.repeat(sizes[0], sizes[1])[:, None] * pairs).astype(np.int64) + counts["boxes"]
        links = (rows + np.repeat(ends[0][:-1], sizes[1])[:, None]).tolist()
        objects = [
            (counts["boxes"] + row, label, *box) for row, (label, box) in enumerate(zip(labels, values, strict=True))
        ]
        joined = [
            (counts["relations"] + row, *one)
            for row, one in enumerate(zip(predicates, links, confidences, strict=True))
        ]
        for row, image in enumerate(numbers):
            yield image, objects[ends[0][row] : ends[0][row + 1]], joined[ends[1][row] : ends[1][row + 1]]
        counts["boxes"], counts["relations"] = counts["boxes"] + boxes, counts["relations"] + relations


@cache
def _names() -> tuple[str, ...]:
    return tuple(load("objects365").names)


def _graph(image: int, objects: Rows, relations: Rows) -> str:
    names = _names()
    boxes = ", ".join(
        f'{{"object_id": {20_000_000 + row}, "x": {x}, "y": {y}, "w": {w}, "h": {h}, "names": "{names[label]}", '
        '"synsets": []}'
        for row, label, x, y, w, h in objects
    )
    links = ", ".join(
        f'{{"relationship_id": {20_000_000 + row}, "predicate": "predicate {predicate}", "synsets": [], '
        f'"subject_id": {20_000_000 + subject}, "object_id": {20_000_000 + object_}, "confidence": {confidence}}}'
        for row, predicate, (subject, object_), confidence in relations
    )
    return (
        f'{{"image_id": {image}, "dataset": "o365", "data_split": "train", "objects": [{boxes}], '
        f'"relationships": [{links}]}}'
    )


def _instance(image: int, box: Any) -> str:
    row, label, x, y, w, h = box
    return (
        f', {{"id": {row + 1}, "iscrowd": 0, "isfake": 0, "area": {w * h}, "isreflected": 0, '
        f'"bbox": [{x}, {y}, {w}, {h}], "image_id": {image}, "category_id": {label + 1}}}'
    )


def _write(file: TextIO | None, text: str) -> None:
    if file is not None:
        file.write(text)


def _join(instances: TextIO, streams: list[Any]) -> None:
    instances.write('], "annotations": [')
    begun = False
    for stream in streams:
        begun, first = begun or stream.tell() > 0, not begun
        stream.seek(2 if first else 0)  # no comma before the first box
        shutil.copyfileobj(stream, instances)
    classes = [{"id": row + 1, "name": raw} for row, raw in enumerate(load("objects365").raw_names)]
    instances.write(f'], "categories": {json.dumps(classes)}}}')
