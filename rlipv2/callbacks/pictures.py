"""Pictures of predictions beside labels: after each validation, and of the test."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.utilities import rank_zero_info

from rlipv2.callbacks.metrics_file import MetricsFile
from rlipv2.callbacks.shown import Kept, Shown, shown
from rlipv2.callbacks.wandb_logger import wandb_loggers
from rlipv2.callbacks.wandb_media import picture_rows
from rlipv2.ops.files import write_atomically
from rlipv2.structures import BoxPredictions, ImageBatch
from rlipv2.visualize import contact_sheet, draw_comparison


class Pictures(pl.Callback):
    """Draws some images of validation and test, the predictions next to the labels.

    They are written to `epoch_000/`, `epoch_001/`, ... and `test/` in the folder, one PNG per image, and handed to
    W&B, where that is the logger, as box overlays (`val/pictures`, `test/pictures`) and as a table (`val/examples`,
    `test/examples`). The images are the same in every epoch: the first of the split with enough labels; on several
    devices those of the first process, the others neither wait nor send anything. Nothing is drawn at random.

    Args:
        folder: where to; None writes no files.
        num_images: most images of a validation or test.
        min_labels: labels that an image needs to be shown: relations, or boxes of object detection.
        top: predictions shown per image.
        every_n_epochs: 1 for every validation.
        sheet: path of one PNG with all images of the test under its figures, or None.
        figures: names of the figures to print there, without the name of the stage.

    Raises:
        ValueError: a number below 1.
    """

    def __init__(
        self,
        folder: str | Path | None,
        *,
        num_images: int = 8,
        min_labels: int = 1,
        top: int = 5,
        every_n_epochs: int = 1,
        sheet: str | Path | None = None,
        figures: Sequence[str] = ("map_full", "map_rare", "map_non_rare"),
    ) -> None:
        if min(num_images, top, every_n_epochs) < 1:
            raise ValueError(
                f"num_images={num_images}, top={top}, every_n_epochs={every_n_epochs}: expected at least 1; "
                "callbacks.pictures=null draws nothing"
            )
        self.folder = None if folder is None else Path(folder)
        self.num_images = num_images
        self.min_labels = min_labels
        self.top = top
        self.every_n_epochs = every_n_epochs
        self.sheet = None if sheet is None else Path(sheet)
        self.figures = tuple(figures)
        self.kept: dict[int, Kept] = {}

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the images of the validation before."""
        self.kept = {}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the images of an earlier test."""
        self.kept = {}

    def on_validation_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Mapping[str, Any] | None,
        batch: ImageBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the predictions of the images to be drawn."""
        if self._is_due(trainer):
            self._keep(trainer, outputs, batch)

    def on_test_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Mapping[str, Any] | None,
        batch: ImageBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the predictions of the images to be drawn."""
        self._keep(trainer, outputs, batch)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draws the images of a validation; none of the sanity check."""
        if self._is_due(trainer):
            self._draw(trainer, "val", f"epoch_{trainer.current_epoch:03d}")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draws the images of the test, and the sheet of all."""
        images = self._draw(trainer, "test", "test")
        if self.sheet is not None and images and not getattr(trainer, "fast_dev_run", False):
            contact_sheet(
                [image.image for image in images],
                [image.predicted for image in images],
                [image.labelled for image in images],
                self.sheet,
                scores=self._scores(trainer),
                top=self.top,
            )
            rank_zero_info(f"drawn predictions: {self.sheet}")

    def _is_due(self, trainer: pl.Trainer) -> bool:
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
        return not trainer.sanity_checking and (last or trainer.current_epoch % self.every_n_epochs == 0)

    def _keep(self, trainer: pl.Trainer, outputs: Mapping[str, Any] | None, batch: ImageBatch) -> None:
        if not trainer.is_global_zero or outputs is None:
            return
        for row, annotation in enumerate(batch.annotations):
            predictions = outputs["predictions"][row]
            labels = annotation.labels if isinstance(predictions, BoxPredictions) else annotation.relations
            if len(self.kept) < self.num_images and len(labels) >= self.min_labels:
                index = int(batch.indices[row])
                self.kept[index] = Kept(index, annotation, batch.label_space, predictions.to("cpu"))

    def _draw(self, trainer: pl.Trainer, stage: str, folder: str) -> list[Shown]:
        if not self.kept:
            return []
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        dataset, arguments = datamodule.datasets[stage], datamodule.metric_arguments()
        images = [shown(kept, dataset[index], top=self.top, arguments=arguments) for index, kept in self.kept.items()]
        if self.folder is not None and not getattr(trainer, "fast_dev_run", False):
            for image in images:
                write_atomically(self.folder / folder / image.file_name, png(compared(image)))
        for logger in wandb_loggers(trainer):
            rows = picture_rows(images, stage, epoch=trainer.current_epoch)
            logger.log_metrics(rows | {"epoch": trainer.current_epoch}, trainer.global_step)
        return images

    def _scores(self, trainer: pl.Trainer) -> dict[str, float]:
        files = [callback for callback in trainer.callbacks if isinstance(callback, MetricsFile)]  # type: ignore[attr-defined]
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for file in files:
            values |= file.values
        return {name: value for name, value in values.items() if name.partition("/")[2] in self.figures}


def compared(image: Shown) -> Image.Image:
    """The picture of an image: predictions, labels, and both as lists."""
    return draw_comparison(image.image, image.predicted, image.labelled, top=len(image.predicted))


def png(picture: Image.Image) -> bytes:
    """The bytes of a picture's file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
