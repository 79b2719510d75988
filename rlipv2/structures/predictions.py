"""Scored predictions of one image, before they are ranked."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from rlipv2.structures.label_space import LabelSpace
from rlipv2.structures.mapping import map_tensors
from rlipv2.structures.triplets import Triplets


@dataclass(frozen=True)
class PairPredictions:
    """Predictions of one image for all pairs, boxes x1 y1 x2 y2 in original pixels (not clipped).

    `relation_scores` are final scores of (pair, relation), already multiplied with the object score
    (and, for scene graphs, the subject score).
    """

    subject_boxes: Float[Tensor, "q 4"]
    object_boxes: Float[Tensor, "q 4"]
    subject_labels: Int[Tensor, " q"]
    object_labels: Int[Tensor, " q"]
    relation_scores: Float[Tensor, "q r"]

    def __len__(self) -> int:
        return len(self.object_labels)

    def to(self, *args: Any, **kwargs: Any) -> "PairPredictions":
        """A copy on another device."""
        return map_tensors(self, lambda _, tensor: tensor.to(*args, **kwargs))

    def top(self, k: int, label_space: LabelSpace, valid: Num[Tensor, "r o"] | None = None) -> "Triplets":
        """The k best triplets by score, ties in order of (pair, relation).

        `valid[relation, object]` masks the scores (0 removes a combination from the ranking's top).
        """
        scores = self.relation_scores
        if valid is not None:
            scores = scores * valid.to(scores).T[self.object_labels]
        order = torch.argsort(scores.flatten(), descending=True, stable=True)[:k]
        pairs, relations = order // max(scores.shape[1], 1), order % max(scores.shape[1], 1)
        return Triplets(
            subject_boxes=self.subject_boxes[pairs],
            object_boxes=self.object_boxes[pairs],
            subject_labels=self.subject_labels[pairs],
            object_labels=self.object_labels[pairs],
            relation_labels=relations,
            scores=scores.flatten()[order],
            label_space=label_space,
        )


@dataclass(frozen=True)
class BoxPredictions:
    """Detected objects of one image, best first, boxes x1 y1 x2 y2 in original pixels (not clipped).

    `labels` are rows of the label space the model was asked for.
    """

    boxes_xyxy: Float[Tensor, "q 4"]
    labels: Int[Tensor, " q"]
    scores: Float[Tensor, " q"]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, *args: Any, **kwargs: Any) -> "BoxPredictions":
        """A copy on another device."""
        return map_tensors(self, lambda _, tensor: tensor.to(*args, **kwargs))
