"""How many batches make up the total batch of a recipe."""

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_info


class EffectiveBatchSize(pl.Callback):
    """Accumulates as many batches as a total batch needs, and prints the arithmetic at the start.

    Rule: total = batch size x processes x accumulated batches. The experiment says the total; the batch
    size is what fits a device; the number of accumulated batches follows. Losses are normalised within
    each batch, as officially within each GPU.

    Args:
        total: images per optimiser step; None takes batch size and accumulation as they are given.

    Raises:
        ValueError: from `setup`, if the total cannot be made up exactly.
    """

    def __init__(self, total: int | None = None) -> None:
        self.total = total

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Sets `trainer.accumulate_grad_batches` before the optimiser is built."""
        batch_size = getattr(trainer.datamodule, "batch_size", None)  # type: ignore[attr-defined]
        if stage != "fit" or batch_size is None:
            return
        at_once = batch_size * trainer.world_size
        if self.total is not None:
            given = trainer.accumulate_grad_batches
            if self.total % at_once or given not in (1, self.total // at_once):
                raise ValueError(
                    f"total_batch_size={self.total} cannot be made of data.batch_size={batch_size} x "
                    f"{trainer.world_size} processes x trainer.accumulate_grad_batches={given}; choose a batch size "
                    f"that divides {self.total} / {trainer.world_size} and leave the accumulation at 1 (it is "
                    "derived), or set total_batch_size=null to take the numbers as they are"
                )
            trainer.accumulate_grad_batches = self.total // at_once
        accumulate = trainer.accumulate_grad_batches
        rank_zero_info(
            f"effective batch size: {at_once * accumulate} images per optimiser step "
            f"({batch_size} per process x {trainer.world_size} processes x {accumulate} accumulated)"
        )
