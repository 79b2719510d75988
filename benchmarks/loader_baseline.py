"""The loader that `loader.py` compares with: Pillow, float32 pixels normalised in the worker, annotations as JSON.

Written anew in the manner of DETR and its descendants; the same augmentation, pairs, padding and drawn labels.
"""

import bisect
import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import functional as F

from rlipv2.ops.padding import PIXEL_MEAN, PIXEL_STD
from rlipv2.transforms import SHORT_SIDES, resized_size

Target = dict[str, Any]


class JSONDataset(Dataset[tuple[Tensor, Target]]):
    """Records of a JSON list, which every process reads as a whole at its first image."""

    def __init__(self, root: Path, annotations: Path) -> None:
        self.root, self.annotations = root, annotations
        self.records: list[dict[str, Any]] | None = None

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        return augment(*self.read(index))

    def read(self, index: int) -> tuple[Image.Image, Target]:
        """Decoded image, boxes x1 y1 x2 y2 in pixels and triplets."""
        if self.records is None:
            self.records = json.loads(self.annotations.read_text())
        record = self.records[index]
        image = Image.open(self.root / f"images/{record['image_id']}.jpg").convert("RGB")
        width, height = image.size
        boxes = [[o["x"], o["y"], o["x"] + o["w"], o["y"] + o["h"]] for o in record["objects"]]
        tensor = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        tensor[:, 0::2].clamp_(0, width)
        tensor[:, 1::2].clamp_(0, height)
        rows = {item["object_id"]: row for row, item in enumerate(record["objects"])}
        objects = list(dict.fromkeys(item["names"] for item in record["objects"]))
        relations = list(dict.fromkeys(item["predicate"] for item in record["relationships"]))
        target = {
            "boxes": tensor,
            "labels": torch.tensor([(row, objects.index(o["names"])) for row, o in enumerate(record["objects"])]),
            "triplets": [
                (rows[r["subject_id"]], rows[r["object_id"]], relations.index(r["predicate"]))
                for r in record["relationships"]
            ],
            "objects": objects,
            "relations": relations,
        }
        return image, target


def augment(image: Image.Image, target: Target) -> tuple[Tensor, Target]:
    """The published augmentation on Pillow images, then float32 pixels and targets."""
    if random.random() < 0.5:
        image = F.hflip(image)
        target["boxes"] = target["boxes"][:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor(
            [image.width, 0, image.width, 0]
        )
    adjustments = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation]
    for adjust in random.sample(adjustments, 3):
        image = adjust(image, random.uniform(0.6, 1.4))
    if random.random() < 0.5:
        image, target = _resize(image, target, random.choice([400, 500, 600]), None)
        image, target = _crop(image, target)
    image, target = _resize(image, target, random.choice(SHORT_SIDES), 1333)
    pixels = F.normalize(F.to_tensor(image), PIXEL_MEAN, PIXEL_STD)
    return pixels, _pairs(target, image.size)


def _resize(image: Image.Image, target: Target, short: int, limit: int | None) -> tuple[Image.Image, Target]:
    height, width = resized_size(image.height, image.width, short, limit)
    scale = torch.tensor([width / image.width, height / image.height] * 2)
    return F.resize(image, [height, width]), target | {"boxes": target["boxes"] * scale}


def _crop(image: Image.Image, target: Target) -> tuple[Image.Image, Target]:
    width = random.randint(min(384, image.width), min(image.width, 600))
    height = random.randint(min(384, image.height), min(image.height, 600))
    top, left = random.randint(0, image.height - height), random.randint(0, image.width - width)
    boxes = target["boxes"] - torch.tensor([left, top, left, top])
    corners = torch.min(boxes.reshape(-1, 2, 2), torch.tensor([width, height])).clamp(min=0)
    keep = (corners[:, 1] > corners[:, 0]).all(dim=1)
    target = target | {"boxes": corners.reshape(-1, 4)[keep], "labels": target["labels"][keep]}
    return F.crop(image, top, left, height, width), target


def _pairs(target: Target, size: tuple[int, int]) -> Target:
    width, height = size
    x1, y1, x2, y2 = target["boxes"].unbind(-1)
    boxes = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=-1)
    boxes = boxes / torch.tensor([width, height, width, height])
    kept = target["labels"][:, 0].tolist()
    pairs: list[tuple[int, int]] = []
    rows: list[list[float]] = []
    for subject, object_, relation in target["triplets"]:
        if subject not in kept or object_ not in kept:
            continue
        if (subject, object_) not in pairs:
            pairs.append((subject, object_))
            rows.append([0.0] * len(target["relations"]))
        rows[pairs.index((subject, object_))][relation] = 1.0
    subjects, objects = ([kept.index(pair[end]) for pair in pairs] for end in (0, 1))
    return {
        "subject_boxes": boxes[subjects],
        "object_boxes": boxes[objects],
        "subject_labels": target["labels"][subjects, 1],
        "object_labels": target["labels"][objects, 1],
        "relations": torch.tensor(rows).reshape(-1, len(target["relations"])),
        "names": (target["objects"], target["relations"]),
    }


class Labels:
    """Merges the names of a batch and extends them by drawn ones, one after the other."""

    def __init__(self, names: Sequence[Sequence[str]], counts: Sequence[Sequence[int]], sizes: Sequence[int]) -> None:
        self.names, self.sizes = names, sizes
        self.cumulative = [list(itertools.accumulate(numbers)) for numbers in counts]

    def __call__(self, targets: Sequence[Target]) -> tuple[list[str], list[str]]:
        """The names of the batch; the targets are changed so that they count in them."""
        objects, relations = (self._extended([target["names"][kind] for target in targets], kind) for kind in (0, 1))
        for target in targets:
            rows = torch.tensor([objects.index(name) for name in target["names"][0]])
            for end in ("subject_labels", "object_labels"):
                target[end] = rows[target[end]]
            wide = torch.zeros(len(target["relations"]), len(relations))
            wide[:, [relations.index(name) for name in target["names"][1]]] = target["relations"]
            target["relations"] = wide
        return objects, relations

    def _extended(self, shown: Sequence[Sequence[str]], kind: int) -> list[str]:
        merged = dict.fromkeys(name for names in shown for name in names)
        total = self.cumulative[kind][-1]
        while len(merged) < self.sizes[kind]:
            drawn = bisect.bisect_left(self.cumulative[kind], random.random() * total)
            merged.setdefault(self.names[kind][drawn])
        return list(merged)


def collate(items: Sequence[tuple[Tensor, Target]], labels: Labels) -> tuple[Tensor, Tensor, list[Target], Any]:
    """Float32 images padded to a common size, their mask, the targets and the names they count in."""
    targets = [target for _, target in items]
    names = labels(targets)
    images = [image for image, _ in items]
    height, width = (max(image.shape[side] for image in images) for side in (1, 2))
    batch = torch.zeros(len(images), 3, height, width)
    mask = torch.ones(len(images), height, width, dtype=torch.bool)
    for image, padded, padding in zip(images, batch, mask, strict=True):
        padded[:, : image.shape[1], : image.shape[2]].copy_(image)
        padding[: image.shape[1], : image.shape[2]] = False
    return batch, mask, targets, names
