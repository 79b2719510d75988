"""The W&B logger with axes and summaries of curves."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from rlipv2.dashboard.names import EPOCHS, STEPS

SUMMARIES = {"train/": "min,last", "val/": "max,last", "speed/": "mean,last", "memory/": "max,last"}
"""What the summary of a run keeps of a curve, by the beginning of its name; of others the last value."""

FALLING = ("loss", "error")
"""Words in the names of what is better when it is lower."""


class WandbLogger(pl.loggers.WandbLogger):
    """Lightning's logger, which also tells W&B how each curve is drawn and what its summary is.

    The summary holds `val/map_full.max` and `val/map_full.last`, so that runs of a sweep can be sorted by either.
    Names are told one by one when they come first: of several patterns that fit a name W&B takes any, and Lightning
    has told it one for all names.

    Args:
        options: of Lightning's logger and of `wandb.init`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._wandb_init.pop("anonymous", None)  # W&B warns of it in every run
        self._defined: set[str] = set()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs values, tables or pictures in one row of the history."""
        for name, value in metrics.items():
            if name not in self._defined and isinstance(value, int | float):
                self._define(name)
        super().log_metrics(metrics, step)

    def _define(self, name: str) -> None:
        self._defined.add(name)
        axis, summary = curve(name)
        if summary is not None:
            self.experiment.define_metric(name, step_metric=axis, summary=summary)


def curve(name: str) -> tuple[str, str | None]:
    """What a curve is drawn over, and what the summary keeps of it: None for W&B's default, the last value.

    >>> curve("val/map_full"), curve("val/loss_relation")
    (('epoch', 'max,last'), ('epoch', 'min,last'))
    """
    summary = next((kept for start, kept in SUMMARIES.items() if name.startswith(start)), None)
    if summary is not None and any(word in name for word in FALLING):
        summary = "min,last"
    return (EPOCHS if name.startswith("val/") else STEPS), summary


def wandb_loggers(trainer: pl.Trainer) -> list[pl.loggers.WandbLogger]:
    """The W&B loggers of a trainer; none on other processes than the first, which log nothing."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, pl.loggers.WandbLogger)]
