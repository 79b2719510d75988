"""Data order and augmentation as pure functions of (seed, epoch, index), so that a run resumes exactly.

A run that was killed in the middle of an epoch continues with the batches it has not seen, augmented
as they would have been: nothing depends on how many random numbers were drawn before.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Int
from torch import Generator
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from rlipv2.datamodules.collate import relabel
from rlipv2.structures import LabelSpace, Sample
from rlipv2.transforms import Transform

T = TypeVar("T")
Key = tuple[int, int]
"""(index, epoch): what the sampler asks a dataset for."""


class EpochSampler(DistributedSampler[Key]):
    """Shuffles by (seed, epoch), deals whole batches to the ranks and can start inside an epoch.

    Batch k of the world is cut into one batch per rank, so two processes with batches of 4 train on
    the same images per step as one process with batches of 8, or with two accumulated batches of 4.
    Images that do not fill a whole optimiser step are left out of the epoch (official: drop_last).

    Args:
        size: number of images.
        batch_size: images per rank and batch.
        seed: of the permutations.
        num_replicas: number of ranks.
        rank: of this process.
        accumulate: batches per optimiser step.

    Raises:
        ValueError: fewer images than one optimiser step takes.
    """

    def __init__(
        self, size: int, *, batch_size: int, seed: int, num_replicas: int = 1, rank: int = 0, accumulate: int = 1
    ) -> None:
        # A DistributedSampler by type: Lightning replaces every other sampler under DDP.
        super().__init__(range(size), num_replicas, rank, seed=seed, drop_last=True)  # type: ignore[arg-type]
        step = batch_size * num_replicas * accumulate
        if size < step:
            raise ValueError(
                f"the training split has {size} images, but one optimiser step takes {step} (batch size {batch_size} "
                f"x {num_replicas} processes x {accumulate} accumulated batches); lower one of these"
            )
        self.batch_size = batch_size
        self.total_size = size // step * step
        self.num_samples = self.total_size // num_replicas
        self.first_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Selects the permutation; another epoch than the current one starts at its first batch."""
        if epoch != self.epoch:
            self.start(epoch, 0)

    def start(self, epoch: int, first_batch: int) -> None:
        """Lets the next iteration begin with batch `first_batch` of `epoch`."""
        self.epoch, self.first_batch = epoch, first_batch

    def order(self) -> Int[np.ndarray, " n"]:
        """The images of the epoch, of all ranks: world batch after world batch."""
        size = len(self.dataset)  # type: ignore[arg-type]
        return np.random.default_rng([self.seed, self.epoch]).permutation(size)[: self.total_size]

    def __iter__(self) -> Iterator[Key]:
        mine = self.order().reshape(-1, self.num_replicas, self.batch_size)[self.first_batch :, self.rank]
        return iter([(int(index), self.epoch) for index in mine.flat])


class AlternatingSampler(EpochSampler):
    """Takes whole batches, those of all ranks, from one corpus after the other, in a cycle.

    The first corpus of the cycle sets the length of an epoch: its images once. Of the others an epoch has as many
    batches as the cycle tells, other images in every epoch; a corpus with too few images for that is shuffled again
    when it has been seen. `accumulate` equal to the length of the cycle gives every optimiser step all corpora.

    Official: datasets/mixed_dataset.py, BatchIterativeDistributedSampler (`iterative_paradigm`), which no recipe
    uses. There the first corpus of the mixture sets the length, and a corpus with too few images gives no more.

    Args:
        sizes: images of each corpus, which stand one after the other in the dataset.
        cycle: numbers of the corpora that successive batches come from.
        place: arguments of `EpochSampler`.

    Raises:
        ValueError: fewer images of the first corpus than a cycle takes, or no images of another one.
    """

    def __init__(self, sizes: Sequence[int], cycle: Sequence[int], **place: int) -> None:
        world = place["batch_size"] * place.get("num_replicas", 1)
        cycles = sizes[cycle[0]] // (world * list(cycle).count(cycle[0]))
        if not cycles or not all(sizes[corpus] for corpus in cycle):
            raise ValueError(
                f"batches of {world} images cannot alternate between corpora of {[*sizes]} images in the cycle "
                f"{[*cycle]}: the first one of the cycle must fill its batches, no other may be empty"
            )
        super().__init__(cycles * len(cycle) * world, **place)
        self.sizes, self.cycle = tuple(sizes), tuple(cycle)

    def order(self) -> Int[np.ndarray, " n"]:
        """The images of the epoch, of all ranks: world batch after world batch."""
        world = self.batch_size * self.num_replicas
        turns = np.resize(self.cycle, self.total_size // world)  # corpus of each world batch
        starts = np.cumsum([0, *self.sizes])
        order = np.zeros((len(turns), world), np.int64)
        for corpus in set(self.cycle):
            generator = np.random.default_rng([self.seed, self.epoch, corpus])
            wanted = int((turns == corpus).sum()) * world
            rounds = -(-wanted // self.sizes[corpus])
            images = np.concatenate([generator.permutation(self.sizes[corpus]) for _ in range(rounds)])
            order[turns == corpus] = (starts[corpus] + images[:wanted]).reshape(-1, world)
        return order.flatten()


class ResumableLoader(DataLoader[T]):
    """A loader over an `EpochSampler` that tells and restores its place in the epoch.

    Lightning stores `state_dict()` in its checkpoints. The place is counted in batches handed out, not
    in batches that the workers have read ahead.
    """

    handed_out = 0

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]
        sampler = self.sampler
        if not isinstance(sampler, EpochSampler):  # Lightning's overfit_batches brings a sequential one
            yield from super().__iter__()
            return
        self.handed_out = sampler.first_batch
        for batch in super().__iter__():
            self.handed_out += 1
            yield batch
        sampler.first_batch = 0

    def state_dict(self) -> dict[str, int]:
        """The epoch and the number of its batches that were handed out."""
        sampler = self.sampler
        epoch = sampler.epoch if isinstance(sampler, EpochSampler) else 0
        return {"epoch": epoch, "batches": self.handed_out, "length": len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues after the stored batch.

        Raises:
            ValueError: the epoch has another number of batches than when the state was stored.
        """
        sampler = self.sampler
        if not isinstance(sampler, EpochSampler):
            return
        if state["length"] != len(self):
            raise ValueError(
                f"the checkpoint was written with {state['length']} batches per epoch and process, now there are "
                f"{len(self)}: resume with the data, batch size and number of processes of the run, or start a new "
                "run from its weights"
            )
        finished = state["batches"] >= state["length"]
        sampler.start(state["epoch"] + finished, 0 if finished else state["batches"])


class TransformedDataset(Dataset[tuple[int, Sample]]):
    """Applies a transform whose generator is seeded by (seed, epoch, index), and sets `Sample.draw` by the same.

    Args:
        dataset: map-style dataset of samples.
        transform: applied to every sample; None for none.
        seed: of the augmentation.
    """

    def __init__(self, dataset: Dataset[Sample], transform: Transform | None, seed: int = 0) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, key: int | Key) -> tuple[int, Sample]:
        index, epoch = key if isinstance(key, tuple) else (key, 0)
        entropy = np.random.SeedSequence([self.seed, epoch, index]).generate_state(2, np.uint64)
        sample = dataclasses.replace(self.dataset[index], draw=int(entropy[1]))
        if self.transform is not None:
            generator = Generator().manual_seed(int(entropy[0] >> np.uint64(1)))
            sample = self.transform(sample, generator)
        return index, sample


class CachedDataset(Dataset[Sample]):
    """Keeps every sample in memory as uint8, after a transform without randomness; for small datasets.

    With loader workers every worker fills its own copy: use num_workers=0.
    """

    def __init__(self, dataset: Dataset[Sample], transform: Transform | None = None) -> None:
        self.dataset = dataset
        self.transform = transform
        self.samples: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Sample:
        if index not in self.samples:
            sample = self.dataset[index]
            self.samples[index] = sample if self.transform is None else self.transform(sample)
        return self.samples[index]


class RelabelledDataset(Dataset[Sample]):
    """The same samples, with labels that count in another label space by name.

    Raises:
        KeyError: a label whose name the other label space lacks.
    """

    def __init__(self, dataset: Dataset[Sample], target: LabelSpace) -> None:
        self.dataset = dataset
        self.target = target

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Sample:
        return relabel(self.dataset[index], self.target)
