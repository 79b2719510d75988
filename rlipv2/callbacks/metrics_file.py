"""The figures of a test, what they compare with and the time all took, as one file."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from rlipv2.ops.files import write_atomically
from rlipv2.structures import Annotation, PairPredictions

Baseline = Callable[[], tuple[list[PairPredictions], list[Annotation], dict[str, Any]]]
"""Predictions and labels of a whole test split, and the arguments of the metric that fits them."""


class MetricsFile(pl.Callback):
    """Writes the metrics of a test, what they compare with and the time all took, as one flat JSON object.

    Args:
        path: the file.
        untrained: also evaluate the model on the test split before training, as `untrained/...`.
        baselines: by name, evaluated with the task's metrics; `NAME/map_full` and so on.
    """

    def __init__(
        self, path: str | Path, *, untrained: bool = False, baselines: Mapping[str, Baseline] | None = None
    ) -> None:
        self.path = Path(path)
        self.untrained = untrained
        self.baselines = dict(baselines or {})
        self.values: dict[str, float] = {}
        self._created = self._started = time.perf_counter()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluates the untrained model and starts the clock of training."""
        self.values["seconds/generate"] = getattr(trainer.datamodule, "prepare_seconds", 0.0)  # type: ignore[attr-defined]
        if self.untrained and trainer.ckpt_path is None:
            self._keep("untrained", evaluate(pl_module, trainer.datamodule))  # type: ignore[attr-defined]
        self._started = time.perf_counter()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops the clock."""
        self.values["seconds/train"] = time.perf_counter() - self._started

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluates the baselines and starts the clock of testing."""
        for name, baseline in self.baselines.items():
            predictions, annotations, arguments = baseline()
            builders: Mapping[str, Any] = pl_module.metric_builders  # type: ignore[assignment]
            for build in builders.values():
                metric = build(**arguments)
                metric.update(predictions, annotations)
                self._keep(name, metric.compute())
        self._started = time.perf_counter()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the file."""
        self.values["seconds/evaluate"] = time.perf_counter() - self._started
        self.values["seconds/total"] = time.perf_counter() - self._created
        self.values |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        if trainer.is_global_zero:
            write_json(self.path, self.values)

    def _keep(self, name: str, figures: Mapping[str, Tensor]) -> None:
        self.values |= {f"{name}/{key}": float(value) for key, value in figures.items()}
        if "map_full" in figures:
            rank_zero_info(f"{name}: mAP {float(figures['map_full']):.3f}")


@torch.inference_mode()
def evaluate(task: Any, datamodule: Any) -> dict[str, Tensor]:
    """The metrics of a task on the test split, outside of any loop; logs nothing."""
    datamodule.setup("test")
    metrics = task.metrics.clone()
    metrics.reset()
    task.eval()
    for batch in datamodule.test_dataloader():
        task.update_metrics(metrics, task.predict_step(batch.to(task.device), 0), batch)
    task.train()
    return dict(metrics.compute())


def write_json(path: Path, values: Mapping[str, float]) -> None:
    """Writes numbers as a flat JSON object; NaN becomes null."""
    plain = {name: None if value != value else value for name, value in values.items()}
    write_atomically(path, json.dumps(plain, indent=1, sort_keys=True) + "\n")
