"""What is behind the figures of a test, for W&B."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl

from rlipv2.callbacks.wandb_logger import wandb_loggers
from rlipv2.callbacks.wandb_media import chart, table
from rlipv2.dashboard import names

if TYPE_CHECKING:
    from rlipv2.metrics.diagnosis import Diagnosis


class WandbDiagnosis(pl.Callback):
    """Logs the diagnosis of a test, which another callback has made and holds as `diagnosis`.

    Tables of average precision per triplet and per relation and of the kinds of errors; bars of rare and non-rare
    triplets and of the average precision that each kind of error costs; precision over recall of all relations together
    and of the most frequent ones; which relations are taken for which. What each means: `rlipv2.metrics.diagnosis`.

    Args:
        num_curves: relations with a curve of their own.
        num_confused: relations of the confusion; W&B draws at most 10,000 cells.
    """

    def __init__(self, *, num_curves: int = 8, num_confused: int = 40) -> None:
        self.num_curves = num_curves
        self.num_confused = num_confused

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs, on the first process alone."""
        found = [getattr(callback, "diagnosis", None) for callback in trainer.callbacks]  # type: ignore[attr-defined]
        made = [diagnosis for diagnosis in found if diagnosis is not None]
        for logger in wandb_loggers(trainer) if made else []:
            logger.log_metrics(self.rows(made[0]), trainer.global_step)

    def rows(self, diagnosis: "Diagnosis") -> dict[str, Any]:
        """Values for a row of the history."""
        classes, relations = (part.rows(diagnosis.label_space) for part in (diagnosis.classes, diagnosis.relations))
        tables = zip(names.TABLES, (classes, relations, diagnosis.errors.rows()), strict=True)
        gains = sorted(diagnosis.errors.gains.items(), key=lambda item: -item[1])
        return {key: table(list(rows[0]), [list(row.values()) for row in rows]) for key, rows in tables if rows} | {
            names.AP_BY_GROUP.key: chart(names.AP_BY_GROUP, list(diagnosis.groups.items())),
            names.AP_GAINED.key: chart(names.AP_GAINED, gains),
            names.PRECISION_RECALL.key: chart(names.PRECISION_RECALL, self._curves(diagnosis)),
            names.CONFUSION.key: chart(names.CONFUSION, self._confusion(diagnosis)),
        }

    def _curves(self, diagnosis: "Diagnosis") -> list[tuple[Any, ...]]:
        """Rows (recall, relation, precision)."""
        relations, labelled = diagnosis.label_space.relations, np.asarray(diagnosis.relations.num_labelled)
        frequent = [int(row) for row in np.argsort(-labelled, kind="stable")[: self.num_curves] if labelled[row] > 0]
        curves = {"all": diagnosis.curves.overall}
        curves |= {relations[row]: diagnosis.curves.relation(row) for row in frequent}
        return [
            (recall, name, precision)
            for name, curve in curves.items()
            for recall, precision in zip(curve.recall, curve.precision, strict=True)
        ]

    def _confusion(self, diagnosis: "Diagnosis") -> list[tuple[Any, ...]]:
        """Rows (label, prediction, count) of the relations with most labels."""
        counts = np.asarray(diagnosis.confusion.counts)
        words = [*diagnosis.confusion.relations, "no pair"]
        rows = np.argsort(-counts.sum(1), kind="stable")[: self.num_confused]
        rows = rows[counts[rows].sum(1) > 0]
        columns = [*rows, len(words) - 1]
        return [(words[row], words[column], counts[row, column]) for row in rows for column in columns]
