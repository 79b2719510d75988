"""`trainer.precision=bf16-mixed` on one small step of every task."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.fakes import write_hico
from tests.fakes_detection import write_detection
from tests.fakes_vg import write_vg
from tests.tasks import test_detection, test_object_detection, test_tagging_task


def relation_detector(folder: Path):
    return test_detection.build(write_hico(folder, num_train=4, num_test=2))


def tagger(folder: Path):
    return test_tagging_task.build(write_vg(folder))


def object_detector(folder: Path):
    return test_object_detection.build(write_detection(folder), "model=object_detector", "data=coco_detection")


@pytest.mark.parametrize("build", [relation_detector, tagger, object_detector])
def test_bfloat16_trains_like_float32(tmp_path: Path, build: Callable) -> None:
    logged = {}
    for precision in ("32-true", "bf16-mixed"):
        task, data = build(tmp_path / precision)
        trainer = test_detection.trainer(
            precision=precision, max_steps=-1, max_epochs=1, limit_train_batches=1, limit_val_batches=1
        )
        trainer.fit(task, datamodule=data)
        logged[precision] = {name: float(value) for name, value in trainer.callback_metrics.items() if "loss" in name}
        assert all(torch.isfinite(weight).all() for weight in task.parameters())
        assert {weight.dtype for weight in task.parameters()} == {torch.float32}
    assert {"train/loss", "val/loss"} <= logged["32-true"].keys()
    assert logged["bf16-mixed"] != logged["32-true"]
    assert logged["bf16-mixed"] == pytest.approx(logged["32-true"], rel=0.05, abs=0.02)
