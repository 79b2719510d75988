"""A picture of predictions beside labels."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from rlipv2.callbacks.metrics_file import MetricsFile
from rlipv2.ops.nms import pairwise_nms
from rlipv2.structures import LabelSpace, PairPredictions, RelationBatch, Triplets
from rlipv2.visualize import annotation_triplets, contact_sheet


class PredictionSheet(pl.Callback):
    """Draws the predictions of some test images next to their labels, under the figures of the test.

    Args:
        path: of the PNG.
        num_images: the first images of the split with enough labels.
        min_relations: labels an image needs to be shown.
        top: predictions shown per image.
        figures: names of the figures to print above, without the name of the stage.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        num_images: int = 12,
        min_relations: int = 2,
        top: int = 5,
        figures: Sequence[str] = ("map_full", "map_rare", "map_non_rare"),
    ) -> None:
        self.figures = tuple(figures)
        self.path = Path(path)
        self.num_images = num_images
        self.min_relations = min_relations
        self.top = top
        self._chosen: dict[int, PairPredictions] = {}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the images of an earlier test."""
        self._chosen = {}

    def on_test_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Mapping[str, Any],
        batch: RelationBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the predictions of the images to be drawn."""
        for row, annotation in enumerate(batch.annotations):
            if len(self._chosen) < self.num_images and len(annotation.relations) >= self.min_relations:
                self._chosen[int(batch.indices[row])] = outputs["predictions"][row].to("cpu")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draws and writes."""
        if not trainer.is_global_zero or not self._chosen:
            return
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        samples = [datamodule.datasets["test"][index] for index in self._chosen]
        valid = possible_pairs(datamodule.metric_arguments(), samples[0].label_space)
        contact_sheet(
            [sample.image for sample in samples],
            [
                distinct_triplets(predictions.top(100, sample.label_space, valid))
                for sample, predictions in zip(samples, self._chosen.values(), strict=True)
            ],
            [annotation_triplets(sample.annotation, sample.label_space) for sample in samples],
            self.path,
            scores=self._scores(trainer),
            top=self.top,
        )
        rank_zero_info(f"drawn predictions: {self.path}")

    def _scores(self, trainer: pl.Trainer) -> dict[str, float]:
        files = [callback for callback in trainer.callbacks if isinstance(callback, MetricsFile)]  # type: ignore[attr-defined]
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for file in files:
            values |= file.values
        return {name: value for name, value in values.items() if name.partition("/")[2] in self.figures}


def possible_pairs(arguments: Mapping[str, Any], label_space: LabelSpace) -> Float[Tensor, "r o"]:
    """1 where a metric counts a (relation, object), by the arguments it gets; all 1 if these tell nothing."""
    shape = (len(label_space.relations), len(label_space.objects))
    rows = arguments.get("hois")
    if rows is None and arguments.get("triplets") is not None:
        rows = arguments["triplets"][:, [1, 2]]
    if rows is None:
        return torch.ones(shape)
    valid = torch.zeros(shape)
    valid[torch.from_numpy(rows[:, 0]), torch.from_numpy(rows[:, 1])] = 1
    return valid


def distinct_triplets(triplets: Triplets) -> Triplets:
    """The triplets without repetitions of a better one: same names, both boxes nearly the same."""
    names = torch.stack([triplets.subject_labels, triplets.relation_labels, triplets.object_labels], 1)
    groups = torch.unique(names, dim=0, return_inverse=True)[1]
    keep = pairwise_nms(groups.numpy(), triplets.subject_boxes.numpy(), triplets.object_boxes.numpy(), threshold=0.5)
    rows = torch.from_numpy(keep).nonzero().flatten()
    return dataclasses.replace(
        triplets,
        **{
            field.name: getattr(triplets, field.name)[rows]
            for field in dataclasses.fields(triplets)
            if field.name != "label_space"
        },
    )
