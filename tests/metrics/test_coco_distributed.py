"""One process and two must give the same figures, however the images are spread over them."""

import multiprocessing
import os
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.metrics.coco_cases import case
from tests.metrics.test_coco_metric import batch, metric

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, so that torchmetrics is imported only once")

SPREADS = {"one repeated": [[0, 2, 4], [1, 3, 0]], "one without data": [[0, 1, 2, 3, 4], []]}


def work(rank: int, rows: list[int], folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    truth, detections = case(11, images=5)
    measured = metric(truth)
    for row in rows:
        measured.update(*batch(truth, detections, [row]))
    torch.save({name: float(value) for name, value in measured.compute().items()}, folder / f"values{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("spread", SPREADS)
def test_two_processes_give_the_figures_of_one(spread: str, tmp_path: Path) -> None:
    truth, detections = case(11, images=5)
    alone = metric(truth)
    alone.update(*batch(truth, detections, [0, 1, 2, 3, 4]))
    expected = {name: float(value) for name, value in alone.compute().items()}
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=work, args=(rank, rows, tmp_path), daemon=True)
        for rank, rows in enumerate(SPREADS[spread])
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
        values = torch.load(tmp_path / f"values{rank}.pt", weights_only=True)
        assert values == pytest.approx(expected, abs=1e-9, nan_ok=True)
