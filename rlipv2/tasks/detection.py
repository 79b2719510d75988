"""Training and evaluation of `RelationDetector`: pre-training, fine-tuning, zero-shot evaluation."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from rlipv2.losses import LOSS_WEIGHTS, RelationCriterion, weighted_sum
from rlipv2.models.compilation import compile_network
from rlipv2.models.detector import RelationDetector
from rlipv2.models.postprocess import postprocess as default_postprocess
from rlipv2.structures import PairPredictions, RelationBatch
from rlipv2.tasks.base import RelationTask
from rlipv2.tasks.inference import inference_settings
from rlipv2.tasks.initial_weights import initialize


class RelationDetectionTask(RelationTask):
    """One step for training and evaluation: detector, criterion, and predictions to metrics.

    Args:
        detector: the network.
        criterion: named un-weighted losses.
        loss_weights: weight of each loss by base name, applied once, here, to every layer.
        metrics: metrics by name, or callables that are given `datamodule.metric_arguments()`; each
            is updated with predictions, annotations and dataset positions.
        postprocess: `RelationOutput` and original sizes to predictions in original pixels.
        init: weight folder to start from; None starts from the detector as it was built. Give None where a
            checkpoint is resumed or tested, which holds all weights itself.
        cut_queries: how a query table longer than the detector's is cut, see `cut_table`.
        compile: hand backbone and layers to `torch.compile`; the first steps take minutes longer, later ones less.
        dense_steps: optimiser steps at the start that train only the backbone, with the detector's
            dense head and loss; not in the paper, 0 in every published recipe.
        wiring: arguments of `RelationTask`: optimizer, schedule, lr, lr_ratios.
    """

    known_losses: Collection[str] = LOSS_WEIGHTS
    """Names that `loss_weights` may use, whether the losses are on or not."""

    def __init__(
        self,
        detector: RelationDetector,
        criterion: RelationCriterion,
        *,
        loss_weights: Mapping[str, float] | None = None,
        metrics: Mapping[str, Metric | Callable[..., Metric]] | None = None,
        postprocess: Callable[..., list[PairPredictions]] | None = None,
        init: str | Path | None = None,
        cut_queries: Literal["official", "halves"] = "official",
        dense_steps: int = 0,
        compile: bool = False,
        **wiring: Any,
    ) -> None:
        super().__init__(**wiring)
        if dense_steps and criterion.dense is None:
            raise ValueError(f"dense_steps={dense_steps}, but the criterion has no dense loss; set criterion.dense")
        self.detector = detector
        self.criterion = criterion
        self.loss_weights = dict(LOSS_WEIGHTS if loss_weights is None else loss_weights)
        self.metric_builders = dict(metrics or {})
        self.metrics = MetricCollection({}, compute_groups=False)
        self.postprocess = postprocess or default_postprocess
        self.init = None if init is None else str(init)
        self.cut_queries: Literal["official", "halves"] = cut_queries
        self.dense_steps = dense_steps
        self._to_compile = compile
        self.figures: tuple[str, ...] = ()  # names of the validation's figures, known after the sanity check
        self._initialized = False
        self._step_values: dict[str, Tensor] = {}
        # plain values only: checkpoints must load with weights_only=True
        self.save_hyperparameters({"lr": self.lr, "init": self.init}, logger=False)

    @property
    def network(self) -> nn.Module:  # type: ignore[override]
        """What the optimiser trains."""
        return self.detector

    def setup(self, stage: str) -> None:
        """Builds the metrics and loads the initial weights."""
        if not len(self.metrics) and self.metric_builders:
            self.metrics.add_metrics({name: self._build(metric) for name, metric in self.metric_builders.items()})
        self.detector.label_space = getattr(self._datamodule, "label_space", None)  # saved with the weights
        if stage == "fit":
            self.detector.inference = inference_settings(self.postprocess, self._datamodule, self.metrics.values())
        if self.init is not None and not self._initialized:
            initialize(self.detector, self.init, cut_queries=self.cut_queries)
            self._initialized = True
        if self._to_compile:
            compile_network(self.detector, device=self.trainer.strategy.root_device)
            self._to_compile = False

    def _build(self, metric: Metric | Callable[..., Metric]) -> Metric:
        if isinstance(metric, Metric):
            return metric
        return metric(**self._datamodule.metric_arguments())

    @property
    def _datamodule(self) -> Any:
        return self.trainer.datamodule  # type: ignore[attr-defined]

    def on_train_batch_start(self, batch: RelationBatch, batch_idx: int) -> None:
        """Forgets the moments of the optimiser when the dense part of the training ends."""
        if self.dense_steps and self.global_step == self.dense_steps and self._place_in_step == 0:
            self.trainer.optimizers[0].state.clear()

    def training_step(self, batch: RelationBatch, batch_idx: int) -> Tensor:
        """The weighted loss of a batch."""
        losses = self._dense_losses(batch) if self.global_step < self.dense_steps else self._losses(batch)
        return self._log_losses("train", losses, batch)

    def _losses(self, batch: RelationBatch) -> dict[str, Tensor]:
        output = self.detector(batch.images, batch.padding_mask, batch.label_space, batch.targets)
        return self.criterion(output, batch.targets)

    def _dense_losses(self, batch: RelationBatch) -> dict[str, Tensor]:
        outputs = self.detector.forward_dense(batch.images, batch.padding_mask, batch.label_space)
        return self.criterion.dense_losses(outputs, batch.targets)

    def validation_step(self, batch: RelationBatch, batch_idx: int) -> dict[str, Any]:
        """Losses and metrics of a batch; returns its `predictions`, for callbacks."""
        return {"predictions": self._evaluate("val", batch)}

    def test_step(self, batch: RelationBatch, batch_idx: int) -> dict[str, Any]:
        """Losses and metrics of a batch; returns its `predictions`, for callbacks."""
        return {"predictions": self._evaluate("test", batch)}

    def predict_step(self, batch: RelationBatch, batch_idx: int, dataloader_idx: int = 0) -> list[PairPredictions]:
        """Predictions of every image, boxes in original pixels."""
        output = self.detector(batch.images, batch.padding_mask, batch.label_space)
        return self.postprocess(output, batch.original_sizes.to(batch.images.device))

    def _evaluate(self, stage: str, batch: RelationBatch) -> list[PairPredictions]:
        output = self.detector(batch.images, batch.padding_mask, batch.label_space)
        self._log_losses(stage, self.criterion(output, batch.targets), batch)
        predictions = self.postprocess(output, batch.original_sizes.to(batch.images.device))
        self.update_metrics(self.metrics, predictions, batch)
        return predictions

    def update_metrics(
        self, metrics: MetricCollection, predictions: list[PairPredictions], batch: RelationBatch
    ) -> None:
        """Hands the metrics what they compare the predictions of a batch with."""
        metrics.update(predictions, batch.annotations, batch.indices)

    def _log_losses(self, stage: str, losses: Mapping[str, Tensor], batch: RelationBatch) -> Tensor:
        """Logs the total and the values of the last layer, and gives the total.

        Raises:
            FloatingPointError: the total is NaN or infinite in training.
        """
        total = weighted_sum(losses, self.loss_weights, known=self.known_losses)
        if stage == "train" and not torch.isfinite(total):
            shown = {name: float(value) for name, value in losses.items() if not torch.isfinite(value)}
            raise FloatingPointError(
                f"the loss of optimiser step {self.global_step} is {float(total)}, from {shown}; lower model.lr or "
                "trainer.gradient_clip_val, and look at the images of the batch: dataset positions "
                f"{batch.indices.tolist()}"
            )
        values = {"loss": total.detach()} | {name: value for name, value in losses.items() if "_layer" not in name}
        if stage == "train":
            values = self._mean_of_step(values)
        self.log_dict(
            {f"{stage}/{name}": value for name, value in values.items() if name != "loss"},
            batch_size=len(batch),
            sync_dist=True,
        )
        self.log(f"{stage}/loss", values["loss"], prog_bar=True, batch_size=len(batch), sync_dist=True)
        return total

    def _mean_of_step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean over the accumulated batches of an optimiser step so far, which the last of them logs."""
        position = self._place_in_step
        if position == 0 or values.keys() != self._step_values.keys():
            self._step_values, position = values, 0
        else:
            self._step_values = {
                name: mean + (values[name] - mean) / (position + 1) for name, mean in self._step_values.items()
            }
        return self._step_values

    @property
    def _place_in_step(self) -> int:
        """Which of the accumulated batches of an optimiser step this is, from 0."""
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return (batches - 1) % self.trainer.accumulate_grad_batches

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics, except of the sanity check before training, which has seen a few images only."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Logs the metrics."""
        self._finish("test")

    def _finish(self, stage: str) -> None:
        if len(self.metrics):
            values = self.metrics.compute()
            if self.trainer.sanity_checking:
                self.figures = tuple(f"{stage}/{name}" for name in values)
            else:
                self.log_dict({f"{stage}/{name}": value for name, value in values.items()}, sync_dist=True)
        self.metrics.reset()
