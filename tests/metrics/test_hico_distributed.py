"""One process and several must give the same figures, however the images are spread over them."""

import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from rlipv2 import vocabularies
from rlipv2.metrics import HICODetMAP
from tests.metrics.hico_cases import SynthCase

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, so that torchmetrics is imported only once")

SPREADS = {
    # like a distributed sampler with one image repeated to fill up
    "interleaved": [np.arange(0, 120, 2), np.append(np.arange(1, 120, 2), 0)],
    "uneven": [np.arange(100), np.arange(95, 120)],
    "one without data": [np.arange(120), np.arange(0)],
    "one without update": [np.arange(120), None],
}


def update(metric: HICODetMAP, synth: SynthCase, images: np.ndarray, batch_size: int) -> None:
    for start in range(0, max(len(images), 1), batch_size):
        rows = images[start : start + batch_size]
        predictions, annotations = [synth.predictions[row] for row in rows], [synth.annotations[row] for row in rows]
        metric.update(predictions, annotations, torch.from_numpy(rows))


def work(rank: int, synth: SynthCase, images: np.ndarray | None, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    metric = HICODetMAP.from_vocabulary(vocabularies.load("hico"), split="uc_nf")
    if images is not None:
        update(metric, synth, images, batch_size=7 + 4 * rank)
    values = {key: value.item() for key, value in metric.compute().items()}
    arrays = metric.per_class()
    torch.save(values, folder / f"values{rank}.pt")
    np.savez(folder / f"arrays{rank}.npz", **{key.replace("/", "."): array for key, array in arrays.items()})
    dist.destroy_process_group()


@pytest.mark.parametrize("spread", SPREADS)
def test_two_processes_give_the_figures_of_one(synth: SynthCase, spread: str, tmp_path: Path) -> None:
    metric = HICODetMAP.from_vocabulary(vocabularies.load("hico"), split="uc_nf")
    update(metric, synth, np.arange(120), batch_size=16)
    expected = {key: value.item() for key, value in metric.compute().items()}
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=work, args=(rank, synth, images, tmp_path), daemon=True)
        for rank, images in enumerate(SPREADS[spread])
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0, 0]
    for rank in range(2):
        assert torch.load(tmp_path / f"values{rank}.pt", weights_only=True) == pytest.approx(expected, abs=1e-9)
        with np.load(tmp_path / f"arrays{rank}.npz") as arrays:
            np.testing.assert_array_equal(arrays["ap"], metric.per_class()["ap"])
