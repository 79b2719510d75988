"""The recorded Open Images case `oi_dev` (generated labels and detections), and scenes small enough to work out."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from rlipv2.structures import Annotation, PairPredictions
from tests.metrics.hico_cases import FIXTURES, load_generator

NUM_OBJECTS, NUM_RELATIONS = 288, 30


@dataclass
class OpenImagesCase:
    """1,000 images and what the official evaluators make of them."""

    images: list[dict[str, Any]]
    detections: list[dict[str, np.ndarray]]
    expected: dict[str, Any]

    @classmethod
    def generate(cls) -> "OpenImagesCase":
        generator = load_generator()
        expected = json.loads((FIXTURES / "oi_dev.json").read_text())
        inputs = expected["input"]
        images = generator.oi_ground_truth(inputs["gt_seed"], inputs["images"])
        detections = [
            generator.oi_detections(images, image, inputs["seed"], inputs["noise"]) for image in range(len(images))
        ]
        labels = [{key: image[key] for key in ("boxes", "labels", "rels")} for image in images]
        assert f"{generator.checksum(labels):08x}" == inputs["gt_crc32"]
        assert f"{generator.checksum(detections):08x}" == inputs["detections_crc32"]
        return cls(images, detections, expected)

    @cached_property
    def truth(self) -> dict[str, np.ndarray]:
        """The arrays of a ground-truth file."""
        flat = {key: np.concatenate([image[key] for image in self.images]) for key in ("boxes", "labels", "rels")}
        return {
            "id": np.array([image["id"] for image in self.images]),
            "size": np.array([image["size"] for image in self.images]),
            "box_ptr": np.cumsum([0, *(len(image["boxes"]) for image in self.images)]),
            "rel_ptr": np.cumsum([0, *(len(image["rels"]) for image in self.images)]),
            **flat,
        }

    @cached_property
    def prediction_arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a prediction file."""
        stacked = {key: np.stack([rows[key] for rows in self.detections]) for key in self.detections[0]}
        return {"image_id": self.truth["id"], **stacked}

    @cached_property
    def triplets(self) -> np.ndarray:
        """Rows (subject, relation, object) of all labelled pairs."""
        return np.concatenate(
            [
                np.stack(
                    [image["labels"][image["rels"][:, 0]], image["rels"][:, 2], image["labels"][image["rels"][:, 1]]], 1
                )
                for image in self.images
            ]
        )

    @cached_property
    def predictions(self) -> list[PairPredictions]:
        """What a model would hand to the metric."""
        return [
            PairPredictions(
                subject_boxes=torch.from_numpy(rows["boxes"][rows["sub_ids"]]),
                object_boxes=torch.from_numpy(rows["boxes"][rows["obj_ids"]]),
                subject_labels=torch.from_numpy(rows["labels"][rows["sub_ids"]]),
                object_labels=torch.from_numpy(rows["labels"][rows["obj_ids"]]),
                relation_scores=torch.from_numpy(rows["verb_scores"]),
            )
            for rows in self.detections
        ]

    @cached_property
    def annotations(self) -> list[Annotation]:
        """The labels of the same images."""
        return [
            Annotation(
                image_id=image["id"],
                file_name=f"{image['id']}.jpg",
                boxes_xyxy=torch.from_numpy(image["boxes"]),
                labels=torch.from_numpy(image["labels"]),
                relations=torch.from_numpy(image["rels"]),
            )
            for image in self.images
        ]


Pair = tuple[int, list[float], int, list[float]]
"""Subject class, subject box, object class, object box."""


def scene(pairs: list[Pair], scores: list[list[float]]) -> PairPredictions:
    """Predictions of one image, one row of relation scores per pair."""
    return PairPredictions(
        subject_boxes=torch.tensor([pair[1] for pair in pairs], dtype=torch.float32).reshape(-1, 4),
        object_boxes=torch.tensor([pair[3] for pair in pairs], dtype=torch.float32).reshape(-1, 4),
        subject_labels=torch.tensor([pair[0] for pair in pairs], dtype=torch.int64),
        object_labels=torch.tensor([pair[2] for pair in pairs], dtype=torch.int64),
        relation_scores=torch.tensor(scores, dtype=torch.float32).reshape(len(pairs), -1 if pairs else NUM_RELATIONS),
    )
