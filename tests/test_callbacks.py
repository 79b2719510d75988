import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rlipv2.callbacks import (
    EffectiveBatchSize,
    possible_pairs,
    random_state,
    set_random_state,
    write_json,
)
from rlipv2.structures import LabelSpace


def trainer(batch_size, world_size=1, accumulate=1):
    datamodule = SimpleNamespace(batch_size=batch_size)
    return SimpleNamespace(datamodule=datamodule, world_size=world_size, accumulate_grad_batches=accumulate)


@pytest.mark.parametrize(
    ("total", "batch_size", "world_size", "accumulate"), [(64, 8, 8, 1), (64, 8, 1, 8), (32, 2, 2, 8), (None, 4, 2, 1)]
)
def test_accumulation_makes_up_the_total_batch(total, batch_size, world_size, accumulate):
    it = trainer(batch_size, world_size)
    EffectiveBatchSize(total).setup(it, None, "fit")
    assert it.accumulate_grad_batches == accumulate


@pytest.mark.parametrize(("total", "batch_size", "accumulate"), [(64, 7, 1), (2, 4, 1), (64, 8, 2)])
def test_totals_that_do_not_work_out_are_refused(total, batch_size, accumulate):
    with pytest.raises(ValueError, match=f"total_batch_size={total} cannot be made of data.batch_size={batch_size}"):
        EffectiveBatchSize(total).setup(trainer(batch_size, accumulate=accumulate), None, "fit")


def test_evaluation_leaves_the_accumulation_alone():
    it = trainer(7)
    EffectiveBatchSize(64).setup(it, None, "test")
    assert it.accumulate_grad_batches == 1


def draws():
    return random.random(), np.random.rand(), torch.rand(3).tolist(), np.random.normal()


def test_random_states_come_back_through_a_safe_checkpoint(tmp_path):
    np.random.normal()  # leaves a second value cached
    torch.save(random_state(), tmp_path / "state.pt")
    first = draws()
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draws() == first


def test_json_has_null_for_what_is_undefined(tmp_path):
    write_json(tmp_path / "new" / "metrics.json", {"b": float("nan"), "a": 0.5})
    assert (tmp_path / "new" / "metrics.json").read_text() == '{\n "a": 0.5,\n "b": null\n}\n'
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"hois": np.array([[0, 1], [1, 2]])}, [[0, 1, 0], [0, 0, 1]]),
        ({"triplets": np.array([[2, 0, 1], [0, 1, 2], [1, 1, 2]])}, [[0, 1, 0], [0, 0, 1]]),
        ({"triplets": None}, [[1, 1, 1], [1, 1, 1]]),
        ({}, [[1, 1, 1], [1, 1, 1]]),
    ],
)
def test_only_what_the_metric_counts_is_drawn(arguments, expected):
    space = LabelSpace(objects=["person", "dog", "kite"], relations=["hold", "ride"])
    assert possible_pairs(arguments, space).tolist() == expected
