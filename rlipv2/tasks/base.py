"""What every relation task shares: parameter groups, learning rates, schedule, initial weights."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from rlipv2.tasks.schedules import Progress, Schedule, StepSchedule

REFERENCE_LR, REFERENCE_BATCH = 1e-4, 32
"""The published rates follow 1e-4 * sqrt(total batch / 32): 32 -> 1e-4, 64 -> 1.41e-4, 128 -> 2e-4."""


def scaled_lr(total_batch_size: int) -> float:
    """The learning rate that the published recipes would use for a total batch.

    >>> scaled_lr(128)
    0.0002
    """
    return REFERENCE_LR * math.sqrt(total_batch_size / REFERENCE_BATCH)


def group_of(name: str, groups: Iterable[str]) -> str:
    """The parameter group of a parameter: the first of `groups` that is a part of its dotted name, else "base".

    Official code looks for substrings; parts of the name keep `dense.on_backbone` out of the backbone.
    """
    parts = name.split(".")
    return next((group for group in groups if group in parts), "base")


def parameter_groups(model: nn.Module, lr: float, lr_ratios: Mapping[str, float]) -> list[dict[str, Any]]:
    """Trainable parameters in groups "base" (`lr`) and one per entry of `lr_ratios` (`lr` times the ratio).

    Every trainable parameter is in exactly one group; groups without parameters are left out.
    """
    members: dict[str, list[nn.Parameter]] = {"base": [], **{group: [] for group in lr_ratios}}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            members[group_of(name, lr_ratios)].append(parameter)
    return [
        {"params": parameters, "lr": lr * lr_ratios.get(group, 1.0), "name": group}
        for group, parameters in members.items()
        if parameters
    ]


class RelationTask(pl.LightningModule):
    """Optimiser wiring of all tasks. A subclass sets `network` and implements the steps.

    Args:
        optimizer: called with the parameter groups; published: AdamW with weight decay 1e-4 on all
            parameters.
        schedule: factor of the rates, per optimiser step.
        lr: learning rate of the base group. None: `scaled_lr` of the total batch.
        lr_ratios: groups, by a part of the parameter name, whose rate is a ratio of `lr`.
    """

    network: nn.Module

    def __init__(
        self,
        *,
        optimizer: Callable[..., Optimizer] | None = None,
        schedule: Schedule | None = None,
        lr: float | None = None,
        lr_ratios: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.optimizer = optimizer or (lambda groups: torch.optim.AdamW(groups, weight_decay=1e-4))
        self.schedule = schedule or StepSchedule(lr_drop=15)
        self.lr = lr
        self.lr_ratios = dict(lr_ratios or {"backbone": 0.1, "text_encoder": 0.1})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses to train on from averaged weights, which the moments of the optimiser do not belong to.

        Raises:
            ValueError: the checkpoint holds an average, but this run makes none.
        """
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        averaging = any(isinstance(callback, pl.callbacks.WeightAveraging) for callback in callbacks)
        if "averaging_state" in checkpoint and self.trainer.state.fn == "fit" and not averaging:
            raise ValueError(
                f"{self.trainer.ckpt_path}: the run that wrote this checkpoint averages its weights: add callbacks=ema "
                "to continue it"
            )

    @property
    def total_batch_size(self) -> int:
        """Images per optimiser step: batch size x processes x accumulated batches."""
        batch_size = getattr(self.trainer.datamodule, "batch_size", None)  # type: ignore[attr-defined]
        if batch_size is None:
            raise ValueError("the datamodule tells no batch_size, so the learning rate must be given: model.lr=1e-4")
        return int(batch_size) * self.trainer.world_size * self.trainer.accumulate_grad_batches

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser over all parameter groups and one scheduler, moved every optimiser step."""
        lr = scaled_lr(self.total_batch_size) if self.lr is None else self.lr
        groups = parameter_groups(self.network, lr, self.lr_ratios)
        self._print_rates(lr, groups)  # before the schedule changes them
        optimizer = self.optimizer(groups)
        names = [group["name"] for group in groups]
        total_steps = int(self.trainer.estimated_stepping_batches)
        steps_per_epoch = self._steps_per_epoch(total_steps)

        def factor_of(group: str) -> Callable[[int], float]:
            def factor(step: int) -> float:
                return self.schedule.factor(Progress(step, total_steps, step // steps_per_epoch), group)

            return factor

        scheduler = LambdaLR(optimizer, [factor_of(name) for name in names])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step", "name": "lr"}}

    def _steps_per_epoch(self, total_steps: int) -> int:
        batches = self.trainer.num_training_batches
        if math.isfinite(batches):
            return max(1, math.ceil(batches / self.trainer.accumulate_grad_batches))
        return max(1, total_steps)

    def _print_rates(self, lr: float, groups: list[dict[str, Any]]) -> None:
        rates = ", ".join(f"{group['name']} {group['lr']:.3g}" for group in groups)
        rank_zero_info(f"learning rates: {rates}")
        if self.lr is None:
            rank_zero_info(f"  from the rule 1e-4 * sqrt(total batch / 32), total batch {self.total_batch_size}")
        elif getattr(self.trainer.datamodule, "batch_size", None) is not None:  # type: ignore[attr-defined]
            rule = scaled_lr(self.total_batch_size)
            same = math.isclose(rule, lr, rel_tol=0.01)
            rank_zero_info(
                f"  as the rule 1e-4 * sqrt(total batch / 32) has it, total batch {self.total_batch_size}"
                if same
                else f"  given as model.lr; the rule 1e-4 * sqrt(total batch / 32) would take {rule:.3g} for total "
                f"batch {self.total_batch_size} (model.lr=null uses it)"
            )
