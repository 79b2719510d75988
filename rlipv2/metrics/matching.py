"""What our metrics share as `torchmetrics.Metric`: flat states, one gathering, checked updates."""

import dataclasses
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from rlipv2.metrics.figures import FlatMatches
from rlipv2.metrics.functional import Detections, GroundTruth
from rlipv2.metrics.pairs import PairArrays, best_of_array, merge_detections
from rlipv2.structures import Annotation, PairPredictions, RelationRecords

Matches = TypeVar("Matches", bound=FlatMatches)
Result = TypeVar("Result")


class FlatStateMetric(Metric, ABC, Generic[Result]):
    """A metric whose state is flat rows, appended by `update` and gathered once, in `compute`.

    A subclass names its states in `STATES`, calls `add_states` at the end of its constructor, appends objects with
    these fields, and leaves the figures of `compute` in `_result`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    STATES: ClassVar[dict[str, torch.dtype]]  # NCCL has no 16-bit integers

    def add_states(self) -> None:
        """Makes the states, which `_append_nothing` fills with rows of the right shape."""
        self._result: Result | None = None
        for name in self.STATES:
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self._append_nothing()

    @abstractmethod
    def _append_nothing(self) -> None:
        """Appends no rows: a process without data would otherwise break the gathering of states."""

    def result(self) -> Result:
        """All figures, not only the means; runs `compute` first and therefore on all processes together."""
        if self._result is None:
            self.compute()
        assert self._result is not None
        return self._result

    def reset(self) -> None:
        """Forgets all images."""
        super().reset()
        self._result = None
        self._append_nothing()

    def _append(self, rows: object) -> None:
        for name, dtype in self.STATES.items():
            getattr(self, name).append(torch.from_numpy(getattr(rows, name)).to(self.device, dtype))

    def _gathered(self) -> dict[str, np.ndarray]:
        """The states as arrays, numbers of 32 bits as 64."""
        arrays = {name: dim_zero_cat(getattr(self, name)).cpu().numpy() for name in self.STATES}
        return arrays | {name: values.astype(np.int64) for name, values in arrays.items() if values.dtype == np.int32}


class MatchingMetric(FlatStateMetric[Result], Generic[Matches, Result]):
    """A metric of scene graphs, which matches images in `update` and keeps rows of them as its state.

    A subclass names the states in `STATES`, one per field of `MATCHES`, and implements `match_batch`,
    `summarise` and `values`. Images that come again do not count.

    Args:
        num_objects: object classes of the label space.
        num_relations: relations of the label space.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: a number below 1.
    """

    MATCHES: ClassVar[type[FlatMatches]]

    def __init__(self, num_objects: int, num_relations: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, number in (("num_objects", num_objects), ("num_relations", num_relations)):
            if number < 1:
                raise ValueError(f"{name}={number}: expected at least 1")
        self.num_objects, self.num_relations = num_objects, num_relations
        self.add_states()

    @abstractmethod
    def match_batch(
        self, predictions: Sequence[PairPredictions], truth: GroundTruth, indices: Int[np.ndarray, " b"]
    ) -> Matches:
        """Matches a batch of at least one image."""

    @abstractmethod
    def summarise(self, matches: Matches) -> Result:
        """The figures of all images, each of them once, in order of indices."""

    @abstractmethod
    def values(self, result: Result) -> dict[str, float]:
        """What `compute` returns, by name."""

    def update(
        self,
        predictions: Sequence[PairPredictions],
        annotations: Sequence[Annotation],
        indices: Int[Tensor, " b"] | None = None,
    ) -> None:
        """Matches a batch of images.

        Args:
            predictions: one per image, on any device, boxes in pixels of the stored image.
            annotations: labels of the same images, in pixels as stored in the annotation file.
            indices: position of each image in the dataset; an image whose index came before does not
                count. By default the image ids.

        Raises:
            ValueError: lists of different length, scores of another label space or not finite, labels
                out of range.
        """
        if indices is None:
            indices = torch.tensor([annotation.image_id for annotation in annotations], dtype=torch.int64)
        if not len(predictions) == len(annotations) == len(indices):
            raise ValueError(
                f"{len(predictions)} predictions, {len(annotations)} annotations and {len(indices)} indices; "
                "expected one of each per image"
            )
        if not len(predictions):
            return
        self._result = None
        records = RelationRecords.from_annotations(annotations)
        self._check_labels(records)
        truth = GroundTruth(records.boxes, records.labels, records.box_ptr, records.relations, records.relation_ptr)
        self._append(self.match_batch(predictions, truth, indices.cpu().numpy().astype(np.int64)))

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """The figures over all images so far, on all processes."""
        matches = self.MATCHES(**self._gathered()).unique()
        self._result = self.summarise(matches)  # type: ignore[arg-type] # MATCHES is what a subclass is made for
        values = self.values(self._result)
        return {key: torch.tensor(value, dtype=torch.float64, device=self.device) for key, value in values.items()}

    def ranked(
        self,
        predictions: Sequence[PairPredictions],
        rank: Callable[[PairArrays, Float[Tensor, "b q r"]], tuple[Detections, ...]],
    ) -> tuple[Detections, ...]:
        """The lists that `rank` makes of all images; images with equally many pairs are ranked together."""
        by_count: dict[int, list[int]] = defaultdict(list)
        for image, prediction in enumerate(predictions):
            by_count[len(prediction)].append(image)
        parts = []
        for images in by_count.values():
            lists = rank(*self._stacked([predictions[image] for image in images]))
            parts.append([dataclasses.replace(rows, images=np.asarray(images)[rows.images]) for rows in lists])
        return tuple(merge_detections(list(part)) for part in zip(*parts, strict=True))

    def _stacked(self, predictions: Sequence[PairPredictions]) -> tuple[PairArrays, Float[Tensor, "b q r"]]:
        """Boxes and labels of images with equally many pairs as arrays; scores stay where they are."""
        stack = {
            field.name: torch.stack([getattr(prediction, field.name).detach() for prediction in predictions])
            for field in dataclasses.fields(PairPredictions)
        }
        scores = stack.pop("relation_scores").float()
        if scores.shape[2] != self.num_relations:
            raise ValueError(
                f"predictions score {scores.shape[2]} relations, the metric has {self.num_relations}; "
                "evaluate with the label space of the dataset"
            )
        if not torch.isfinite(scores).all():
            raise ValueError("relation scores are not finite (inf or NaN); the model has probably diverged")
        stack |= {name: boxes.float() for name, boxes in stack.items() if name.endswith("boxes")}
        arrays = {name: values.cpu().numpy() for name, values in stack.items()}
        for name in ("subject_labels", "object_labels"):
            self._check_range(name.replace("_", " "), arrays[name], self.num_objects)
        return PairArrays(**arrays), scores

    def _check_labels(self, records: RelationRecords) -> None:
        self._check_range("labels of annotations", records.labels, self.num_objects)
        self._check_range("relations of annotations", records.relations[:, 2], self.num_relations)
        owners = np.repeat(np.diff(records.box_ptr), np.diff(records.relation_ptr))
        boxes = records.relations[:, :2]
        if ((boxes < 0) | (boxes >= owners[:, None])).any():
            raise ValueError("relations of annotations point at boxes their image does not have")

    @staticmethod
    def _check_range(what: str, labels: np.ndarray, limit: int) -> None:
        if labels.size and not 0 <= labels.min() <= labels.max() < limit:
            raise ValueError(
                f"{what} from {labels.min()} to {labels.max()}, the metric expects 0 to {limit - 1}; "
                "evaluate with the label space of the dataset"
            )

    def _append_nothing(self) -> None:
        columns = 1 + max(self.MATCHES.OWNERS.values())
        for name, dtype in self.STATES.items():
            shape = (0, columns) if name == "images" else (0,)
            getattr(self, name).append(torch.zeros(shape, dtype=dtype, device=self.device))


def best_of_tensor(values: Float[Tensor, "n m"], k: int) -> tuple[Int[np.ndarray, "n j"], Float[np.ndarray, "n j"]]:
    """The same as `best_of_array`; on a GPU ranked there, so that only k columns of each row move."""
    return _best_by_sorting(values, k) if values.is_cuda else best_of_array(values.numpy(), k)


def _best_by_sorting(values: Float[Tensor, "n m"], k: int) -> tuple[Int[np.ndarray, "n j"], Float[np.ndarray, "n j"]]:
    ranked, columns = values.sort(dim=1, descending=True, stable=True)
    return columns[:, :k].cpu().numpy(), ranked[:, :k].cpu().numpy()
