"""The recorded HICO-DET case `hico_synth` (generated labels and detections, results of the official evaluator)."""

import importlib.util
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

import rlipv2.vocabularies
from rlipv2.structures import Annotation, PairPredictions

FIXTURES = Path(__file__).parents[1] / "fixtures" / "eval"
VOCABULARY = Path(rlipv2.vocabularies.__file__).parent / "hico_det.json"


def load_generator() -> ModuleType:
    """The seeded generator of labels and detections, kept as recorded."""
    spec = importlib.util.spec_from_file_location("make_detections", FIXTURES / "make_detections.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class SynthCase:
    """120 images and what the official evaluator makes of them."""

    truth: dict[str, np.ndarray]
    detections: list[dict[str, np.ndarray]]
    expected: dict[str, Any]
    expected_arrays: dict[str, np.ndarray]

    @classmethod
    def generate(cls) -> "SynthCase":
        generator = load_generator()
        expected = json.loads((FIXTURES / "hico_synth.json").read_text())
        inputs = expected["input"]
        truth = generator.hico_ground_truth(inputs["gt_seed"], inputs["images"], json.loads(VOCABULARY.read_text()))
        detections = [
            generator.hico_detections(truth, image, inputs["seed"], inputs["noise"])
            for image in range(inputs["images"])
        ]
        assert f"{generator.checksum([truth]):08x}" == inputs["gt_crc32"]
        assert f"{generator.checksum(detections):08x}" == inputs["detections_crc32"]
        with np.load(FIXTURES / "hico_synth_ap.npz") as arrays:
            return cls(truth, detections, expected, dict(arrays))

    @cached_property
    def prediction_arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a prediction file."""
        stacked = {key: np.stack([rows[key] for rows in self.detections]) for key in self.detections[0]}
        return {"image_id": self.truth["file_id"].astype(np.int64), **stacked}

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
        boxes, relations = self.truth["box_ptr"], self.truth["hoi_ptr"]
        return [
            Annotation(
                image_id=int(self.truth["file_id"][image]),
                file_name=f"{image}.jpg",
                boxes_xyxy=torch.from_numpy(self.truth["boxes"][boxes[image] : boxes[image + 1]].astype(np.float32)),
                labels=torch.from_numpy(self.truth["box_labels"][boxes[image] : boxes[image + 1]].astype(np.int64)),
                relations=torch.from_numpy(
                    self.truth["hois"][relations[image] : relations[image + 1]].astype(np.int64)
                ),
            )
            for image in range(len(self.detections))
        ]


# A vocabulary small enough to work out by hand: persons (0), bicycles (1), cups (2); ride, hold, look.
SMALL_HOIS = np.array([[0, 1], [1, 1], [1, 2], [2, 0]])
SMALL_RARE = np.array([False, True, False, False])


def pair_predictions(pairs: list[tuple[list[float], list[float], int]], scores: list[list[float]]) -> PairPredictions:
    """Predictions of one image: (subject box, object box, object class) and one row of 3 scores each."""
    return PairPredictions(
        subject_boxes=torch.tensor([subject for subject, _, _ in pairs], dtype=torch.float32).reshape(-1, 4),
        object_boxes=torch.tensor([target for _, target, _ in pairs], dtype=torch.float32).reshape(-1, 4),
        subject_labels=torch.zeros(len(pairs), dtype=torch.int64),
        object_labels=torch.tensor([label for _, _, label in pairs], dtype=torch.int64),
        relation_scores=torch.tensor(scores, dtype=torch.float32).reshape(-1, 3),
    )


def annotation(
    image_id: int, boxes: list[tuple[int, list[float]]], relations: list[tuple[int, int, int]]
) -> Annotation:
    """Labels of one image: (class, box) each, then (subject, object, relation)."""
    return Annotation(
        image_id=image_id,
        file_name=f"{image_id}.jpg",
        boxes_xyxy=torch.tensor([box for _, box in boxes], dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([label for label, _ in boxes], dtype=torch.int64),
        relations=torch.tensor(relations, dtype=torch.int64).reshape(-1, 3),
    )
