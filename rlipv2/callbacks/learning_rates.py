"""Learning rates of all parameter groups."""

from typing import Any

import pytorch_lightning as pl


class LearningRates(pl.callbacks.LearningRateMonitor):
    """Lightning's callback, which does nothing where there is no logger instead of refusing to train.

    Names are `lr/<group>`: `lr/base`, `lr/backbone`, `lr/text_encoder`.
    """

    def __init__(self) -> None:
        super().__init__(logging_interval="step")

    def on_train_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Names the groups."""
        if trainer.loggers:
            super().on_train_start(trainer, *args, **kwargs)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Logs the rates of the step."""
        if trainer.loggers:
            super().on_train_batch_start(trainer, *args, **kwargs)
