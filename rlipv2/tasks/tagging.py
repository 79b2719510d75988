"""Training and evaluation of `RelationTagger`: relations of given pairs."""

from typing import Any

from torchmetrics import MetricCollection

from rlipv2.losses import TaggerCriterion
from rlipv2.models.postprocess import tagged_pairs
from rlipv2.models.tagger import RelationTagger
from rlipv2.structures import PairPredictions, RelationBatch, RelationOutput
from rlipv2.tasks.detection import RelationDetectionTask


class RelationTaggingTask(RelationDetectionTask):
    """The steps of `RelationDetectionTask` for a network that is given the pairs of the targets, in evaluation too.

    Metrics are updated with predictions, the batch's targets and dataset positions: row k of a prediction is about
    row k of the target.

    Args:
        detector: the network.
        criterion: its losses.
        options: further arguments of `RelationDetectionTask`, but for `postprocess`: nothing is left to choose.
    """

    def __init__(self, detector: RelationTagger, criterion: TaggerCriterion, **options: Any) -> None:
        if "postprocess" in options:
            raise TypeError("RelationTaggingTask has no postprocess: the boxes and labels of its pairs are given")
        super().__init__(detector, criterion, **options)

    def predict_step(self, batch: RelationBatch, batch_idx: int, dataloader_idx: int = 0) -> list[PairPredictions]:
        """Predictions for the pairs of every image, boxes in original pixels."""
        return tagged_pairs(self._tag(batch), batch.targets, batch.original_sizes)

    def _evaluate(self, stage: str, batch: RelationBatch) -> list[PairPredictions]:
        output = self._tag(batch)
        self._log_losses(stage, self.criterion(output, batch.targets), batch)
        predictions = tagged_pairs(output, batch.targets, batch.original_sizes)
        self.update_metrics(self.metrics, predictions, batch)
        return predictions

    def update_metrics(
        self, metrics: MetricCollection, predictions: list[PairPredictions], batch: RelationBatch
    ) -> None:
        """Row k of a prediction is compared with row k of the target."""
        metrics.update(predictions, batch.targets, batch.indices)

    def _tag(self, batch: RelationBatch) -> RelationOutput:
        output: RelationOutput = self.detector(batch.images, batch.padding_mask, batch.label_space, batch.targets)
        return output
