"""What is written of a training run: checkpoints, and the weight folder at its end."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_info

from rlipv2.ops.files import opened_atomically, remove_leftovers


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints under a temporary name in their own folder, so that a kill leaves the last one whole.

    Lightning writes into the system's temporary folder and moves the file: where that is another disk, as on most
    clusters, the move is a copy onto the old checkpoint, and a kill meanwhile leaves neither. What a killed process
    has left behind goes with the next checkpoint. Addresses such as s3://... are left to Lightning.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes a checkpoint.

        Raises:
            OSError: the disk is full, or the folder cannot be written; the old checkpoint stays.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        remove_leftovers(Path(path).parent)
        with opened_atomically(Path(path)) as file:
            torch.save(checkpoint, file)


class LoggerIds(pl.Callback):
    """Writes the W&B run id into checkpoints; train.py hands it to the logger of a resumed run."""

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds `logger_ids`; loggers without a version of their own are left out."""
        versions = [logger.version for logger in trainer.loggers if isinstance(logger, pl.loggers.WandbLogger)]
        checkpoint["logger_ids"] = {"wandb": str(versions[0])} if versions and versions[0] else {}


class BestCheckpoint(pl.callbacks.ModelCheckpoint):
    """A checkpoint of the best epoch by the figure `monitor`; none at all where nothing is monitored.

    Lightning's own callback would then call the newest epoch the best one.

    Args:
        monitor: a logged figure, or None.
        options: further arguments of Lightning's callback.
    """

    def __init__(self, *, monitor: str | None, **options: Any) -> None:
        super().__init__(monitor=monitor, save_top_k=0 if monitor is None else 1, **options)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuses a figure that the sanity check did not have, before an epoch is spent on it.

        Raises:
            ValueError: naming the figures there are.
        """
        super().on_train_start(trainer, pl_module)
        known = getattr(pl_module, "figures", ())
        loss = self.monitor is None or self.monitor.startswith("val/loss")
        if known and not loss and self.monitor not in known:
            raise ValueError(
                f"monitored={self.monitor}: no such figure; expected val/loss or one of {', '.join(known)}"
            )


class WeightFolder(pl.Callback):
    """Writes the trained network as a weight folder, which `RelationDetector.from_pretrained` reads.

    Args:
        folder: where to.
        attribute: of the task that holds the network, which has `save_pretrained`.
    """

    def __init__(self, folder: str | Path, attribute: str = "detector") -> None:
        self.folder = Path(folder)
        self.attribute = attribute

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes after the last epoch; published results use the last epoch too."""
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            getattr(pl_module, self.attribute).save_pretrained(self.folder)
            rank_zero_info(f"weights: {self.folder}")
