"""Learning-rate schedules: the factor of each parameter group after a number of optimiser steps.

Official: util/optim.py. There the rate of a step is set after the step; here before it, one step earlier.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Progress:
    """Where a training stands: `step` and `total_steps` count optimiser steps, `epoch` started epochs from 0."""

    step: int
    total_steps: int
    epoch: int


@runtime_checkable
class Schedule(Protocol):
    """Anything that gives the factor of a parameter group."""

    def factor(self, progress: Progress, group: str) -> float:
        """What the learning rate of `group` ("base", "backbone" or "text_encoder") is multiplied with."""
        ...


def linear_warmup_decay(progress: Progress, warmup: float) -> float:
    """Rises from 0 to 1 over the first `warmup` part of all steps, then falls to 0 at the last step."""
    steps = round(warmup * progress.total_steps)
    if progress.step < steps:
        return progress.step / steps
    return max(0.0, (progress.total_steps - progress.step) / max(1, progress.total_steps - steps))


@dataclass(frozen=True)
class StepSchedule:
    """`gamma` to the power of the number of times `lr_drop` epochs have passed (published: schedule `step`).

    With 20 epochs and lr_drop 15, epochs 0-14 run at the full rate and 15-19 at a tenth of it.
    """

    lr_drop: int
    gamma: float = 0.1

    def factor(self, progress: Progress, group: str) -> float:
        """The same for every group."""
        return self.gamma ** (progress.epoch // self.lr_drop)


@dataclass(frozen=True)
class LinearTextSchedule:
    """`StepSchedule`, but the text encoder warms up and decays linearly (official `linear_with_warmup`)."""

    lr_drop: int
    gamma: float = 0.1
    warmup: float = 0.01

    def factor(self, progress: Progress, group: str) -> float:
        """Linear for "text_encoder", steps for the others."""
        if group == "text_encoder":
            return linear_warmup_decay(progress, self.warmup)
        return self.gamma ** (progress.epoch // self.lr_drop)


@dataclass(frozen=True)
class LinearSchedule:
    """Every group warms up and decays linearly (official `all_linear_with_warmup`)."""

    warmup: float = 0.01

    def factor(self, progress: Progress, group: str) -> float:
        """The same for every group."""
        return linear_warmup_decay(progress, self.warmup)


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up over `warmup_steps`, then a cosine down to `final` at the last step (not official).

    Args:
        warmup_steps: optimiser steps.
        final: factor at the end.
        restart_step: optimiser step at which warm-up and cosine start anew, for a training in two
            parts; 0 for one part.
        first_factors: further factor of a group in the part before `restart_step`; 1 where none is given.
    """

    warmup_steps: int = 60
    final: float = 0.03
    restart_step: int = 0
    first_factors: Mapping[str, float] = field(default_factory=dict)

    def factor(self, progress: Progress, group: str) -> float:
        """The same for every group, but for `first_factors`."""
        first, last, scale = self.restart_step, progress.total_steps, 1.0
        if progress.step < self.restart_step:
            first, last, scale = 0, self.restart_step, self.first_factors.get(group, 1.0)
        step, total = progress.step - first, max(1, last - first)
        if step < self.warmup_steps:
            return scale * (step + 1) / (self.warmup_steps + 1)
        part = min(1.0, (step - self.warmup_steps) / max(1, total - self.warmup_steps))
        return scale * (self.final + (1 - self.final) * (1 + math.cos(math.pi * part)) / 2)
