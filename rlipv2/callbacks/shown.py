"""What is shown of an image: its labels beside the best predictions, free of repetitions."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from rlipv2.structures import Annotation, BoxPredictions, LabelSpace, PairPredictions, Sample, Triplets
from rlipv2.visualize import annotation_triplets, correct_triplets


@dataclass(frozen=True)
class Kept:
    """The predictions of an image that was chosen to be shown.

    Attributes:
        index: position in the dataset.
        annotation: its labels, which count in `label_space`.
        label_space: of the batch it came in.
        predictions: boxes in original pixels, on the CPU.
    """

    index: int
    annotation: Annotation
    label_space: LabelSpace
    predictions: PairPredictions | BoxPredictions


@dataclass(frozen=True)
class Shown:
    """An image with what is drawn on it.

    Attributes:
        index: position in the dataset.
        name: of the image file.
        image: as stored.
        predicted: the best predictions, best first. Single boxes are triplets without object: of a "box", whose
            relation is its class.
        labelled: the labels, with score 1.
        found: for each prediction the row of the label that it finds, or None.
    """

    index: int
    name: str
    image: UInt8[Tensor, "3 h w"]
    predicted: Triplets
    labelled: Triplets
    found: list[int | None]

    @property
    def single_boxes(self) -> bool:
        """Whether the classes of boxes are shown, not relations of pairs."""
        return self.labelled.label_space.objects == (BOX,)

    @property
    def file_name(self) -> str:
        """A name for the picture, unique in the dataset and free of folders."""
        return f"{self.index:06d}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', Path(self.name).stem)[:60]}.png"


BOX = "box"


def shown(kept: Kept, sample: Sample, *, top: int, arguments: Mapping[str, Any]) -> Shown:
    """What is drawn of an image.

    Args:
        kept: its predictions.
        sample: the image as the dataset has it, not augmented.
        top: most predictions shown.
        arguments: what the metric is told by the data module: combinations that it does not count are not shown.
    """
    space, annotation = kept.label_space, kept.annotation
    if isinstance(kept.predictions, BoxPredictions):
        predicted = single_boxes(kept.predictions, space)
        ones = torch.ones(len(annotation.labels))
        labelled = single_boxes(BoxPredictions(annotation.boxes_xyxy, annotation.labels, ones), space)
        predicted = predicted.select(_sound(predicted)).top(top)
    else:
        best = kept.predictions.top(100, space, possible_pairs(arguments, space))
        predicted = best.select(_sound(best)).distinct().top(top)
        labelled = annotation_triplets(annotation, space)
    found = correct_triplets(predicted, labelled)
    return Shown(kept.index, annotation.file_name, sample.image, predicted, labelled, found)


def single_boxes(boxes: BoxPredictions, label_space: LabelSpace) -> Triplets:
    """Boxes as triplets without an object, so that they are drawn and compared like pairs."""
    nothing = torch.zeros(len(boxes), dtype=torch.int64)
    return Triplets(
        subject_boxes=boxes.boxes_xyxy,
        object_boxes=torch.zeros_like(boxes.boxes_xyxy),
        subject_labels=nothing,
        object_labels=nothing,
        relation_labels=boxes.labels,
        scores=boxes.scores,
        label_space=LabelSpace(objects=(BOX,), relations=label_space.objects),
    )


def _sound(predictions: Triplets) -> Tensor:
    """True for finite predictions: a training that diverges ends with the message of the task, not with one of here."""
    values = [getattr(predictions, field.name) for field in dataclasses.fields(predictions)]
    real = [value for value in values if isinstance(value, Tensor) and value.is_floating_point()]
    return torch.stack([value.isfinite().view(len(value), math.prod(value.shape[1:])).all(1) for value in real]).all(0)


def possible_pairs(arguments: Mapping[str, Any], label_space: LabelSpace) -> Float[Tensor, "r o"]:
    """1 where a metric counts a (relation, object), by the arguments it gets; all 1 if these tell nothing."""
    shape = (len(label_space.relations), len(label_space.objects))
    rows = arguments.get("hois")
    if rows is None and arguments.get("triplets") is not None:
        rows = arguments["triplets"][:, [1, 2]]
    if rows is None:
        return torch.ones(shape)
    valid = torch.zeros(shape)
    valid[torch.from_numpy(rows[:, 0]), torch.from_numpy(rows[:, 1])] = 1
    return valid
