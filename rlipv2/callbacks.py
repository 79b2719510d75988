"""What happens beside training: batch-size bookkeeping, random states, files written at the end."""

import dataclasses
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from rlipv2.ops.files import write_atomically
from rlipv2.ops.nms import pairwise_nms
from rlipv2.structures import Annotation, LabelSpace, PairPredictions, RelationBatch, Triplets
from rlipv2.visualize import annotation_triplets, contact_sheet


class EffectiveBatchSize(pl.Callback):
    """Accumulates as many batches as a total batch needs, and prints the arithmetic at the start.

    Rule: total = batch size x processes x accumulated batches. The experiment says the total; the batch
    size is what fits a device; the number of accumulated batches follows. Losses are normalised within
    each batch, as officially within each GPU.

    Args:
        total: images per optimiser step; None takes batch size and accumulation as they are given.

    Raises:
        ValueError: from `setup`, if the total cannot be made up exactly.
    """

    def __init__(self, total: int | None = None) -> None:
        self.total = total

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Sets `trainer.accumulate_grad_batches` before the optimiser is built."""
        batch_size = getattr(trainer.datamodule, "batch_size", None)  # type: ignore[attr-defined]
        if stage != "fit" or batch_size is None:
            return
        at_once = batch_size * trainer.world_size
        if self.total is not None:
            given = trainer.accumulate_grad_batches
            if self.total % at_once or given not in (1, self.total // at_once):
                raise ValueError(
                    f"total_batch_size={self.total} cannot be made of data.batch_size={batch_size} x "
                    f"{trainer.world_size} processes x trainer.accumulate_grad_batches={given}; choose a batch size "
                    f"that divides {self.total} / {trainer.world_size} and leave the accumulation at 1 (it is "
                    "derived), or set total_batch_size=null to take the numbers as they are"
                )
            trainer.accumulate_grad_batches = self.total // at_once
        accumulate = trainer.accumulate_grad_batches
        rank_zero_info(
            f"effective batch size: {at_once * accumulate} images per optimiser step "
            f"({batch_size} per process x {trainer.world_size} processes x {accumulate} accumulated)"
        )


class RandomState(pl.Callback):
    """Keeps the state of all random generators, of every process, in checkpoints and restores it.

    Together with the resumable loader this makes a resumed run equal to one that was never stopped.
    """

    def __init__(self) -> None:
        self._states: list[dict[str, Any]] | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gives every process its own stream of random numbers, seed + rank as officially.

        All processes have built the same weights before, from the same seed.
        """
        if trainer.global_rank > 0:
            seed = torch.initial_seed() + trainer.global_rank
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Collects the states of all processes."""
        states: list[Any] = [random_state()]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, random_state())
        checkpoint["random_states"] = states

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remembers the states until training starts."""
        self._states = checkpoint.get("random_states")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restores the state of this process right before its first step."""
        states, self._states = self._states, None
        if states is None:
            return
        if len(states) != trainer.world_size:
            rank_zero_warn(
                f"the checkpoint was written by {len(states)} processes, now there are {trainer.world_size}: random "
                "states are not restored, the run continues with other dropout masks"
            )
            return
        set_random_state(states[trainer.global_rank])


def random_state() -> dict[str, Any]:
    """The states of Python, NumPy, torch and this process' GPU, as tensors and plain values."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state = {
        "python": list(random.getstate()[1]),
        "numpy": [str(kind), np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restores what `random_state` gave."""
    random.setstate((3, tuple(state["python"]), None))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


class LoggerIds(pl.Callback):
    """Writes the W&B run id into checkpoints; train.py hands it to the logger of a resumed run."""

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds `logger_ids`; loggers without a version of their own are left out."""
        versions = [logger.version for logger in trainer.loggers if type(logger).__name__ == "WandbLogger"]
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


Baseline = Callable[[], tuple[list[PairPredictions], list[Annotation], dict[str, Any]]]
"""Predictions and labels of a whole test split, and the arguments of the metric that fits them."""


class MetricsFile(pl.Callback):
    """Writes the metrics of a test, what they compare with and the time all took, as one flat JSON object.

    Args:
        path: the file.
        untrained: also evaluate the model on the test split before training, as `untrained/...`.
        baselines: by name, evaluated with the task's metrics; `NAME/map_full` and so on.
    """

    def __init__(
        self, path: str | Path, *, untrained: bool = False, baselines: Mapping[str, Baseline] | None = None
    ) -> None:
        self.path = Path(path)
        self.untrained = untrained
        self.baselines = dict(baselines or {})
        self.values: dict[str, float] = {}
        self._created = self._started = time.perf_counter()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluates the untrained model and starts the clock of training."""
        self.values["seconds/generate"] = getattr(trainer.datamodule, "prepare_seconds", 0.0)  # type: ignore[attr-defined]
        if self.untrained and trainer.ckpt_path is None:
            self._keep("untrained", evaluate(pl_module, trainer.datamodule))  # type: ignore[attr-defined]
        self._started = time.perf_counter()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops the clock."""
        self.values["seconds/train"] = time.perf_counter() - self._started

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluates the baselines and starts the clock of testing."""
        for name, baseline in self.baselines.items():
            predictions, annotations, arguments = baseline()
            builders: Mapping[str, Any] = pl_module.metric_builders  # type: ignore[assignment]
            for build in builders.values():
                metric = build(**arguments)
                metric.update(predictions, annotations)
                self._keep(name, metric.compute())
        self._started = time.perf_counter()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the file."""
        self.values["seconds/evaluate"] = time.perf_counter() - self._started
        self.values["seconds/total"] = time.perf_counter() - self._created
        self.values |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        if trainer.is_global_zero:
            write_json(self.path, self.values)

    def _keep(self, name: str, figures: Mapping[str, Tensor]) -> None:
        self.values |= {f"{name}/{key}": float(value) for key, value in figures.items()}
        if "map_full" in figures:
            rank_zero_info(f"{name}: mAP {float(figures['map_full']):.3f}")


@torch.inference_mode()
def evaluate(task: Any, datamodule: Any) -> dict[str, Tensor]:
    """The metrics of a task on the test split, outside of any loop; logs nothing."""
    datamodule.setup("test")
    metrics = task.metrics.clone()
    metrics.reset()
    task.eval()
    for batch in datamodule.test_dataloader():
        task.update_metrics(metrics, task.predict_step(batch.to(task.device), 0), batch)
    task.train()
    return dict(metrics.compute())


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


def write_json(path: Path, values: Mapping[str, float]) -> None:
    """Writes numbers as a flat JSON object; NaN becomes null."""
    plain = {name: None if value != value else value for name, value in values.items()}
    write_atomically(path, json.dumps(plain, indent=1, sort_keys=True) + "\n")
