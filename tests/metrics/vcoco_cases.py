"""The recorded V-COCO case (generated, with the results of the official evaluators) and a tiny vocabulary."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlipv2.metrics import VCOCORoleAP
from rlipv2.structures import Annotation, PairPredictions
from tests.metrics.hico_cases import FIXTURES, load_generator

GENERATOR = load_generator()
Box = list[float]


def annotation(image_id: int) -> Annotation:
    """All that the metric reads of labels is the number of the image."""
    nothing = torch.zeros(0, dtype=torch.int64)
    return Annotation(image_id, f"{image_id}.jpg", torch.zeros(0, 4), nothing, nothing.reshape(0, 3))


@dataclass
class DevCase:
    """399 images and what the official evaluators make of them."""

    truth: dict[str, np.ndarray]
    arrays: dict[str, np.ndarray]
    expected: dict[str, Any]

    @classmethod
    def generate(cls) -> "DevCase":
        expected = json.loads((FIXTURES / "vcoco_dev.json").read_text())
        inputs, generator = expected["input"], GENERATOR
        images = generator.vcoco_ground_truth(inputs["gt_seed"], inputs["images"])
        rows = [row for row, image in enumerate(images) if len(image["person"])]
        detections = [generator.vcoco_detections(images, row, inputs["seed"], inputs["noise"]) for row in rows]
        assert f"{generator.checksum(detections):08x}" == inputs["detections_crc32"]
        arrays = {key: np.stack([row[key] for row in detections]) for key in detections[0]}
        return cls(
            generator.vcoco_arrays(images),
            {"image_id": np.array([images[row]["id"] for row in rows])} | arrays,
            expected,
        )

    def head(self, count: int) -> "DevCase":
        """The first images alone: the others are no longer in the split."""
        arrays = {key: values[:count] for key, values in self.arrays.items()}
        in_split = np.isin(self.truth["id"], arrays["image_id"])
        return DevCase(self.truth | {"in_split": in_split}, arrays, {})

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Writes the prediction and the ground-truth file."""
        np.savez(folder / "predictions.npz", **self.arrays)
        np.savez(folder / "ground_truth.npz", **self.truth)
        return folder / "predictions.npz", folder / "ground_truth.npz"

    @cached_property
    def predictions(self) -> list[PairPredictions]:
        """What a model would hand to the metric."""
        tensors = {key: torch.from_numpy(values) for key, values in self.arrays.items()}
        return [
            PairPredictions(
                subject_boxes=tensors["sub_boxes"][row],
                object_boxes=tensors["obj_boxes"][row],
                subject_labels=torch.zeros(100, dtype=torch.int64),
                object_labels=tensors["obj_labels"][row],
                relation_scores=tensors["verb_scores"][row],
            )
            for row in range(len(tensors["image_id"]))
        ]

    @cached_property
    def annotations(self) -> list[Annotation]:
        return [annotation(int(number)) for number in self.arrays["image_id"]]

    def run(self, batch_size: int = 64, order: np.ndarray | None = None, **options: Any) -> VCOCORoleAP:
        """The metric after all images, or those of `order`."""
        metric = VCOCORoleAP(ground_truth=self.truth, **options)
        order = np.arange(len(self.predictions)) if order is None else order
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            metric.update([self.predictions[row] for row in rows], [self.annotations[row] for row in rows])
        return metric


# A vocabulary small enough to work out by hand; the score columns are not in the order of the actions.
ACTIONS = (("stand", ()), ("cut", ("instr", "obj")), ("point", ("instr",)))
VERBS = ("cut_obj", "stand", "point_instr", "cut_instr")
CATEGORIES = (1, 44, 3)  # person, bottle, car
PERSON, BOTTLE, CAR, MISSING = range(4)

ANNE = [10.0, 10.0, 49.0, 109.0]
BOB = [110.0, 10.0, 149.0, 109.0]
KNIFE = [30.0, 50.0, 49.0, 69.0]
BREAD = [50.0, 80.0, 79.0, 99.0]
NOWHERE = [300.0, 300.0, 339.0, 399.0]


@dataclass
class Scene:
    """One labelled image: boxes as (label, x1 y1 x2 y2 with both ends inside), what persons do with which box."""

    boxes: list[tuple[int, Box]]
    does: dict[int, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    number: int = 1

    def image(self) -> dict[str, Any]:
        actions, roles = np.zeros((len(self.does), 3), int), np.full((len(self.does), 3, 2), -1)
        for row, does in enumerate(self.does.values()):
            for column, (name, _) in enumerate(ACTIONS):
                if name in does:
                    actions[row, column] = 1
                    roles[row, column, : len(does[name])] = does[name]
        corners = np.array([box for _, box in self.boxes], np.float64).reshape(-1, 4)
        count = len(corners)
        return {
            "id": self.number,
            "size": (640, 480),
            "ann_id": np.arange(count),
            "bbox": np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2] + 1], axis=1),
            "category_id": np.array([CATEGORIES[label] for label, _ in self.boxes], int),
            "iscrowd": np.zeros(count, int),
            "person": np.array(list(self.does), int),
            "actions": actions,
            "roles": roles,
        }


def small_truth(*scenes: Scene) -> dict[str, np.ndarray]:
    """The ground truth of scenes, all of them in the split."""
    arrays = GENERATOR.vcoco_arrays([scene.image() for scene in scenes])
    return arrays | {"in_split": np.ones(len(scenes), bool)}


def small_metric(*scenes: Scene, **options: Any) -> VCOCORoleAP:
    """The metric of the small vocabulary."""
    if scenes:
        options["ground_truth"] = small_truth(*scenes)
    return VCOCORoleAP(**{"actions": ACTIONS, "verbs": VERBS, "category_ids": CATEGORIES} | options)


Pair = tuple[Box, Box, int, dict[str, float]]


def small_predictions(*pairs: Pair) -> PairPredictions:
    """Predictions of one image: (subject box, object box, object label, score of each verb)."""
    return PairPredictions(
        subject_boxes=torch.tensor([subject for subject, *_ in pairs]).reshape(-1, 4),
        object_boxes=torch.tensor([target for _, target, *_ in pairs]).reshape(-1, 4),
        subject_labels=torch.zeros(len(pairs), dtype=torch.int64),
        object_labels=torch.tensor([label for *_, label, _ in pairs], dtype=torch.int64),
        relation_scores=torch.tensor([[scores.get(verb, 0.0) for verb in VERBS] for *_, scores in pairs]).reshape(
            -1, 4
        ),
    )


def evaluated(scene: Scene, *pairs: Pair, **options: Any) -> VCOCORoleAP:
    """The metric after one image."""
    metric = small_metric(scene, **options)
    metric.update([small_predictions(*pairs)], [annotation(scene.number)])
    return metric
