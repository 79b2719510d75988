"""Model output -> scored pairs in pixels of the original images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rlipv2.ops.boxes import cxcywh_to_xyxy
from rlipv2.structures import PairPredictions, RelationOutput, RelationTarget


def postprocess(
    output: RelationOutput,
    original_sizes: Int[Tensor, "b 2"],
    *,
    mode: Literal["hoi", "scene_graph"] = "hoi",
    subject_label: int = 0,
    subject_filter: bool = False,
) -> list[PairPredictions]:
    """The last layer's pairs of every image, boxes x1 y1 x2 y2 in original pixels, neither clipped nor rounded.

    Official: models/hoi.py, PostProcessHOI and PostProcessSGG.

    Args:
        output: predictions of a batch.
        original_sizes: (height, width) of the stored images in pixels.
        mode: `hoi` scores a relation by sigmoid(relation) times the object's probability and calls
            every subject `subject_label`, whatever the subject head says; `scene_graph` takes class and
            probability of the subject from its head and multiplies that too.
        subject_label: object index that every subject of `hoi` mode gets (person).
        subject_filter: keep only pairs whose most probable subject is `subject_label` (zero-shot without
            fine-tuning); an image may keep none.

    Raises:
        ValueError: `scene_graph` or `subject_filter` with a model that predicts no subject class.
    """
    found = score_pairs(output, mode=mode, subject_label=subject_label, subject_filter=subject_filter)
    height, width = original_sizes.to(found.relation_scores).unbind(-1)
    scale = torch.stack([width, height, width, height], dim=-1)[:, None]
    subject_boxes, object_boxes = found.subject_boxes * scale, found.object_boxes * scale
    return [
        PairPredictions(
            subject_boxes=subject_boxes[image, rows],
            object_boxes=object_boxes[image, rows],
            subject_labels=found.subject_labels[image, rows],
            object_labels=found.object_labels[image, rows],
            relation_scores=found.relation_scores[image, rows],
        )
        for image, rows in enumerate(found.keep)
    ]


@dataclass(frozen=True)
class ScoredPairs:
    """The pairs of a batch with their scores, boxes x1 y1 x2 y2, 0-1 of the image without padding.

    Attributes:
        subject_boxes: not clipped.
        object_boxes: the same.
        subject_labels: rows of the objects of the label space.
        object_labels: the same.
        subject_scores: probability of the subject's class; 1 where the mode does not look at it.
        object_scores: probability of the object's class.
        relation_scores: final scores, multiplied with those of object and subject.
        keep: False on pairs that the subject filter removes.
    """

    subject_boxes: Float[Tensor, "b q 4"]
    object_boxes: Float[Tensor, "b q 4"]
    subject_labels: Int[Tensor, "b q"]
    object_labels: Int[Tensor, "b q"]
    subject_scores: Float[Tensor, "b q"]
    object_scores: Float[Tensor, "b q"]
    relation_scores: Float[Tensor, "b q r"]
    keep: Bool[Tensor, "b q"]


def score_pairs(
    output: RelationOutput,
    *,
    mode: Literal["hoi", "scene_graph"] = "hoi",
    subject_label: int = 0,
    subject_filter: bool = False,
) -> ScoredPairs:
    """The last layer's pairs with classes and scores; the arguments are those of `postprocess`.

    Raises:
        ValueError: as `postprocess`.
    """
    last = output.layer(-1)
    if last.subject_logits is None and (mode == "scene_graph" or subject_filter):
        raise ValueError(f"mode={mode!r}, subject_filter={subject_filter}: needs a model with subject_class=true")
    object_scores, object_labels = _best_class(last.object_logits[0])
    scores = last.relation_logits[0].sigmoid() * object_scores[..., None]
    subject_labels = torch.full_like(object_labels, subject_label)
    subject_scores = torch.ones_like(object_scores)
    keep = torch.ones_like(object_labels, dtype=torch.bool)
    if last.subject_logits is not None and (mode == "scene_graph" or subject_filter):
        best_scores, best = _best_class(last.subject_logits[0])
        if mode == "scene_graph":
            subject_labels, subject_scores = best, best_scores
            scores = scores * subject_scores[..., None]
        if subject_filter:
            keep = best == subject_label
    return ScoredPairs(
        subject_boxes=cxcywh_to_xyxy(last.subject_boxes[0]),
        object_boxes=cxcywh_to_xyxy(last.object_boxes[0]),
        subject_labels=subject_labels,
        object_labels=object_labels,
        subject_scores=subject_scores,
        object_scores=object_scores,
        relation_scores=scores,
        keep=keep,
    )


def tagged_pairs(
    output: RelationOutput, targets: Sequence[RelationTarget], original_sizes: Int[Tensor, "b 2"]
) -> list[PairPredictions]:
    """The given pairs of each image with the probability of every relation, from the last layer.

    Boxes and labels are those given, boxes x1 y1 x2 y2 in original pixels; what the network says about them is not
    used, as in the official tagging.
    """
    scores = output.relation_logits[-1].sigmoid()
    height, width = original_sizes.to(scores).unbind(-1)
    scale = torch.stack([width, height, width, height], dim=-1)
    return [
        PairPredictions(
            subject_boxes=cxcywh_to_xyxy(target.subject_boxes) * scale[image],
            object_boxes=cxcywh_to_xyxy(target.object_boxes) * scale[image],
            subject_labels=target.subject_labels,
            object_labels=target.object_labels,
            relation_scores=scores[image, : len(target)],
        )
        for image, target in enumerate(targets)
    ]


def _best_class(logits: Float[Tensor, "b q o"]) -> tuple[Float[Tensor, "b q"], Int[Tensor, "b q"]]:
    """Probability and index of the best class, the background (last column) left out after the softmax."""
    best = logits.softmax(-1)[..., :-1].max(-1)
    return best.values, best.indices
