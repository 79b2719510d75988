"""Writes predictions unit by unit."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter

from rlipv2.pseudo_labels.batches import ImageFailure, UnitBatch


@dataclass
class _Open:
    """What is known of a unit that is under way."""

    started: float = field(default_factory=time.monotonic)
    results: dict[int, Any] = field(default_factory=dict)
    failures: list[ImageFailure] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Write(Protocol):
    """Writes a unit."""

    def __call__(
        self,
        unit: int,
        results: dict[int, Any],
        failures: list[ImageFailure],
        counts: Counter[str],
        *,
        made_from: str | None,
        seconds: float,
    ) -> None:
        """Gets the results by image id, and the checksum of what the unit was made from."""
        ...


class UnitWriter(BasePredictionWriter):
    """Collects the predictions of `UnitBatch`es and hands over each unit when its last batch is done.

    Units of several loader processes come interleaved. Each process writes its own units; nothing is gathered.

    Args:
        write: called for each unit. What was counted is what the task's `take_counts` gives after each batch.
    """

    def __init__(self, write: Write) -> None:
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
        unit.counts.update(pl_module.take_counts())  # type: ignore[operator]
        if batch.last:
            del self._open[batch.unit]
            seconds = time.monotonic() - unit.started
            self.write(batch.unit, unit.results, unit.failures, unit.counts, made_from=batch.made_from, seconds=seconds)
