"""COCO average precision as a `torchmetrics.Metric`."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from rlipv2.metrics.coco.protocol import BACKENDS, Backend, BoxDetections, BoxTruth, evaluate
from rlipv2.structures import Annotation, BoxPredictions


class COCODetectionAP(Metric):
    """The 12 figures of COCO's own evaluation under their names: `AP`, `AP50`, `AP75`, `APs`, ..., `ARl`.

    The state holds predictions only, as flat tensors that are gathered once: `MeanAveragePrecision` of
    torchmetrics keeps one tensor per image and gathers objects. All labels, with their crowd regions and areas,
    are given to the constructor; images are found among them by the `image_id` of their annotation, and images
    that a distributed sampler repeats count once. Only images that were updated are evaluated.

    Args:
        ground_truth: arrays of the split: `id (i,)`, `box_ptr (i+1,)`, `bbox (n, 4)` x y w h in pixels,
            `category_id (n,)`, `area (n,)`, `iscrowd (n,)`, as in the annotation file.
        category_ids: id of each row of the label space.
        backend: "faster_coco_eval", or "pycocotools" for the reference.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: an unknown backend, or arrays that do not fit together.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    _STATES: ClassVar[dict[str, torch.dtype]] = {
        "images": torch.int64,  # rows (position among the labelled images, number of detections)
        "boxes": torch.float32,
        "labels": torch.int32,  # NCCL has no 16-bit integers
        "scores": torch.float32,
    }

    def __init__(
        self,
        *,
        ground_truth: Mapping[str, np.ndarray],
        category_ids: Sequence[int] | np.ndarray,
        backend: Backend = "faster_coco_eval",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if backend not in BACKENDS:
            raise ValueError(f"backend={backend!r}: expected one of {BACKENDS}")
        self.backend: Backend = backend
        self.category_ids = np.asarray(category_ids, np.int64)
        self.truth = _truth(ground_truth)
        self._rows = {int(number): row for row, number in enumerate(self.truth.image_ids)}
        for name in self._STATES:
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self._append_nothing()

    def update(
        self,
        predictions: Sequence[BoxPredictions],
        annotations: Sequence[Annotation],
        indices: Int[Tensor, " b"] | None = None,
    ) -> None:
        """Keeps the predictions of a batch.

        Args:
            predictions: one per image, on any device, boxes in pixels of the stored image.
            annotations: only their `image_id` is read.
            indices: not needed; repeated images are found by `image_id`.

        Raises:
            ValueError: lists of different length, an image that is not labelled, scores or boxes that are not
                finite, or labels of another label space.
        """
        if len(predictions) != len(annotations):
            raise ValueError(f"{len(predictions)} predictions for {len(annotations)} images")
        for prediction, annotation in zip(predictions, annotations, strict=True):
            row = self._rows.get(annotation.image_id)
            if row is None:
                raise ValueError(
                    f"image {annotation.image_id} ({annotation.file_name}) is not among the {len(self.truth)} labelled "
                    "images; evaluate the split that the metric was made for"
                )
            self._check(prediction, annotation)
            self._append(
                images=torch.tensor([[row, len(prediction)]]),
                boxes=prediction.boxes_xyxy.detach(),
                labels=prediction.labels,
                scores=prediction.scores.detach(),
            )

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """The figures over all images so far, on all processes; NaN where nothing of that size is labelled."""
        values = evaluate(*self._gathered(), backend=self.backend).values
        return {name: torch.tensor(value, dtype=torch.float64, device=self.device) for name, value in values.items()}

    def per_class(self) -> dict[int, float]:
        """AP of each category id with labels or detections on the images so far of this process, NaN without labels."""
        return evaluate(*self._gathered(), backend=self.backend, per_class=True).class_ap

    def reset(self) -> None:
        """Forgets all predictions."""
        super().reset()
        self._append_nothing()

    def _check(self, prediction: BoxPredictions, annotation: Annotation) -> None:
        labels = prediction.labels
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.category_ids):
            raise ValueError(
                f"image {annotation.image_id}: labels from {int(labels.min())} to {int(labels.max())}, the metric has "
                f"{len(self.category_ids)} classes; evaluate with the label space of the dataset"
            )
        if not (torch.isfinite(prediction.scores).all() and torch.isfinite(prediction.boxes_xyxy).all()):
            raise ValueError(
                f"image {annotation.image_id}: scores or boxes are not finite (inf or NaN); the model has probably "
                "diverged"
            )

    def _append_nothing(self) -> None:
        # Rows of the right shape: a process without data would otherwise break the gathering of states.
        none = torch.zeros(0)
        self._append(images=none.reshape(0, 2), boxes=none.reshape(0, 4), labels=none, scores=none)

    def _append(self, **rows: Tensor) -> None:
        for name, dtype in self._STATES.items():
            getattr(self, name).append(rows[name].to(self.device, dtype))

    def _gathered(self) -> tuple[BoxTruth, BoxDetections]:
        """The labels of the images seen, and the detections on them, each image once."""
        state = {name: dim_zero_cat(getattr(self, name)).cpu().numpy() for name in self._STATES}
        rows, counts = state["images"].T
        first = np.zeros(len(rows), dtype=bool)
        first[np.unique(rows, return_index=True)[1]] = True
        keep = np.repeat(first, counts)
        seen = np.unique(rows)
        boxes = state["boxes"][keep].astype(np.float64)
        detections = BoxDetections(
            images=np.searchsorted(seen, np.repeat(rows, counts)[keep]),
            boxes=np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1),
            category_ids=self.category_ids[state["labels"][keep]],
            scores=state["scores"][keep],
        )
        return select(self.truth, seen), detections


def select(truth: BoxTruth, rows: Int[np.ndarray, " k"]) -> BoxTruth:
    """The labels of some images, in that order."""
    lengths = np.diff(truth.box_ptr)[rows]
    ptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = np.repeat(truth.box_ptr[:-1][rows] - ptr[:-1], lengths) + np.arange(ptr[-1])
    return BoxTruth(
        image_ids=truth.image_ids[rows],
        boxes=truth.boxes[flat],
        category_ids=truth.category_ids[flat],
        areas=truth.areas[flat],
        crowd=truth.crowd[flat],
        box_ptr=ptr,
    )


def _truth(arrays: Mapping[str, np.ndarray]) -> BoxTruth:
    names = ("id", "bbox", "category_id", "area", "iscrowd", "box_ptr")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"ground_truth has no {missing}; expected arrays {list(names)}")
    truth = BoxTruth(*(np.asarray(arrays[name]) for name in names))
    images, boxes = len(truth.image_ids), len(truth.boxes)
    sizes = {name: len(arrays[name]) for name in ("category_id", "area", "iscrowd")}
    if set(sizes.values()) != {boxes} or len(truth.box_ptr) != images + 1 or truth.box_ptr[-1] != boxes:
        raise ValueError(
            f"ground_truth: {images} images, {boxes} boxes, but {sizes} and box_ptr of {truth.box_ptr[-1]}"
        )
    return truth
