"""COCO average precision of boxes: the 12 standard figures, computed by torchmetrics on one of two backends.

`MeanAveragePrecision` of torchmetrics drives either `faster_coco_eval` (default, several times as fast) or
`pycocotools` (the reference). What it would get wrong if it were left to its defaults is set here: its thresholds
are float32 numbers, by which a recall of exactly 3/10 misses its level, and an area of 0 is replaced.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

Backend = Literal["faster_coco_eval", "pycocotools"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

# The names of COCO's own summary -> those of torchmetrics.
FIGURES = {
    "AP": "map",
    "AP50": "map_50",
    "AP75": "map_75",
    "APs": "map_small",
    "APm": "map_medium",
    "APl": "map_large",
    "AR1": "mar_1",
    "AR10": "mar_10",
    "AR100": "mar_100",
    "ARs": "mar_small",
    "ARm": "mar_medium",
    "ARl": "mar_large",
}
# COCOeval's own, in float64.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10).tolist()
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101).tolist()
MAX_DETECTIONS = [1, 10, 100]  # per image and class


@dataclass(frozen=True)
class BoxTruth:
    """Labelled boxes of a split: image i owns `boxes[box_ptr[i]:box_ptr[i + 1]]`.

    Attributes:
        image_ids: unique number of each image.
        boxes: x y w h in pixels.
        category_ids: as in the annotation file.
        areas: decide which boxes are small, medium and large.
        crowd: regions in which detections of the class are neither right nor wrong.
        box_ptr: where each image's boxes begin.
    """

    image_ids: Int[np.ndarray, " i"]
    boxes: Float[np.ndarray, "n 4"]
    category_ids: Int[np.ndarray, " n"]
    areas: Float[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]
    box_ptr: Int[np.ndarray, " i+1"]

    def __len__(self) -> int:
        return len(self.image_ids)


@dataclass(frozen=True)
class BoxDetections:
    """Detections in any order of images.

    Attributes:
        images: position of each detection's image among those of the truth.
        boxes: x y w h in pixels.
        category_ids: as in the annotation file.
        scores: higher is more certain; equal ones rank in the order given.
    """

    images: Int[np.ndarray, " d"]
    boxes: Float[np.ndarray, "d 4"]
    category_ids: Int[np.ndarray, " d"]
    scores: Float[np.ndarray, " d"]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class COCOFigures:
    """The result of an evaluation.

    Attributes:
        values: the 12 figures under COCO's names, fractions between 0 and 1; NaN where nothing is labelled.
        class_ap: AP by category id, for classes with labels or detections; NaN without labels. Empty if not asked for.
    """

    values: dict[str, float]
    class_ap: dict[int, float]


def evaluate(
    truth: BoxTruth, detections: BoxDetections, *, backend: Backend = "faster_coco_eval", per_class: bool = False
) -> COCOFigures:
    """COCO's figures with default parameters, over all images of `truth`.

    IoU 0.50 to 0.95 in steps of 0.05, 101 recall levels, the best 1, 10 and 100 detections per image and class.
    `per_class` gives AP of every class too, which takes longer: torchmetrics then copies all IoUs.

    Raises:
        ValueError: an unknown backend.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend={backend!r}: expected one of {BACKENDS}")
    # Late: importing these takes seconds, which the help and the checks of the command line do not need.
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(
        box_format="xywh",
        iou_thresholds=IOU_THRESHOLDS,
        rec_thresholds=RECALL_THRESHOLDS,
        max_detection_thresholds=MAX_DETECTIONS,
        extended_summary=per_class,
        backend=backend,
        sync_on_compute=False,  # the arrays are those of all processes already
    )
    metric.warn_on_many_detections = False
    order = np.argsort(detections.images, kind="stable")
    ptr = np.searchsorted(detections.images[order], np.arange(len(truth) + 1))
    predicted = {
        "boxes": torch.from_numpy(detections.boxes[order].astype(np.float64)),
        "scores": torch.from_numpy(detections.scores[order].astype(np.float64)),
        "labels": torch.from_numpy(detections.category_ids[order].astype(np.int64)),
    }
    labelled = {
        "boxes": torch.from_numpy(truth.boxes.astype(np.float64)),
        "labels": torch.from_numpy(truth.category_ids.astype(np.int64)),
        # torchmetrics takes 0 for "not given" and would put the area of the box
        "area": torch.from_numpy(np.maximum(truth.areas, 1e-9)),
        "iscrowd": torch.from_numpy(truth.crowd.astype(np.int64)),
    }
    metric.update(_per_image(predicted, ptr), _per_image(labelled, truth.box_ptr))
    with _quiet("faster_coco_eval"):
        result = metric.compute()
    values = {name: _or_nan(float(result[key])) for name, key in FIGURES.items()}
    if not per_class:
        return COCOFigures(values, {})
    classes = np.union1d(truth.category_ids, detections.category_ids).tolist()
    # there is no precision where there is no image at all
    precision = result["precision"].numpy() if "precision" in result else np.full((1, 1, len(classes), 1, 1), -1.0)
    # all areas, 100 detections; the mean over thresholds and recall levels
    class_ap = precision[:, :, :, 0, -1].mean(axis=(0, 1)).tolist()
    return COCOFigures(values, {number: _or_nan(ap) for number, ap in zip(classes, class_ap, strict=True)})


@contextlib.contextmanager
def _quiet(package: str) -> Iterator[None]:
    """Keeps a package from logging its progress and its own table, 20 lines for every evaluation."""
    log = logging.getLogger(package)
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def _per_image(arrays: dict[str, Any], ptr: Int[np.ndarray, " p"]) -> list[dict[str, Any]]:
    lengths = np.diff(ptr).tolist()
    parts = {name: array.split(lengths) for name, array in arrays.items()}
    return [{name: rows[image] for name, rows in parts.items()} for image in range(len(lengths))]


def _or_nan(value: float) -> float:
    """The backends write -1 where nothing is labelled."""
    return float("nan") if value < 0 else value
