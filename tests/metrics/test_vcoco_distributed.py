"""One process and several must give the same V-COCO figures, however the images are spread over them."""

import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from rlipv2.metrics import VCOCORoleAP
from tests.metrics.vcoco_cases import DevCase

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, so that torchmetrics is imported only once")

SPREADS = {
    # like a distributed sampler with one image repeated to fill up
    "interleaved": [np.arange(0, 40, 2), np.append(np.arange(1, 40, 2), 0)],
    "uneven": [np.arange(30), np.arange(29, 40)],
    "one without data": [np.arange(40), np.arange(0)],
    "one without update": [np.arange(40), None],
}


def work(rank: int, case: DevCase, images: np.ndarray | None, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    metric = VCOCORoleAP(ground_truth=case.truth) if images is None else case.run(5 + 4 * rank, images)
    values = {key: value.item() for key, value in metric.compute().items()}
    torch.save(values | metric.counts(), folder / f"values{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("spread", SPREADS)
def test_two_processes_give_the_figures_of_one(vcoco_few: DevCase, spread: str, tmp_path: Path) -> None:
    metric = vcoco_few.run()
    expected = {key: value.item() for key, value in metric.compute().items()} | metric.counts()
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=work, args=(rank, vcoco_few, images, tmp_path), daemon=True)
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
        assert torch.load(tmp_path / f"values{rank}.pt", weights_only=True) == pytest.approx(expected, abs=1e-12)
