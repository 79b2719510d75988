"""Training and evaluation of `ObjectDetector`: the detection pre-training that RLIPv2 starts from."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from rlipv2.losses.detection import DETECTION_WEIGHTS, DetectionCriterion
from rlipv2.models.object_detector import ObjectDetector, detect
from rlipv2.structures import BoxPredictions, DetectionBatch
from rlipv2.tasks.detection import RelationDetectionTask


class ObjectDetectionTask(RelationDetectionTask):
    """The steps of `RelationDetectionTask` with boxes in place of pairs.

    Not in the official RLIPv2 repository, which starts from weights of other projects.

    Args:
        detector: the network; its classes become the label space of the data module.
        criterion: named un-weighted losses.
        loss_weights: weight of each loss by base name; None for those of Deformable DETR.
        postprocess: `DetectionOutput` and original sizes to `BoxPredictions`; None for `detect`.
        options: of `RelationDetectionTask`: metrics, init, optimizer, schedule, lr, lr_ratios.

    Raises:
        ValueError: from `setup`, if the data module has another number of classes than the detector.
    """

    detector: ObjectDetector  # type: ignore[assignment]
    known_losses = DETECTION_WEIGHTS

    def __init__(
        self,
        detector: ObjectDetector,
        criterion: DetectionCriterion,
        *,
        loss_weights: Mapping[str, float] | None = None,
        postprocess: Callable[..., list[BoxPredictions]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            detector,  # type: ignore[arg-type]
            criterion,  # type: ignore[arg-type]
            loss_weights=DETECTION_WEIGHTS if loss_weights is None else loss_weights,
            postprocess=postprocess or detect,  # type: ignore[arg-type]
            **options,
        )

    def setup(self, stage: str) -> None:
        """Builds the metrics, names the classes and loads the initial weights."""
        super().setup(stage)
        space = self.detector.label_space
        if space is not None:
            self.detector.columns(space)  # refuses another number of classes

    def _losses(self, batch: DetectionBatch) -> dict[str, Tensor]:  # type: ignore[override]
        output = self.detector(batch.images, batch.padding_mask, batch.label_space)
        return self.criterion(output, batch.targets)
