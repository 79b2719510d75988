"""The page about a test, written when it ends."""

import shlex
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info
from torchmetrics import Metric

from rlipv2.callbacks.report.images import Examples
from rlipv2.callbacks.report.tables import Official, official_of
from rlipv2.callbacks.report.texts import PROTOCOLS
from rlipv2.callbacks.report.write import Run, write_report
from rlipv2.metrics.diagnosis.metric import DiagnosisMetric
from rlipv2.metrics.diagnosis.sources import can_diagnose
from rlipv2.structures import ImageBatch

if TYPE_CHECKING:
    from rlipv2.metrics.diagnosis import Diagnosis


class EvaluationReport(pl.Callback):
    """Writes `index.html` about a test: figures, average precision per class, errors by kind, curves, images.

    The page needs nothing beside it; its tables are also in `tables/*.csv`. What each part means:
    docs/evaluation_report.md. Predictions are judged as they come and not kept: 17 bytes per ranked detection stay
    (16 MB for the test split of HICO-DET) and the best detections of a few images. On several processes all take part,
    and the first one writes. Where the metrics count no triplets (object detection, taggers) the page has the figures
    alone, and says so.

    Args:
        folder: where to.
        title: heading.
        num_images: best and worst images, so many of each; 0 for none.
        top: detections shown per image.
        config: file with the settings of the run, shown if it is there.

    Attributes:
        diagnosis: of the last test, on all processes; None before, and where the metrics count no triplets.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        title: str = "Evaluation",
        num_images: int = 12,
        top: int = 8,
        config: str | Path | None = None,
    ) -> None:
        if num_images < 0 or top < 1:
            raise ValueError(f"num_images={num_images}, top={top}: expected at least 0 images and 1 detection")
        self.folder = Path(folder)
        self.title = title
        self.num_images = num_images
        self.top = top
        self.config = None if config is None else Path(config)
        self.diagnosis: Diagnosis | None = None
        self._metric: DiagnosisMetric | None = None
        self._examples = Examples(num_images, top)
        self._official = Official()
        self._figures: tuple[str, ...] = ()
        self._started = time.perf_counter()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an earlier test."""
        self.diagnosis, self._metric, self._official, self._figures = None, None, Official(), ()
        self._examples = Examples(self.num_images, self.top)
        self._started = time.perf_counter()
        metric = next((each for each in _metrics(pl_module).values() if can_diagnose(each)), None)
        if metric is not None:
            space = trainer.datamodule.label_space  # type: ignore[attr-defined]
            self._metric = DiagnosisMetric.of(metric, space).to(pl_module.device)

    def on_test_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Mapping[str, Any],
        batch: ImageBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Judges the predictions of a batch."""
        if self._metric is None:
            return
        self._metric.update(outputs["predictions"], batch.annotations, batch.indices)
        if self.num_images and self._metric.latest is not None:
            self._examples.add(*self._metric.latest)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts together what all processes have seen, before the task forgets its metrics."""
        metrics: Any = getattr(pl_module, "metrics", {})
        self._figures = tuple(metrics.compute()) if len(metrics) else ()
        if self._metric is None:
            return
        self.diagnosis = self._metric.result()
        self._examples = self._examples.gathered(pl_module.device)
        metric = next(each for each in _metrics(pl_module).values() if can_diagnose(each))
        self._official = official_of(metric, self.diagnosis.label_space.relations)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the page."""
        if not trainer.is_global_zero:
            return
        values = {
            name.removeprefix("test/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("test/")
        }
        metrics = _metrics(pl_module)
        run = Run(
            title=self.title,
            protocol="; ".join(_protocol(metric) for metric in metrics.values()) or "No metric is set: losses only",
            figures={name: values[name] for name in self._figures if name in values},
            losses={name: value for name, value in values.items() if name not in self._figures},
            settings=self._settings(trainer, pl_module),
            command=shlex.join(["python", *sys.argv]),
            config=self.config.read_text(encoding="utf-8") if self.config is not None and self.config.is_file() else "",
            processes=trainer.world_size,
        )
        names = ", ".join(type(metric).__name__ for metric in metrics.values())
        path = write_report(
            self.folder,
            run,
            diagnosis=self.diagnosis,
            reason=f"No errors by kind: {names or 'no metric'} counts no triplets.",
            official=self._official,
            examples=self._examples.chosen() if self.num_images else ((), ()),
            sample=lambda index: trainer.datamodule.datasets["test"][index],  # type: ignore[attr-defined]
        )
        self._metric = None
        rank_zero_info(f"report: {path}")

    def _settings(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        dataset = trainer.datamodule.datasets["test"]  # type: ignore[attr-defined]
        limited = trainer.limit_test_batches not in (1.0, None)
        return {
            "weights": _weights(trainer, pl_module),
            "images of the test split": f"{len(dataset):,}" + (", of which a part was evaluated" if limited else ""),
            "processes": trainer.world_size,
            "precision": trainer.precision,
            "device": pl_module.device,
            "seconds": f"{time.perf_counter() - self._started:.1f}",
            "evaluated": time.strftime("%Y-%m-%d %H:%M"),
            "versions": f"rlipv2 {_own_version()}, PyTorch {torch.__version__}, Python {sys.version.split()[0]}",
        }


def _weights(trainer: pl.Trainer, pl_module: pl.LightningModule) -> str:
    if trainer.ckpt_path is not None:
        return str(trainer.ckpt_path)
    if trainer.global_step:
        return f"of this training, after {trainer.global_step:,} steps"
    return getattr(pl_module, "init", None) or "random"


def _own_version() -> str:
    try:
        return version("rlipv2")
    except PackageNotFoundError:
        return "(not installed: run from its folder)"


def _metrics(pl_module: pl.LightningModule) -> dict[str, Metric]:
    return dict(getattr(pl_module, "metrics", {}).items())


def _protocol(metric: Metric) -> str:
    text = PROTOCOLS.get(type(metric).__name__, type(metric).__name__)
    return text.format(
        protocol={"rlipv2": "official RLIPv2", "matlab": "MATLAB"}.get(getattr(metric, "protocol", ""), "")
    )
