"""How fast training goes, what it waits for, and how much memory it takes."""

import time
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytorch_lightning as pl
import torch

from rlipv2.dashboard import names

GIB = 2**30


class SpeedMonitor(pl.Callback):
    """Logs throughput and memory every `log_every_n_steps` optimiser steps, in the same rows as the losses.

    `speed/images_per_second` of all processes together, `speed/step_seconds` of an optimiser step,
    `speed/data_seconds` of those that the step waited for its batches, `progress/images` that training has seen,
    `memory/process_gib` resident in main memory without loader workers, and on a GPU `memory/gpu_peak_gib` allocated
    at most since the last row and `memory/gpu_reserved_gib`. Validation and writing checkpoints do not count.

    Lightning's `ThroughputMonitor` would wait for the GPU after every batch, takes batches for equally large and does
    not tell apart what the loader costs; its `DeviceStatsMonitor` logs dozens of values of the allocator.
    """

    NAMES = (
        names.IMAGES,
        names.IMAGES_PER_SECOND,
        names.STEP_SECONDS,
        names.DATA_SECONDS,
        names.PROCESS_MEMORY,
        names.GPU_PEAK,
        names.GPU_RESERVED,
    )
    """What may be logged."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._steps_before = self._images_before = 0
        self._ended: float | None = None
        self._forget()

    def _forget(self) -> None:
        self._seconds = self._waited = 0.0
        self._images = self._steps = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts counting; a resumed run goes on with the images of its checkpoint."""
        self._forget()
        self._steps_before = trainer.global_step

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The first batch of an epoch counts as waited for from here."""
        self._ended = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Ends the wait for the batch."""
        now = time.perf_counter()
        if self._ended is not None:
            self._waited += now - self._ended
            self._seconds += now - self._ended
        self._started = now

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the batch, and logs where a row is due."""
        self._ended = time.perf_counter()
        self._seconds += self._ended - self._started
        self._images += len(batch) * trainer.world_size
        stepped, self._steps_before = trainer.global_step - self._steps_before, trainer.global_step
        self._steps += stepped
        if stepped and trainer.log_every_n_steps and trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._images_before += self._images
            pl_module.log_dict(self._values(pl_module.device), on_step=True, on_epoch=False, batch_size=1)
            self._forget()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves the time until the next batch out."""
        self._ended = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leaves the time until the next batch out."""
        self._ended = None

    def state_dict(self) -> dict[str, int]:
        """The images so far, for the axis of curves of resumed runs."""
        return {"images": self._images_before + self._images}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Goes on with the images of a checkpoint."""
        self._images_before = state_dict["images"]

    def _values(self, device: torch.device) -> dict[str, float]:
        values = {
            names.IMAGES: float(self._images_before),
            names.IMAGES_PER_SECOND: self._images / max(self._seconds, 1e-9),
            names.STEP_SECONDS: self._seconds / self._steps,
            names.DATA_SECONDS: self._waited / self._steps,
            names.PROCESS_MEMORY: self._process.memory_info().rss / GIB,
        }
        if device.type == "cuda":
            values[names.GPU_PEAK] = torch.cuda.max_memory_allocated(device) / GIB
            values[names.GPU_RESERVED] = torch.cuda.memory_reserved(device) / GIB
            torch.cuda.reset_peak_memory_stats(device)
        return values
