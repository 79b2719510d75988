"""Averaged weights, which are evaluated and kept instead of those of the last step."""

from collections.abc import Callable, Iterator

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

TensorList = list[Tensor] | tuple[Tensor, ...]


class AveragedWeights(pl.callbacks.WeightAveraging):
    """Exponential moving average of the weights: in validation, `state_dict` of checkpoints, weight folder and test.

    Lightning's callback with settings of our own. The average lies on the device of training: Lightning would build it
    before the network gets there, and copy all weights to the host in every step. Until the first step it holds the
    initial weights, which are loaded after it is built. Statistics of batch norms are averaged like weights, integers
    are copied: an average of indices is none. All weights are averaged in a few launches.

    Checkpoints hold the weights of the last step too, as `current_model_state`, so that a run continues as if it had
    not been stopped; they are larger by that. Official: `--ema`, `--ema_decay` in main.py, never used by a recipe.

    Args:
        decay: weight of the average in every step; it remembers about 1 / (1 - decay) optimiser steps, so give less
            than that of the official code where there are fewer than 25,000.
        device: where the average is kept; None for the device of training.

    Raises:
        ValueError: a decay outside (0, 1).
    """

    def __init__(self, decay: float = 0.9998, *, device: str | None = None) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay={decay}: expected a number between 0 and 1, such as 0.9998")
        super().__init__(device=device, use_buffers=True, multi_avg_fn=moving_average(decay))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Builds the average on the device of training."""
        if self._device is None:
            self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes over the weights that training starts from, unless a checkpoint brought an average."""
        average = self._average_model
        if average is None or int(average.n_averaged) > 0:
            return
        with torch.no_grad():
            for mine, theirs in zip(_values(average.module), _values(pl_module), strict=True):
                mine.copy_(theirs)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lets a run that continues a checkpoint without average begin it after a step, not inside one."""
        self._latest_update_step = max(self._latest_update_step, trainer.global_step)


def _values(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def moving_average(decay: float) -> Callable[[TensorList, TensorList, Tensor | int], None]:
    """What moves averages towards current values, in place; tensors of one kind, integers are taken as they are."""
    of_floats = get_ema_multi_avg_fn(decay)

    def update(averages: TensorList, current: TensorList, num_averaged: Tensor | int) -> None:
        if averages[0].is_floating_point():
            of_floats(averages, current, num_averaged)
        else:
            torch._foreach_copy_(averages, current)

    return update
