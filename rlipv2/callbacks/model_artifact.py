"""The weights of a run as an artifact of W&B."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import nn

from rlipv2.callbacks.checkpoints import BestCheckpoint, WeightFolder
from rlipv2.callbacks.wandb_logger import wandb_loggers


class ModelArtifact(pl.Callback):
    """Logs the best checkpoint with its weight folder, and the weight folder of the last epoch, when a run is done.

    One artifact per experiment, a version for each of the two: `NAME:best` and `NAME:last`, one version with both
    aliases where the last epoch is the best one; only `NAME:last` where nothing is monitored. Its metadata hold the
    figures. Without W&B, and in a process that does not train, nothing happens. An offline run keeps a copy of the
    files in W&B's own folder (`WANDB_DATA_DIR`) until it is synchronised; an online one uploads them before it ends.

    Args:
        name: of the artifact; characters that W&B does not take become dashes.
        folder: where the weights of the best epoch are written.
        tested: whether a test follows the training, whose figures belong to the last epoch.
        checkpoint: also the checkpoint, with which training can go on; it is several times as large.
    """

    def __init__(self, name: str, *, folder: str | Path, tested: bool, checkpoint: bool = True) -> None:
        self.name = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
        self.folder = Path(folder)
        self.tested = tested
        self.checkpoint = checkpoint
        self._figures: dict[str, float] | None = None

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the figures of the last validation, and logs unless a test follows."""
        if getattr(trainer, "fast_dev_run", False):
            return
        self._figures = _plain(trainer.callback_metrics)
        if not self.tested:
            self._log(trainer, pl_module)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs, if this process has trained before."""
        if self._figures is not None:
            self._figures |= _plain(trainer.callback_metrics)
            self._log(trainer, pl_module)

    def _log(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures, self._figures = self._figures or {}, None
        for logger in wandb_loggers(trainer):
            folders = [each for each in trainer.callbacks if isinstance(each, WeightFolder)]  # type: ignore[attr-defined]
            if not folders:
                continue
            weights, best = folders[0], _best(trainer)
            step = None if best is None else _step_of(best.best_model_path)
            aliases = ["last"]
            if best is not None and step == trainer.global_step:
                aliases = ["best", "last"]
            elif best is not None:
                with weights_of(pl_module, weights.attribute, best.best_model_path) as network:
                    network.save_pretrained(self.folder)
                score = {} if best.best_model_score is None else {str(best.monitor): float(best.best_model_score)}
                self._add(logger, self.folder, best.best_model_path, ["best"], score | {"step": step})
            path = best.best_model_path if best is not None and "best" in aliases else _last(trainer)
            self._add(logger, weights.folder, path, aliases, figures | {"step": trainer.global_step})

    def _add(
        self,
        logger: pl.loggers.WandbLogger,
        folder: Path,
        checkpoint: str | Path | None,
        aliases: list[str],
        metadata: dict[str, Any],
    ) -> None:
        import wandb

        artifact = wandb.Artifact(self.name, type="model", metadata=metadata)
        # offline the files are copied, as nobody knows what happens to them until the run is synchronised
        policy: Any = "mutable" if logger.experiment.offline else "immutable"
        artifact.add_dir(str(folder), name="weights", policy=policy)
        if self.checkpoint and checkpoint is not None and Path(checkpoint).is_file():
            artifact.add_file(str(checkpoint), name="checkpoint.ckpt", policy=policy)
        logger.experiment.log_artifact(artifact, aliases=aliases)
        rank_zero_info(f"artifact {self.name}: {', '.join(aliases)}")


def _best(trainer: pl.Trainer) -> BestCheckpoint | None:
    """The callback of the best epoch, if it has kept one."""
    found = [each for each in trainer.callbacks if isinstance(each, BestCheckpoint)]  # type: ignore[attr-defined]
    return next((each for each in found if each.best_model_path and Path(each.best_model_path).is_file()), None)


def _last(trainer: pl.Trainer) -> Path | None:
    """The newest checkpoint, if callbacks write one."""
    folders = [Path(each.dirpath) for each in trainer.checkpoint_callbacks if getattr(each, "dirpath", None)]  # type: ignore[attr-defined]
    return next((folder / "last.ckpt" for folder in folders), None)


def _step_of(checkpoint: str) -> int:
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])


@contextmanager
def weights_of(task: pl.LightningModule, attribute: str, checkpoint: str) -> Iterator[Any]:
    """The network of a task with the weights of a checkpoint, until the block ends."""
    network: nn.Module = getattr(task, attribute)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
    current = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    start = f"{attribute}."
    network.load_state_dict(
        {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
    )
    try:
        yield network
    finally:
        network.load_state_dict(current)


def _plain(figures: Any) -> dict[str, float]:
    """Numbers that JSON knows."""
    values = {name: float(value) for name, value in figures.items()}
    return {name: value for name, value in values.items() if value == value}
