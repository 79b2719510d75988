"""Loaders shared by all relation data modules: resumable shuffling in training, file order in evaluation."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from rlipv2 import transforms
from rlipv2.datamodules.collate import collate
from rlipv2.datamodules.resumable import CachedDataset, EpochSampler, ResumableLoader, TransformedDataset
from rlipv2.datamodules.workers import start_worker
from rlipv2.structures import RelationBatch, Sample

BatchBuilder = Callable[[Sequence[tuple[int, Sample]]], RelationBatch]


class RelationDataModule(pl.LightningDataModule):
    """Turns the datasets of a subclass into loaders of `RelationBatch`.

    A subclass implements `load_datasets` and `metric_arguments`. Training batches are shuffled by
    (seed, epoch), augmented by (seed, epoch, index), and the last incomplete optimiser step of an epoch
    is dropped. Evaluation runs in file order over all images.

    Args:
        batch_size: images per process in training.
        eval_batch_size: images per process in evaluation; None for the same.
        num_workers: loader processes per process, 0 for none.
        pin_memory: page-locked batches, for faster copies to a GPU.
        train_transform: augmentation; None for the official recipe.
        eval_transform: None for the official recipe. Must leave annotations in original pixels.
        seed: of shuffling and augmentation.
        subject_label: label that training gives to every subject (None: its own); official HICO-DET
            fine-tuning uses 1.
        cache: keep all images in memory, decoded and after `cache_transform`; for small datasets,
            without workers.
        cache_transform: deterministic part of the training transform, applied once, such as a `Resize`.
        prepare: called by `prepare_data` once per machine, to generate or convert the data on first use.
    """

    def __init__(
        self,
        *,
        batch_size: int = 4,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        pin_memory: bool = False,
        train_transform: transforms.Transform | None = None,
        eval_transform: transforms.Transform | None = None,
        seed: int = 42,
        subject_label: int | None = None,
        cache: bool = False,
        cache_transform: transforms.Transform | None = None,
        prepare: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__()
        if cache and num_workers > 0:
            raise ValueError(f"cache=True with num_workers={num_workers}: every worker would keep its own copy; set 0")
        self.batch_size = batch_size
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.train_transform = train_transform or transforms.train_transform()
        self.eval_transform = eval_transform or transforms.eval_transform()
        self.seed = seed
        self.subject_label = subject_label
        self.cache = cache
        self.cache_transform = cache_transform
        self.prepare = prepare
        self.datasets: dict[str, Dataset[Sample]] = {}
        self._cached: dict[int, Dataset[Any]] = {}
        self.prepare_seconds = 0.0
        self._train_loader: ResumableLoader[RelationBatch] | None = None
        self._place: dict[str, int] | None = None

    def load_datasets(self, stage: str) -> Mapping[str, Dataset[Sample]]:
        """The datasets "train", "val", "test" that a stage ("fit", "validate", "test", "predict") needs."""
        raise NotImplementedError

    def metric_arguments(self) -> dict[str, Any]:
        """What the dataset knows and its metric must be told, by constructor argument; after `setup`."""
        raise NotImplementedError

    def batch_builder(self, *, training: bool) -> BatchBuilder:
        """What makes a batch of (position, sample) items; a subclass may choose labels and targets otherwise.

        Must be a pure function of the items (`Sample.draw` for random choices), so that a run resumes exactly, and
        picklable, as loader workers call it.
        """
        return partial(collate, boxes_in="image" if training else "original", subject_label=self.subject_label)

    def train_sampler(self, size: int, **place: int) -> EpochSampler:
        """The order of the training images; a subclass may choose another than at random. Arguments: `EpochSampler`."""
        return EpochSampler(size, **place)

    def require_data(self) -> None:
        """Checks that the data can be found, before anything expensive is built; nothing to check by default."""

    def prepare_data(self) -> None:
        """Generates or converts the data if it is not there yet; one process per machine."""
        started = time.perf_counter()
        if self.prepare is not None:
            self.prepare()
        # called again before every test, when the data is there already
        self.prepare_seconds = max(self.prepare_seconds, time.perf_counter() - started)

    def setup(self, stage: str) -> None:
        """Reads the annotations that a stage needs."""
        needed = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}[stage]
        if any(name not in self.datasets for name in needed):
            self.datasets.update(self.load_datasets(stage))

    def train_dataloader(self) -> DataLoader[RelationBatch]:
        """Shuffled, augmented, resumable inside an epoch."""
        dataset = self.datasets["train"]
        if self.cache:
            dataset = CachedDataset(dataset, self.cache_transform)
        trainer = self.trainer
        sampler = self.train_sampler(
            len(dataset),  # type: ignore[arg-type]
            batch_size=self.batch_size,
            seed=self.seed,
            num_replicas=trainer.world_size if trainer else 1,
            rank=trainer.global_rank if trainer else 0,
            accumulate=trainer.accumulate_grad_batches if trainer else 1,
        )
        sampler.set_epoch(trainer.current_epoch if trainer else 0)
        self._train_loader = ResumableLoader(
            TransformedDataset(dataset, self.train_transform, self.seed),  # type: ignore[arg-type]
            batch_size=self.batch_size,
            sampler=sampler,
            collate_fn=self.batch_builder(training=True),
            drop_last=True,
            **self._loader_arguments(),
        )
        if self._place is not None and trainer is not None and trainer.ckpt_path is not None:
            self._train_loader.load_state_dict(self._place)
        self._place = None
        return self._train_loader

    def state_dict(self) -> dict[str, Any]:
        """The place in the epoch; part of every checkpoint."""
        return {} if self._train_loader is None else {"train_loader": self._train_loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lets the next training loader continue at the stored place.

        Lightning would restore the loader itself, but not if the loader was asked for its length before.
        """
        self._place = state_dict.get("train_loader")

    def val_dataloader(self) -> DataLoader[RelationBatch]:
        """The validation split in file order."""
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader[RelationBatch]:
        """The test split in file order."""
        return self._eval_loader("test")

    def predict_dataloader(self) -> DataLoader[RelationBatch]:
        """The test split in file order."""
        return self._eval_loader("test")

    def _eval_loader(self, name: str) -> DataLoader[RelationBatch]:
        dataset: Dataset[Any] = TransformedDataset(self.datasets[name], self.eval_transform, self.seed)
        if self.cache:  # validation and test split are often the same dataset, kept once
            dataset = self._cached.setdefault(id(self.datasets[name]), CachedDataset(dataset))
        return DataLoader(
            dataset,
            batch_size=self.eval_batch_size,
            shuffle=False,
            collate_fn=self.batch_builder(training=False),
            **self._loader_arguments(),
        )

    def _loader_arguments(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "pin_memory": self.pin_memory,
            # with a generator of its own a loader leaves the global random state alone
            "generator": torch.Generator().manual_seed(self.seed),
            "persistent_workers": self.num_workers > 0,
            "worker_init_fn": start_worker,
        }
