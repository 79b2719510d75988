"""Stages of a network, on all processes of a Lightning trainer."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import hydra
import pytorch_lightning as pl

from rlipv2.callbacks import UnitWriter
from rlipv2.datamodules.pseudo_labels import CaptioningDataModule, TaggingDataModule
from rlipv2.labelling.inputs import Inputs, plain
from rlipv2.labelling.processes import FIRST, launched
from rlipv2.labelling.settings import LOADING, SIZES, encode_dtype
from rlipv2.models import RelationTagger
from rlipv2.pseudo_labels import stages
from rlipv2.pseudo_labels.plan import Plan
from rlipv2.pseudo_labels.progress import Progress
from rlipv2.pseudo_labels.workers import pending
from rlipv2.tasks.captioning import CaptioningTask
from rlipv2.tasks.pair_tagging import PairTaggingTask

Choose = Callable[[int, int], Iterator[int]]
"""The units that a process has to make: called with its rank and their number."""


class NetworkStage:
    """Runs a stage of a network over the units that are not complete.

    Args:
        stage: "caption" or "tag".
        inputs: of the run.
        plan: of the run.
        units: all units of a process, called with its rank and the number of processes.
        progress: a new one of a process, called likewise.
    """

    def __init__(
        self,
        stage: str,
        inputs: Inputs,
        plan: Plan,
        *,
        units: Callable[[int, int], list[int]],
        progress: Callable[[int, int], Progress],
    ) -> None:
        self.stage, self.inputs, self.plan = stage, inputs, plan
        self.units, self.new_progress = units, progress
        self.folder = plan.folder(stage)

    def run(self, place: tuple[int, int]) -> tuple[int, int]:
        """Makes the units, and returns which process this was, and of how many, once the trainer knows it."""
        self.folder.prepare()
        if not launched():
            progress = self.new_progress(0, 1)
            if next(self._incomplete(0, 1, progress), None) is None:
                progress.close()
                return place  # without building the network
            os.environ[FIRST] = self.stage
        self.progress = self.new_progress(*place)  # of this process, once the trainer told which one it is
        config = self.inputs.config
        trainer: pl.Trainer = hydra.utils.instantiate(
            config.trainer,
            callbacks=[UnitWriter(self._write)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,
        )
        pl.seed_everything(config.seed, verbose=False)
        task, datamodule = (self._captioning if self.stage == "caption" else self._tagging)()
        trainer.predict(task, datamodule=datamodule, return_predictions=False)
        self.progress.close()
        trainer.strategy.barrier()
        return trainer.global_rank, trainer.world_size

    def _incomplete(self, rank: int, ranks: int, progress: Progress) -> Iterator[int]:
        retry = self.inputs.config.retry_failures
        return pending(self.folder, self.units(rank, ranks), progress, retry_failures=retry)

    def _choose(self, rank: int, ranks: int) -> Iterator[int]:
        self.progress = self.new_progress(rank, ranks)
        return self._incomplete(rank, ranks, self.progress)

    def _write(
        self, unit: int, results: Any, failures: Any, counts: Any, *, made_from: str | None, seconds: float
    ) -> None:
        positions = self.plan.images_of(unit)
        make = stages.captioned if self.stage == "caption" else stages.tagged
        result = make(self.inputs.images.read(positions), results, failures, counts)
        self.folder.write(unit, result, images=len(positions), made_from=made_from, seconds=seconds)
        self.progress.add(self.folder.record(unit), made=True)

    def _captioning(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        config = self.inputs.config
        new_data = partial(CaptioningDataModule, self.plan, self.inputs.images, self._choose, seed=config.seed)
        data = new_data(**plain(config.captioning))
        return CaptioningTask(hydra.utils.instantiate(config.captioner)), data

    def _tagging(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        config, images = self.inputs.config, self.inputs.images
        options = {**plain(config.tagger), "encode_dtype": encode_dtype(config)}
        tagger = RelationTagger.from_pretrained(options.pop("init"))
        loading = {name: options.pop(name) for name in (*LOADING, *SIZES)}
        data = TaggingDataModule(self.plan, images, self._choose, seed=config.seed, **loading)
        return PairTaggingTask(tagger, class_names=images.names, mode=config.mode, **options), data
