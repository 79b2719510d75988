"""One process and several must give the same scene-graph figures, however the images are spread over them."""

import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from rlipv2.metrics import OpenImagesSGG, TripletMAP
from tests.metrics.oi_cases import NUM_OBJECTS, NUM_RELATIONS, OpenImagesCase

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, so that torchmetrics is imported only once")

SPREADS = {
    # like a distributed sampler with one image repeated to fill up
    "interleaved": [np.arange(0, 80, 2), np.append(np.arange(1, 80, 2), 0)],
    "uneven": [np.arange(60), np.arange(50, 80)],
    "one without data": [np.arange(80), np.arange(0)],
    "one without update": [np.arange(80), None],
}
METRICS = {"open_images": OpenImagesSGG, "triplets": TripletMAP}
Metric = OpenImagesSGG | TripletMAP


def build(name: str, case: OpenImagesCase) -> Metric:
    return METRICS[name](triplets=case.triplets, num_objects=NUM_OBJECTS, num_relations=NUM_RELATIONS)


def update(metric: Metric, case: OpenImagesCase, images: np.ndarray, batch_size: int) -> None:
    for start in range(0, max(len(images), 1), batch_size):
        rows = images[start : start + batch_size]
        predictions, annotations = [case.predictions[row] for row in rows], [case.annotations[row] for row in rows]
        metric.update(predictions, annotations, torch.from_numpy(rows))


def work(rank: int, case: OpenImagesCase, spread: str, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for name in METRICS:
        metric, images = build(name, case), SPREADS[spread][rank]
        if images is not None:
            update(metric, case, images, batch_size=7 + 4 * rank)
        # the arrays first: they must gather on their own
        arrays = {key.replace("/", "."): values for key, values in metric.per_class().items()}
        np.savez(folder / f"{name}{rank}.npz", **arrays)
        torch.save({key: value.item() for key, value in metric.compute().items()}, folder / f"{name}{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("spread", SPREADS)
def test_two_processes_give_the_figures_of_one(oi_dev: OpenImagesCase, spread: str, tmp_path: Path) -> None:
    case = OpenImagesCase(oi_dev.images[:80], oi_dev.detections[:80], {})
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(rank, case, spread, tmp_path), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0, 0]
    for name in METRICS:
        metric = build(name, case)
        update(metric, case, np.arange(80), batch_size=16)
        expected = {key: value.item() for key, value in metric.compute().items()}
        for rank in range(2):
            assert torch.load(tmp_path / f"{name}{rank}.pt", weights_only=True) == expected
            with np.load(tmp_path / f"{name}{rank}.npz") as arrays:
                for key, values in metric.per_class().items():
                    np.testing.assert_array_equal(arrays[key.replace("/", ".")], values)
