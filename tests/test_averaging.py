"""`callbacks=ema`: what is averaged, evaluated, written and resumed."""

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import train
from rlipv2.callbacks import AveragedWeights
from rlipv2.checkpoints import read_state
from rlipv2.structures import LabelSpace
from tests.models import tiny
from tests.test_train import (
    EVERY_STEP,
    RANDOM,
    arguments,
    configured,
    hico,  # noqa: F401  a fixture
    losses,
    newest,
    run,
)

DECAY = 0.6
STEPS = 4
SHORT = [*RANDOM, "trainer.max_epochs=2", "trainer.limit_test_batches=1"]
EMA = ["callbacks=ema", f"callbacks.ema.decay={DECAY}"]


def checkpoint(folder: Path, name: str = "last") -> dict:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def differences(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    assert first.keys() == second.keys()
    return {name for name, value in first.items() if not torch.equal(value, second[name])}


@pytest.fixture(scope="module")
def plain(hico: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """Two epochs of two optimiser steps."""
    folder = tmp_path_factory.mktemp("plain")
    train.run(configured(hico, folder, *SHORT, *EVERY_STEP))
    return folder


@pytest.fixture(scope="module")
def averaged(hico: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The same with averaged weights, and a test."""
    folder = tmp_path_factory.mktemp("averaged")
    train.run(configured(hico, folder, *SHORT, *EMA, *EVERY_STEP, "test=true"))
    return folder


def test_checkpoints_hold_the_average_and_the_weights_of_the_step(averaged: Path, plain: Path) -> None:
    assert losses(averaged) == losses(plain)  # averaging does not touch training
    average: dict[str, Tensor] = {}
    for step in range(1, STEPS + 1):
        raw = checkpoint(plain, f"step{step}")["state_dict"]
        written = checkpoint(averaged, f"step{step}")
        assert not differences(written["current_model_state"], raw)
        average = {
            name: value if step == 1 or not value.is_floating_point() else DECAY * average[name] + (1 - DECAY) * value
            for name, value in raw.items()
        }
        torch.testing.assert_close(written["state_dict"], average, rtol=1e-5, atol=1e-7)
    assert differences(average, raw)


def test_the_weight_folder_and_the_test_have_the_average(hico: Path, averaged: Path, tmp_path: Path) -> None:  # noqa: F811
    trained = {name.removeprefix("detector."): v for name, v in checkpoint(averaged)["state_dict"].items()}
    folder = read_state(averaged / "weights")
    assert not differences({name: trained[name] for name in folder}, folder)
    again = ["train=false", "test=true", f"model.init={averaged / 'weights'}"]
    train.run(configured(hico, tmp_path, *SHORT, *again))
    first, second = (json.loads((path / "metrics.json").read_text()) for path in (averaged, tmp_path))
    figures = [name for name in second if name.startswith("test/")]
    assert figures
    assert {name: first[name] for name in figures} == pytest.approx({name: second[name] for name in figures}, rel=1e-6)


def test_validation_sees_the_average(averaged: Path, plain: Path) -> None:
    def validated(folder: Path) -> list[float]:
        rows = csv.DictReader((folder / "csv/metrics.csv").open())
        return [float(row["val/loss"]) for row in rows if row.get("val/loss")]

    assert len(validated(averaged)) == 1
    assert validated(averaged) != pytest.approx(validated(plain), rel=1e-4)
    # the same images with the weights that training ends with
    assert validated(averaged) == pytest.approx([json.loads((averaged / "metrics.json").read_text())["test/loss"]])


def test_a_resumed_run_ends_with_the_same_average(hico: Path, averaged: Path, tmp_path: Path) -> None:  # noqa: F811
    train.run(configured(hico, tmp_path, *SHORT, *EMA, f"ckpt_path={averaged}/checkpoints/step1.ckpt"))
    assert losses(tmp_path) == {key: value for key, value in losses(averaged).items() if key >= 1}
    resumed, whole = checkpoint(tmp_path), checkpoint(averaged)
    for part in ("state_dict", "current_model_state", "averaging_state"):
        assert not differences(resumed[part], whole[part])


def test_averaged_weights_are_not_trained_on_without_an_average(hico: Path, averaged: Path, tmp_path: Path) -> None:  # noqa: F811
    begun = f"ckpt_path={averaged}/checkpoints/step1.ckpt"
    with pytest.raises(ValueError, match=r"step1.ckpt: the run that wrote this checkpoint averages its weights: add"):
        train.run(configured(hico, tmp_path, *SHORT, begun))
    train.run(configured(hico, tmp_path, *SHORT, begun, "train=false", "test=true"))


def test_a_checkpoint_without_average_starts_one(hico: Path, plain: Path, tmp_path: Path) -> None:  # noqa: F811
    begun = plain / "checkpoints/step3.ckpt"
    train.run(configured(hico, tmp_path, *SHORT, *EMA, f"ckpt_path={begun}"))
    written, last = checkpoint(tmp_path), checkpoint(plain)["state_dict"]
    assert not differences(written["current_model_state"], last)
    assert not differences(written["state_dict"], last)  # the first of its steps


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5])
def test_decays_that_average_nothing_are_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=rf"decay={decay}: expected a number between 0 and 1"):
        AveragedWeights(decay)


def test_kept_text_features_do_not_outlive_training() -> None:
    """Neither fused optimisers nor averaging count the versions of tensors, and Lightning sets modes by attribute."""
    detector, words = tiny.detector().eval(), LabelSpace(("person", "dog"), ("hold",))

    def encoded() -> Tensor:
        with torch.no_grad():
            return detector.encode_texts(words).pooled

    before = encoded()
    for module in detector.modules():
        module.training = True
    detector.encode_texts(words)
    for weight in detector.text_encoder.parameters():
        weight.data.copy_(weight.data * 1.5)
    for module in detector.modules():
        module.training = False
    assert not torch.equal(encoded(), before)


@pytest.mark.slow
def test_two_processes_write_the_average_of_one(hico: Path, averaged: Path, tmp_path: Path) -> None:  # noqa: F811
    two = arguments(hico, tmp_path, *SHORT, *EMA, "trainer=ddp_sim", "data.batch_size=1", "name=two")
    done = run("train.py", *two, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = checkpoint(newest(tmp_path / "two"))
    assert int(written["averaging_state"]["n_averaged"]) == STEPS
    assert differences(written["state_dict"], written["current_model_state"])
    folder = read_state(newest(tmp_path / "two") / "weights")
    trained = {name.removeprefix("detector."): value for name, value in written["state_dict"].items()}
    assert not differences({name: trained[name] for name in folder}, folder)
