"""A diagnosis as a `torchmetrics.Metric`: for loops, and for several processes."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from rlipv2.metrics.diagnosis.evidence import Evidence, judge
from rlipv2.metrics.diagnosis.result import Diagnosis
from rlipv2.metrics.diagnosis.sources import Source, source_of
from rlipv2.metrics.diagnosis.summary import summarise
from rlipv2.metrics.functional import Detections, GroundTruth
from rlipv2.metrics.matching import FlatStateMetric
from rlipv2.metrics.triplets.metric import TripletMAP
from rlipv2.structures import Annotation, LabelSpace, PairPredictions

CHUNK = 64
"""Images that `diagnose` judges at once."""


class DiagnosisMetric(FlatStateMetric[Diagnosis]):
    """What goes wrong in predicted triplets, by the rules of a metric.

    Images are judged in `update`; the state holds 17 bytes per ranked detection, 16 MB for 100 on each of the 9,658
    test images of HICO-DET. `compute` gives `ap`, which equals a figure of the metric, and `gain/KIND`; all else is
    in `result()`. Images that come again do not count.

    Args:
        source: which detections and labels count, and by which rules; see `DiagnosisMetric.of`.
        label_space: names of the classes.
    """

    STATES: ClassVar[dict[str, torch.dtype]] = {
        "images": torch.int64,
        "keys": torch.int64,
        "scores": torch.float32,
        "kinds": torch.uint8,
        "targets": torch.int32,
        "labelled_keys": torch.int64,
        "found": torch.uint8,
        "confused": torch.int32,
    }

    def __init__(self, source: Source, label_space: LabelSpace) -> None:
        super().__init__()
        self.source, self.label_space = source, label_space
        self.latest: tuple[Detections, GroundTruth, Evidence] | None = None
        self.add_states()

    @classmethod
    def of(cls, metric: Metric, label_space: LabelSpace) -> "DiagnosisMetric":
        """The diagnosis of what a metric counts; its state is neither read nor changed.

        Args:
            metric: a `HICODetMAP`, `VCOCORoleAP`, `OpenImagesSGG` or `TripletMAP`.
            label_space: names of the classes.

        Raises:
            TypeError: another metric.
        """
        return cls(source_of(metric), label_space)

    def update(
        self,
        predictions: Sequence[PairPredictions],
        annotations: Sequence[Annotation],
        indices: Int[Tensor, " b"] | None = None,
    ) -> None:
        """Judges a batch of images; `latest` then holds its detections, its labels and what came out.

        Args:
            predictions: one per image, on any device, boxes in pixels of the stored image.
            annotations: labels of the same images, in pixels as stored in the annotation file.
            indices: position of each image in the dataset; an image whose index came before does not count. By
                default the image ids.

        Raises:
            ValueError: what the metric would not take either.
        """
        if not len(predictions):
            return
        self._result = None
        image_ids = np.array([annotation.image_id for annotation in annotations], np.int64)
        numbers = image_ids if indices is None else indices.cpu().numpy().astype(np.int64)
        if not len(predictions) == len(annotations) == len(numbers):
            raise ValueError(
                f"{len(predictions)} predictions, {len(annotations)} annotations and {len(numbers)} indices; "
                "expected one of each per image"
            )
        detections, truth = self.source.read(predictions, annotations)
        evidence = judge(detections, truth, self.source.rules, indices=numbers, image_ids=image_ids)
        self.latest = detections, truth, evidence
        self._append(evidence)

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """`ap` and the gains, over all images so far, on all processes."""
        self._result = result = summarise(Evidence(**self._gathered()), self.source.rules, self.label_space)
        values = {"ap": result.ap} | {f"gain/{kind}": gain for kind, gain in result.errors.gains.items()}
        return {key: torch.tensor(value, dtype=torch.float64, device=self.device) for key, value in values.items()}

    def _append_nothing(self) -> None:
        for name, dtype in self.STATES.items():
            shape = (0, 5) if name == "images" else (0,)
            getattr(self, name).append(torch.zeros(shape, dtype=dtype, device=self.device))


def diagnose(
    predictions: Sequence[PairPredictions],
    annotations: Sequence[Annotation],
    label_space: LabelSpace,
    *,
    metric: Metric | None = None,
) -> Diagnosis:
    """What goes wrong in the predictions of a list of images.

    Args:
        predictions: one per image, boxes in pixels of the stored image.
        annotations: labels of the same images, each with its own image id.
        label_space: names of the classes.
        metric: whose rules to follow, see `DiagnosisMetric.of`; None for those of `TripletMAP`.

    Raises:
        TypeError: a metric without such rules.
        ValueError: lists of different length, or labels that the label space does not have.
    """
    if metric is None:
        metric = TripletMAP(num_objects=len(label_space.objects), num_relations=len(label_space.relations))
    if len(predictions) != len(annotations):
        raise ValueError(f"{len(predictions)} predictions and {len(annotations)} annotations; expected one per image")
    diagnosis = DiagnosisMetric.of(metric, label_space)
    for start in range(0, len(predictions), CHUNK):
        rows = slice(start, start + CHUNK)
        diagnosis.update(predictions[rows], annotations[rows], torch.arange(start, min(rows.stop, len(predictions))))
    return diagnosis.result()
