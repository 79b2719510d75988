"""The entry points on a miniature HICO-DET: one batch of everything, resuming, two processes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import train
from rlipv2.models import RelationDetector
from tests.fakes import Pair, Scene, write_hico

ROOT = Path(__file__).parents[1]
SMALL = [
    "backbone=tiny",
    "trainer=cpu",
    "data.num_workers=0",
    "data.batch_size=2",
    "total_batch_size=2",
    "num_pairs=6",
    "model.init=null",
    "+data.train_transform.short_sides=[64]",
    "+data.train_transform.crop_short_sides=null",
    "+data.eval_transform.short_side=64",
    "trainer.log_every_n_steps=1",
    "trainer.num_sanity_val_steps=0",
    "trainer.enable_progress_bar=false",
    "print_config=false",
    "callbacks.progress_bar=null",
    "callbacks.model_summary=null",
    "model.detector.encoder.fusion_dim=32",
]


def even_scenes(split, count):
    """Every image has two pairs with one relation each: means over images equal means over batches."""
    generator = np.random.default_rng(split == "test")
    scenes = []
    for number in range(1, count + 1):
        scene = Scene(f"HICO_{split}2015_{number:08d}.jpg", (48, 64))
        for x in (0, 14):
            width, height = (int(value) for value in generator.integers(6, 12, 2))
            target = (x + 2, 22, x + 2 + width, 22 + height)
            scene.pairs.append(Pair(int(generator.integers(0, 600)), (x, 2, x + 11, 20), target))
        scenes.append(scene)
    return scenes


@pytest.fixture(scope="module")
def hico(tmp_path_factory):
    scenes = {"train": even_scenes("train", 8), "test": even_scenes("test", 5)}
    return write_hico(tmp_path_factory.mktemp("hico"), scenes=scenes)


def arguments(hico, output, *overrides, experiment="hico_full"):
    paths = [f"paths.hico={hico}", f"paths.logs={output}"]
    return [f"experiment={experiment}", *SMALL, *paths, *overrides]


def configured(hico, output, *overrides, experiment="hico_full"):
    """What train.py composes for these arguments; its output folder is `output`."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides=arguments(hico, output, *overrides, experiment=experiment))
    OmegaConf.update(config, "paths.output", str(output))
    return config


def losses(folder):
    """Training loss by optimiser step, from the CSV logger."""
    rows = csv.DictReader((Path(folder) / "csv" / "metrics.csv").open())
    return {int(row["step"]): float(row["train/loss"]) for row in rows if row.get("train/loss")}


def test_fast_dev_run_of_an_experiment(hico, tmp_path):
    value = train.run(configured(hico, tmp_path, "debug=fdr", "optimized_metric=test/map_full"))
    assert value is not None
    assert 0 <= value <= 1


def test_training_writes_metrics_weights_and_checkpoints(hico, tmp_path):
    train.run(configured(hico, tmp_path, "trainer.max_epochs=1", "model.lr=null"))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"test/map_full", "test/loss", "seconds/train", "seconds/evaluate"} <= metrics.keys()
    assert len(losses(tmp_path)) == 4
    for name in ("last", "best"):
        checkpoint = torch.load(tmp_path / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert checkpoint["hyper_parameters"] == {"lr": None, "init": None}
    detector = RelationDetector.from_pretrained(tmp_path / "weights")
    trained = {key.removeprefix("detector."): value for key, value in checkpoint["state_dict"].items()}
    assert detector.state_dict().keys() == trained.keys()
    assert len(detector.label_space.objects) == 80


def test_weight_folder_evaluates_to_the_same_metrics(hico, tmp_path):
    train.run(configured(hico, tmp_path / "a", "trainer.max_epochs=1"))
    config = configured(hico, tmp_path / "b", "train=false", f"model.init={tmp_path / 'a' / 'weights'}")
    train.run(config)
    first, second = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in "ab")
    for name, value in second.items():
        if name.startswith("test/"):
            assert first[name] == pytest.approx(value, rel=1e-6), name


def test_checkpoint_evaluates_to_the_same_metrics(hico, tmp_path):
    train.run(configured(hico, tmp_path / "a", "trainer.max_epochs=1"))
    checkpoint = tmp_path / "a" / "checkpoints" / "last.ckpt"
    # the weights that a run began with are not needed any more
    train.run(configured(hico, tmp_path / "b", "train=false", f"ckpt_path={checkpoint}", "model.init=run:gone"))
    first, second = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in "ab")
    assert {k: v for k, v in first.items() if k.startswith("test/")} == {
        k: v for k, v in second.items() if k.startswith("test/")
    }


# everything random at once: dropout, label and box noise, augmentation, shuffling
RANDOM = [
    "regime=quickstart",
    "model.dense_steps=1",
    "model.detector.encoder.text_dropout=0.2",
    "trainer.max_epochs=3",
    "total_batch_size=4",
    "data.batch_size=2",
    "num_pairs=6",
    "test=false",
    "trainer.limit_val_batches=1",
]
EVERY_STEP = [
    "callbacks.inside_epoch.filename='step{step}'",
    "+callbacks.inside_epoch.auto_insert_metric_name=false",
    "+callbacks.inside_epoch.save_top_k=-1",
    "checkpoint_every=1",
]


@pytest.fixture(scope="module")
def uninterrupted(hico, tmp_path_factory):
    """A run of three epochs of two optimiser steps, with a checkpoint after every step."""
    folder = tmp_path_factory.mktemp("whole")
    train.run(configured(hico, folder, *RANDOM, *EVERY_STEP))
    return folder


def test_learning_rates_follow_total_batch_and_schedule(uninterrupted):
    checkpoint = torch.load(uninterrupted / "checkpoints" / "step6.ckpt", weights_only=True)
    groups = {group["name"]: group["initial_lr"] for group in checkpoint["optimizer_states"][0]["param_groups"]}
    assert groups == pytest.approx({"base": 1.5e-3, "backbone": 7.5e-4, "text_encoder": 1.5e-3})
    assert checkpoint["global_step"] == 6


@pytest.mark.parametrize("step", [1, 2, 5])
def test_resumed_losses_equal_those_of_an_uninterrupted_run(hico, uninterrupted, tmp_path, step):
    checkpoint = uninterrupted / "checkpoints" / f"step{step}.ckpt"
    train.run(configured(hico, tmp_path, *RANDOM, f"ckpt_path={checkpoint}"))
    whole, resumed = losses(uninterrupted), losses(tmp_path)
    assert sorted(whole) == list(range(6))
    assert resumed == {key: value for key, value in whole.items() if key >= step}


def run(script, *args, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / script), *args]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, **options)


def newest(folder):
    return max((path for path in Path(folder).iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)


@pytest.mark.slow
def test_killed_run_continues_where_it_was(hico, tmp_path):
    config = [*RANDOM, "checkpoint_every=1", "trainer.max_epochs=12"]
    whole = run("train.py", *arguments(hico, tmp_path, *config, "name=whole"), cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    part = arguments(hico, tmp_path, *config, "name=part")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, str(ROOT / "train.py"), *part], env=environment, cwd=tmp_path)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        logs = list(tmp_path.glob("part/*/csv/metrics.csv"))
        if logs and len(losses(logs[0].parents[1])) >= 5:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    time.sleep(1.1)  # the next folder is named by the second
    resumed = run("train.py", *part, "resume=auto", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    expected, continued = losses(newest(tmp_path / "whole")), losses(newest(tmp_path / "part"))
    assert 0 < min(continued) < 24
    assert continued == {step: value for step, value in expected.items() if step >= min(continued)}


@pytest.mark.slow
def test_two_processes_train_and_evaluate_like_one(hico, tmp_path):
    config = ["total_batch_size=4", "trainer.max_epochs=10", "data.batch_size=2", "trainer.limit_val_batches=0"]
    one = run("train.py", *arguments(hico, tmp_path, *config, "name=one", "test=false"), cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    two = arguments(hico, tmp_path, *config, "name=two", "test=false", "trainer=ddp_sim")
    assert run("train.py", *two, cwd=tmp_path).returncode == 0
    first, second = losses(newest(tmp_path / "one")), losses(newest(tmp_path / "two"))
    assert len(first) == 20
    assert second == pytest.approx(first, rel=1e-4)
    checkpoint = newest(tmp_path / "one") / "checkpoints" / "last.ckpt"
    figures = []
    for trainer in ("cpu", "ddp_sim"):
        evaluation = [f"name=test_{trainer}", f"trainer={trainer}", f"ckpt_path={checkpoint}", "data.batch_size=1"]
        assert run("evaluate.py", *arguments(hico, tmp_path, *evaluation), cwd=tmp_path).returncode == 0
        metrics = json.loads((newest(tmp_path / f"test_{trainer}") / "metrics.json").read_text())
        figures.append({name: value for name, value in metrics.items() if "map" in name or "recall" in name})
    assert figures[0] == pytest.approx(figures[1], abs=1e-9)


@pytest.mark.slow
def test_multirun_gives_every_job_its_folder(hico, tmp_path):
    done = run("train.py", "-m", "seed=1,2", *arguments(hico, tmp_path, "debug=limit", "test=false"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    jobs = list(tmp_path.glob("hico_full/sweep_*/*/checkpoints/last.ckpt"))
    assert len(jobs) == 2
