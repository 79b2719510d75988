"""What the speed monitor counts, with a clock that the test sets."""

from types import SimpleNamespace

import pytest
import torch

from rlipv2.callbacks import SpeedMonitor, speed


class Task:
    """Collects what is logged."""

    device = torch.device("cpu")

    def __init__(self):
        self.rows = []

    def log_dict(self, values, **_):
        self.rows.append(values)


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def trainer(**options):
    return SimpleNamespace(**({"global_step": 0, "world_size": 1, "log_every_n_steps": 2} | options))


def batch_of(images, callback, it, task, clock, *, wait, work, steps=1):
    """One batch: waits, works, and makes so many optimiser steps."""
    clock.seconds += wait
    callback.on_train_batch_start(it, task, None, 0)
    clock.seconds += work
    it.global_step += steps
    callback.on_train_batch_end(it, task, None, range(images), 0)


def started(it, task):
    callback = SpeedMonitor()
    callback.on_train_start(it, task)
    callback.on_train_epoch_start(it, task)
    return callback


def test_rows_tell_images_per_second_and_the_wait_for_data(clock):
    it, task = trainer(world_size=2), Task()
    callback = started(it, task)
    for wait in (1.0, 3.0):
        batch_of(4, callback, it, task, clock, wait=wait, work=2.0)
    (row,) = task.rows
    assert row["speed/images_per_second"] == pytest.approx(16 / 8)
    assert row["speed/step_seconds"] == pytest.approx(4.0)
    assert row["speed/data_seconds"] == pytest.approx(2.0)
    assert row["progress/images"] == 16
    assert 0 < row["memory/process_gib"] < 1000
    assert row.keys() < set(SpeedMonitor.NAMES)  # nothing about a GPU


def test_accumulated_batches_are_one_step(clock):
    it, task = trainer(log_every_n_steps=1), Task()
    callback = started(it, task)
    for steps in (0, 0, 1):
        batch_of(2, callback, it, task, clock, wait=0.5, work=0.5, steps=steps)
    (row,) = task.rows
    assert (row["speed/step_seconds"], row["speed/images_per_second"]) == pytest.approx((3.0, 2.0))


@pytest.mark.parametrize("pause", ["on_validation_start", "on_save_checkpoint"])
def test_validation_and_checkpoints_are_left_out(clock, pause):
    it, task = trainer(), Task()
    callback = started(it, task)
    batch_of(2, callback, it, task, clock, wait=0.0, work=1.0)
    arguments = ({},) if pause == "on_save_checkpoint" else ()
    getattr(callback, pause)(it, task, *arguments)
    batch_of(2, callback, it, task, clock, wait=500.0, work=1.0)
    assert task.rows[0]["speed/step_seconds"] == pytest.approx(1.0)


def test_a_resumed_run_goes_on_counting_images(clock):
    it, task = trainer(log_every_n_steps=1), Task()
    callback = started(it, task)
    batch_of(3, callback, it, task, clock, wait=0.0, work=1.0)
    batch_of(3, callback, it, task, clock, wait=0.0, work=1.0, steps=0)
    other = SpeedMonitor()
    other.load_state_dict(callback.state_dict())
    other.on_train_start(it, task)
    other.on_train_epoch_start(it, task)
    batch_of(3, other, it, task, clock, wait=0.0, work=1.0)
    assert [row["progress/images"] for row in task.rows] == [3, 9]


def test_nothing_is_logged_where_logging_is_off(clock):
    it, task = trainer(log_every_n_steps=0), Task()
    batch_of(3, started(it, task), it, task, clock, wait=0.0, work=1.0)
    assert not task.rows
