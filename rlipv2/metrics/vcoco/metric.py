"""V-COCO average precision as a `torchmetrics.Metric`."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from rlipv2.metrics.matching import FlatStateMetric
from rlipv2.metrics.vcoco.pairs import Pairs, mask_scores, validity_matrix
from rlipv2.metrics.vcoco.protocol import Matches, VCOCOProtocol, match_images
from rlipv2.metrics.vcoco.result import VCOCOResult, summarise
from rlipv2.metrics.vcoco.tables import CATEGORY_IDS, VCOCO_ACTIONS, VCOCO_VERBS, Actions, VerbTable
from rlipv2.metrics.vcoco.truth import BoxConvention, VCOCOGroundTruth
from rlipv2.structures import Annotation, PairPredictions


class VCOCORoleAP(FlatStateMetric[VCOCOResult]):
    """Role and agent average precision of V-COCO, equal to the official evaluator (datasets/vsrl_eval.py).

    Images are matched in `update`; the state holds a score and a byte of flags per pair and verb, 72 MB for
    100 pairs on each of the 4,946 test images. `compute` gives fractions between 0 and 1:

    * `role_ap_1`, `role_ap_2`: the published AP_role of scenario 1 and 2, mean over the roles without `point`;
    * `role_ap_1_with_point`, `role_ap_2_with_point`: means over all 25 roles;
    * `agent_ap`: mean over the 26 actions;
    * `in_training/map_all`, `in_training/map_thesis`: what the official code prints while it trains
      (datasets/vcoco_eval.py), other rules and not comparable with the figures above.

    Actions that nobody does in the evaluated images are left out of the means, which are NaN if none is left. Only
    images that `update` was given are evaluated.

    Args:
        ground_truth: arrays of all images, listed in `rlipv2.metrics.vcoco.arrays`; nothing but the image id
            is read of annotations.
        actions: (action, roles besides the agent), columns of the ground truth; by default the 26 of V-COCO.
        verbs: names of the score columns, `<action>_<role>` or `<action>`; by default the 29 of V-COCO.
        category_ids: COCO category of each object label; the label after the last is "missing objects".
        validity: (verbs, objects) mask that scores are multiplied with (official: corre_vcoco.npy);
            None for none.
        person: object label of persons.
        unannotated: see `VCOCOProtocol`, as all that follow.
        missing_role: the same.
        box_convention: the same.
        match_threshold: the same.
        top_k: the same.
        recall_levels: the same.
        missing_verbs: the same.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: arguments that do not fit together, or an unknown option.
    """

    STATES: ClassVar[dict[str, torch.dtype]] = {
        "images": torch.int64,
        "scores": torch.float32,
        "flags": torch.uint8,
        "top_verbs": torch.int32,  # NCCL has no 16-bit integers
        "top_scores": torch.float32,
        "top_positive": torch.uint8,
    }

    def __init__(
        self,
        *,
        ground_truth: Mapping[str, np.ndarray],
        actions: Actions = VCOCO_ACTIONS,
        verbs: Sequence[str] = VCOCO_VERBS,
        category_ids: Sequence[int] | Int[np.ndarray, " o"] = CATEGORY_IDS,
        validity: np.ndarray | None = None,
        person: int = 0,
        unannotated: Literal["skip", "skip_overlapping", "count"] = "skip",
        missing_role: Literal["nan", "box"] = "nan",
        box_convention: BoxConvention = "pixel",
        match_threshold: float = 0.5,
        top_k: int | None = 100,
        recall_levels: Literal["float", "decimal", "area"] = "float",
        missing_verbs: Literal["zero", "skip"] = "zero",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rules = VCOCOProtocol(
            unannotated=unannotated,
            missing_role=missing_role,
            box_convention=box_convention,
            match_threshold=match_threshold,
            top_k=top_k,
            recall_levels=recall_levels,
            missing_verbs=missing_verbs,
        )
        self.table = VerbTable.create(actions, verbs)
        self.truth = VCOCOGroundTruth.create(
            ground_truth, self.table, category_ids=category_ids, person=person, box_convention=box_convention
        )
        self.num_objects = len(category_ids) + 1
        self.validity = validity_matrix(validity, len(self.table.verbs), self.num_objects)
        self.add_states()

    def update(
        self,
        predictions: Sequence[PairPredictions],
        annotations: Sequence[Annotation],
        indices: Int[Tensor, " b"] | None = None,
    ) -> None:
        """Matches a batch of images.

        Args:
            predictions: one per image, on any device, boxes in pixels of the stored image, scores = relation
                score times object score.
            annotations: of the same images; tell which they are. An image that came before does not count.
            indices: not needed, as images are told apart by their id.

        Raises:
            ValueError: lists of different length, an image that is not part of the split, scores of another label
                space or not finite.
        """
        if len(predictions) != len(annotations):
            raise ValueError(
                f"{len(predictions)} predictions and {len(annotations)} annotations; expected one of each per image"
            )
        if not len(predictions):
            return
        self._result = None
        positions = self.truth.find(np.array([annotation.image_id for annotation in annotations], np.int64))
        pairs = self.pairs(predictions)
        self._append(match_images(pairs, self.truth, self.table, self.rules, positions=positions))

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """The figures over all images so far, on all processes."""
        self._result = result = summarise(Matches(**self._gathered()), self.truth, self.table, self.rules)
        values = {f"role_ap_{scenario}": result.role_ap(scenario) for scenario in result.roles}
        values |= {f"{key}_with_point": result.role_ap(int(key[-1]), with_point=True) for key in values}
        values |= {
            "agent_ap": result.agent.mean_ap(),
            "in_training/map_all": result.in_training.mean_ap(),
            "in_training/map_thesis": result.map_thesis(self.rules.missing_verbs),
        }
        return {key: torch.tensor(value, dtype=torch.float64, device=self.device) for key, value in values.items()}

    def per_class(self) -> dict[str, Shaped[np.ndarray, " c"]]:
        """Arrays `<family>/<figure>`, figures `ap`, `max_recall`, `num_detections`, `num_true_positives`.

        Families: `role_1` and `role_2` over `self.table.slots`, `agent` over `self.table.actions`, `in_training`
        over `self.table.verbs`; besides `num_positives` (persons per action) and `num_labelled` (pairs per verb).
        Runs `compute` first and therefore on all processes together.
        """
        result = self.result()
        families = {f"role_{scenario}": figures for scenario, figures in result.roles.items()}
        families |= {"agent": result.agent, "in_training": result.in_training}
        arrays = {"num_positives": result.num_positives, "num_labelled": result.num_labelled}
        for name, figures in families.items():
            arrays |= {f"{name}/{key}": values for key, values in vars(figures).items()}
        return arrays

    def counts(self) -> dict[str, int]:
        """Totals: images, labelled actions, pairs counted and pairs skipped for persons without annotation.

        Runs `compute` first and therefore on all processes together.
        """
        result = self.result()
        return {
            "images": result.num_images,
            "positives": int(result.num_positives.sum()),
            "pairs_counted": int(result.agent.num_detections[0]),
            "pairs_skipped": result.num_skipped,
        }

    def _append_nothing(self) -> None:
        nothing, rows = np.zeros(0, np.int64), np.zeros((0, len(self.table.verbs)), np.float32)
        self._append(
            Matches(
                images=nothing.reshape(0, 4),
                scores=rows,
                flags=rows.astype(np.uint8),
                top_verbs=nothing,
                top_scores=nothing.astype(np.float32),
                top_positive=nothing.astype(np.uint8),
            )
        )

    def pairs(self, predictions: Sequence[PairPredictions]) -> Pairs:
        """All predicted pairs in flat arrays, scores masked by `validity`.

        Raises:
            ValueError: scores of another label space or not finite, labels out of range.
        """
        for prediction in predictions:
            if prediction.relation_scores.shape[1] != len(self.table.verbs):
                raise ValueError(
                    f"predictions score {prediction.relation_scores.shape[1]} relations, the metric has "
                    f"{len(self.table.verbs)}; evaluate with the label space of the dataset"
                )
        scores = torch.cat([prediction.relation_scores.detach().float() for prediction in predictions]).cpu().numpy()
        labels = torch.cat([prediction.object_labels for prediction in predictions]).cpu().numpy()
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.num_objects:
            raise ValueError(
                f"object labels from {labels.min()} to {labels.max()}, the metric has {self.num_objects} objects; "
                "evaluate with the label space of the dataset"
            )
        if not np.isfinite(scores).all():
            raise ValueError("relation scores are not finite (inf or NaN); the model has probably diverged")
        return Pairs(
            images=np.repeat(np.arange(len(predictions)), [len(prediction) for prediction in predictions]),
            subject_boxes=torch.cat([pair.subject_boxes.detach().float() for pair in predictions]).cpu().numpy(),
            object_boxes=torch.cat([pair.object_boxes.detach().float() for pair in predictions]).cpu().numpy(),
            object_labels=labels,
            missing=labels == self.num_objects - 1,
            scores=mask_scores(scores, labels, self.validity),
        )
