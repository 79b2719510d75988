import random
import resource
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import DataLoader, Dataset

from rlipv2.datamodules import workers
from rlipv2.datamodules.base import RelationDataModule
from rlipv2.datamodules.workers import keep_memory


def faults_of_images(results):
    """How many pages were asked for while one image after the other was made."""
    keep_memory(3)
    for _ in range(3):
        torch.ones(6 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(6 << 20)  # 24 MB
    results.put(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


class Draws(Dataset):
    """What the global generators give."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return [random.random(), float(np.random.random()), float(torch.rand(()))]


@pytest.mark.parametrize("rank", [0, 1])
def test_workers_draw_other_numbers_on_every_rank_and_the_same_again(rank, monkeypatch):
    def drawn(rank):
        monkeypatch.setattr(rank_zero_only, "rank", rank)
        arguments = RelationDataModule(num_workers=2)._loader_arguments()
        return list(DataLoader(Draws(), batch_size=None, **arguments))

    first, second = mine = drawn(rank)
    others = drawn(1 - rank)
    assert drawn(rank) == mine
    numbers = [*first, *second, *others[0], *others[1]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.skipif(workers.sys.platform != "linux", reason="settings of glibc")
def test_workers_use_the_memory_of_the_last_image_again():
    context = get_context("fork")
    results = context.Queue()
    process = context.Process(target=faults_of_images, args=(results,))
    process.start()
    assert results.get(timeout=60) < 20 * 6144 / 4  # an image has 6,144 pages
    process.join()


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(workers.sys, "platform", "darwin")
    monkeypatch.setattr(workers.ctypes, "CDLL", lambda name: pytest.fail("not asked for"))
    keep_memory()


def test_limits_that_are_refused_do_not_matter(monkeypatch):
    class Library:
        def mallopt(self, setting, size):
            return 0

    monkeypatch.setattr(workers.sys, "platform", "linux")
    monkeypatch.setattr(workers.ctypes, "CDLL", lambda name: Library())
    keep_memory()
