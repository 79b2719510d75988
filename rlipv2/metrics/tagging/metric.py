"""`TaggingAccuracy` as a `torchmetrics.Metric`."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from rlipv2.metrics.tagging.protocol import TaggingResult, evaluate
from rlipv2.structures import PairPredictions, RelationTarget


class TaggingAccuracy(Metric):
    """How well the relations of given pairs are named; related and unrelated pairs, with labels.

    `compute` gives, as fractions: `tagging_accuracy` with its levels `tagging_accuracy_chance` and
    `tagging_accuracy_majority`, `tagging_map` with `tagging_map_chance`, `tagging_auc`, and the numbers of pairs
    `tagging_related_pairs` and `tagging_unrelated_pairs`; see `TaggingResult`. The state holds all scores: 4 bytes per
    pair and relation.

    Args:
        num_relations: relations that count, the first columns of scores and labels. Further columns hold names that
            only some batches have; a pair with such relations alone counts neither as related nor as unrelated.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: no relation.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    _STATES: ClassVar[dict[str, torch.dtype]] = {
        "scores": torch.float32,
        "labels": torch.uint8,
        "places": torch.int64,  # (image, pair)
    }

    def __init__(self, *, num_relations: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_relations < 1:
            raise ValueError(f"num_relations={num_relations}: expected at least 1")
        self.num_relations = num_relations
        for name in self._STATES:
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self._append_nothing()

    def update(
        self,
        predictions: Sequence[PairPredictions],
        targets: Sequence[RelationTarget],
        indices: Int[Tensor, " b"],
    ) -> None:
        """Takes a batch of images.

        Args:
            predictions: one per image, row k for the pair of row k of its target; scores are probabilities.
            targets: the given pairs with their relations.
            indices: position of each image in the dataset; an image whose index came before does not count.

        Raises:
            ValueError: lists or rows that do not fit each other, or scores that are not finite.
        """
        if not len(predictions) == len(targets) == len(indices):
            raise ValueError(
                f"{len(predictions)} predictions, {len(targets)} targets and {len(indices)} indices; expected one of "
                "each per image"
            )
        for prediction, target, index in zip(predictions, targets, indices.tolist(), strict=True):
            scores, labels = prediction.relation_scores.detach().float(), target.relations > 0
            if scores.shape != labels.shape or scores.shape[1] < self.num_relations:
                raise ValueError(
                    f"image {index}: scores {tuple(scores.shape)}, labels {tuple(labels.shape)}; expected a row for "
                    f"each given pair and at least the {self.num_relations} relations of the metric"
                )
            if not torch.isfinite(scores).all():
                raise ValueError(f"image {index}: relation scores are not finite; the model has probably diverged")
            counted = labels[:, : self.num_relations]
            rows = (counted.any(1) | ~labels.any(1)).nonzero()[:, 0]
            places = torch.stack([torch.full_like(rows, index), rows], dim=1)
            self._append(scores[rows, : self.num_relations], counted[rows], places)

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """The figures over all images so far, on all processes."""
        result = self.result()
        values = {
            "accuracy": result.accuracy,
            "accuracy_chance": result.accuracy_chance,
            "accuracy_majority": result.accuracy_majority,
            "map": result.map,
            "map_chance": result.map_chance,
            "auc": result.auc,
            "related_pairs": result.num_related,
            "unrelated_pairs": result.num_unrelated,
        }
        return {
            f"tagging_{name}": torch.tensor(float(value), dtype=torch.float64, device=self.device)
            for name, value in values.items()
        }

    def result(self) -> TaggingResult:
        """All figures, the average precision of every relation too, of the pairs of this process."""
        scores, labels, places = (dim_zero_cat(getattr(self, name)).cpu().numpy() for name in self._STATES)
        _, first = np.unique(places, axis=0, return_index=True)  # samplers repeat images to fill the last batches
        return evaluate(scores[first], labels[first].astype(bool))

    def reset(self) -> None:
        """Forgets all images."""
        super().reset()
        self._append_nothing()

    def _append_nothing(self) -> None:
        # rows of the right width: a process without data would otherwise break the gathering of states
        nothing = torch.zeros(0, self.num_relations)
        self._append(nothing, nothing, torch.zeros(0, 2))

    def _append(self, *values: Tensor) -> None:
        for (name, dtype), rows in zip(self._STATES.items(), values, strict=True):
            getattr(self, name).append(rows.to(self.device, dtype))
