"""Writes predictions unit by unit."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter

from rlipv2.pseudo_labels.batches import ImageFailure, UnitBatch


@dataclass
class _Open:
    """What is known of a unit that is under way."""

    started: float = field(default_factory=time.monotonic)
    results: dict[int, Any] = field(default_factory=dict)
    failures: list[ImageFailure] = field(default_factory=list)


class UnitWriter(BasePredictionWriter):
    """Collects the predictions of `UnitBatch`es and hands over each unit when its last batch is done.

    Units of several loader processes come interleaved. Each process writes its own units; nothing is gathered.

    Args:
        write: called with the number of the unit, the results by image id, the failures and the seconds it took.
    """

    def __init__(self, write: Callable[[int, dict[int, Any], list[ImageFailure], float], None]) -> None:
        super().__init__(write_interval="batch")
        self.write = write
        self._open: dict[int, _Open] = {}

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets units that an interrupted prediction left."""
        self._open = {}

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: UnitBatch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Keeps the predictions of a batch, one per image id, `ImageFailure` for images that failed in the network."""
        unit = self._open.setdefault(batch.unit, _Open())
        unit.failures += batch.failures
        for image, result in zip(batch.image_ids, prediction, strict=True):
            if isinstance(result, ImageFailure):
                unit.failures.append(result)
            else:
                unit.results[image] = result
        if batch.last:
            del self._open[batch.unit]
            self.write(batch.unit, unit.results, unit.failures, time.monotonic() - unit.started)
