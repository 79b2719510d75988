"""What a figure on the micro-world has to be compared with: two simple baselines and the upper bound.

All of them use the labelled boxes and classes, so they are generous: a detector has to find these first. Feed the
result to `rlipv2.metrics.HICODetMAP`, which gives exactly 1.0 for `ground_truth`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rlipv2.microworld.hico import ANNOTATION_FILES
from rlipv2.microworld.relations import NO_INTERACTION
from rlipv2.microworld.splits import RARE_BELOW
from rlipv2.structures import Annotation, PairPredictions
from rlipv2.vocabularies import HICOVocabulary, load

RANKING = 100  # triplets of an image that the HICO-DET metric of RLIPv2 reads


def read_annotations(root: str | Path, split: Literal["train", "test"]) -> list[Annotation]:
    """The labels of one split of a folder of `write_hico`, in the label space of `load("hico")`.

    Image ids are the numbers in the file names.
    """
    vocabulary = load("hico")
    text = (Path(root) / "annotations" / ANNOTATION_FILES[split]).read_text(encoding="utf-8")
    return [_annotation(record, vocabulary) for record in json.loads(text)]


def _annotation(record: dict[str, Any], vocabulary: HICOVocabulary) -> Annotation:
    categories = np.array([box["category_id"] for box in record["annotations"]], np.int64)
    relations = [(hoi["subject_id"], hoi["object_id"], hoi["category_id"] - 1) for hoi in record["hoi_annotation"]]
    return Annotation(
        image_id=int(Path(record["file_name"]).stem.split("_")[-1]),
        file_name=record["file_name"],
        boxes_xyxy=torch.tensor([box["bbox"] for box in record["annotations"]], dtype=torch.float32).reshape(-1, 4),
        labels=torch.from_numpy(vocabulary.coco_rows[categories]),
        relations=torch.tensor(relations, dtype=torch.int64).reshape(-1, 3),
    )


def relation_counts(annotations: Sequence[Annotation], vocabulary: HICOVocabulary) -> Int[np.ndarray, "r o"]:
    """How often each relation is labelled with each object category."""
    counts = np.zeros(vocabulary.hoi_ids.shape, np.int64)
    for annotation in annotations:
        relations = annotation.relations
        np.add.at(counts, (relations[:, 2].numpy(), annotation.labels[relations[:, 1]].numpy()), 1)
    return counts


def ground_truth(annotations: Sequence[Annotation], num_relations: int = 117) -> list[PairPredictions]:
    """The labels themselves as predictions with score 1: the upper bound, mAP 1.0."""
    predictions = []
    for annotation in annotations:
        pairs, rows = torch.unique(annotation.relations[:, :2], dim=0, return_inverse=True)
        scores = torch.zeros(len(pairs), num_relations)
        scores[rows, annotation.relations[:, 2]] = 1.0
        predictions.append(_pairs(annotation, pairs, scores))
    return predictions


def nearest_pair(
    annotations: Sequence[Annotation], counts: Int[np.ndarray, "r o"], *, with_no_interaction: bool = True
) -> list[PairPredictions]:
    """Each person with its nearest object, and the most frequent training relation of that object's category.

    Nearest by the distance of the box centres, which is also the score: the nearer, the surer. This is the baseline
    to report; without `no_interaction` it is a second, stronger one.

    This baseline says one relation per person and nothing else. All other scores are therefore -1, and each image
    gets `RANKING` pairs of a person with itself, score 0: they are no interaction of HICO-DET, and they keep the
    other scores out of the top 100 that the metric reads, where they would count as predictions.

    Args:
        annotations: labels of the evaluated split; only boxes and classes are used.
        counts: of the training split, from `relation_counts`.
        with_no_interaction: whether `no_interaction` may be the most frequent relation.
    """
    vocabulary = load("hico")
    counts = counts.copy()
    if not with_no_interaction:
        counts[vocabulary.verbs.index(NO_INTERACTION)] = 0
    favourite = torch.from_numpy(counts.argmax(axis=0))
    predictions = []
    for annotation in annotations:
        is_person = annotation.labels == vocabulary.PERSON
        persons, objects = is_person.nonzero().flatten(), (~is_person).nonzero().flatten()
        if not len(persons) or not len(objects):
            predictions.append(_pairs(annotation, torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, len(counts))))
            continue
        centers = (annotation.boxes_xyxy[:, :2] + annotation.boxes_xyxy[:, 2:]) / 2
        distance, nearest = torch.cdist(centers[persons], centers[objects]).min(dim=1)
        pairs = torch.stack([persons, objects[nearest]], dim=1)
        scores = torch.full((len(pairs), len(counts)), -1.0)
        relation = favourite[annotation.labels[pairs[:, 1]]]
        scores[torch.arange(len(pairs)), relation] = 1 / (1 + distance / 100)
        fillers, filler_scores = persons[:1].repeat(RANKING, 2), torch.zeros(RANKING, len(counts))
        predictions.append(_pairs(annotation, torch.cat([pairs, fillers]), torch.cat([scores, filler_scores])))
    return predictions


def nearest_pair_case(root: str | Path) -> tuple[list[PairPredictions], list[Annotation], dict[str, np.ndarray]]:
    """`nearest_pair` on the test split of a folder, its labels, and the `hois` and `rare` of the metric for it."""
    vocabulary = load("hico")
    counts = relation_counts(read_annotations(root, "train"), vocabulary)
    annotations = read_annotations(root, "test")
    arguments = {"hois": vocabulary.hois, "rare": counts[tuple(vocabulary.hois.T)] < RARE_BELOW}
    return nearest_pair(annotations, counts), annotations, arguments


def _pairs(annotation: Annotation, pairs: Int[Tensor, "q 2"], scores: Float[Tensor, "q r"]) -> PairPredictions:
    return PairPredictions(
        subject_boxes=annotation.boxes_xyxy[pairs[:, 0]],
        object_boxes=annotation.boxes_xyxy[pairs[:, 1]],
        subject_labels=annotation.labels[pairs[:, 0]],
        object_labels=annotation.labels[pairs[:, 1]],
        relation_scores=scores,
    )
