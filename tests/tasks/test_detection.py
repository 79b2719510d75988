from pathlib import Path

import hydra
import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from rlipv2.callbacks import EffectiveBatchSize
from rlipv2.tasks import RelationDetectionTask
from tests.fakes import write_hico

CONF = Path(__file__).parents[2] / "conf"
SMALL = [
    "experiment=quickstart",
    "data=hico",
    "data.num_workers=0",
    "data.batch_size=2",
    "+data.train_transform.short_sides=[64]",
    "+data.eval_transform.short_side=64",
    "num_pairs=5",
    "model.dense_steps=0",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_hico(tmp_path_factory.mktemp("hico"), num_train=6, num_test=4)


def build(root, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=[*SMALL, f"paths.hico={root}", *overrides])
    pl.seed_everything(0)
    return hydra.utils.instantiate(config.model), hydra.utils.instantiate(config.data)


def trainer(**options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, **(quiet | {"max_steps": 2} | options))


def test_training_changes_every_trainable_parameter(root):
    task, data = build(root, "model.detector.text_padding_mask=none")
    before = {name: value.clone() for name, value in task.detector.named_parameters()}
    trainer(limit_val_batches=0).fit(task, datamodule=data)
    unchanged = [
        name
        for name, value in task.detector.named_parameters()
        if value.requires_grad and torch.equal(value, before[name])
    ]
    assert unchanged == []


def test_sanity_check_computes_no_metrics(root, monkeypatch):
    task, data = build(root)
    it = trainer(num_sanity_val_steps=1, max_steps=1, check_val_every_n_epoch=9)
    monkeypatch.setattr(task, "on_train_start", lambda: seen.append(dict(it.callback_metrics)))
    seen = []
    it.fit(task, datamodule=data)
    assert len(task.metrics["hico"].table) == 600
    assert not any("map" in name for name in seen[0])
    assert all(not len(state) for rows in task.metrics["hico"].metric_state.values() for state in rows)


def test_evaluation_logs_metrics_and_losses_of_the_last_layer(root):
    task, data = build(root)
    (values,) = trainer().validate(task, datamodule=data, verbose=False)
    assert {"val/map_full", "val/map_rare", "val/loss", "val/object_class_error"} <= values.keys()
    assert not any("_layer" in name for name in values)


def test_zero_shot_data_gives_unseen_and_seen_figures(root):
    task, data = build(root, "data.zero_shot=uc_rf")
    it = trainer()
    it.test(task, datamodule=data, verbose=False)
    assert {"test/map_unseen", "test/map_seen"} <= it.callback_metrics.keys()


def test_predictions_are_in_original_pixels(root):
    task, data = build(root)
    predictions = [image for batch in trainer().predict(task, datamodule=data) for image in batch]
    assert len(predictions) == 4
    assert all(len(image) == 5 for image in predictions)
    assert max(float(image.subject_boxes.max()) for image in predictions) > 2


def test_subject_filter_reaches_the_postprocessing(root):
    task, data = build(root, "model.postprocess.subject_filter=true", "+model.postprocess.subject_label=81")
    predictions = [image for batch in trainer().predict(task, datamodule=data) for image in batch]
    assert [len(image) for image in predictions] == [0] * 4  # no subject is of a class that does not exist


class NotANumber(nn.Module):
    def forward(self, output, targets):
        return {"loss_relation": torch.tensor(float("nan"))}


def test_losses_that_are_not_finite_stop_training_and_name_the_images(root):
    task, data = build(root)
    task.criterion = NotANumber()
    task.loss_weights = {"loss_relation": 1.0}
    with pytest.raises(FloatingPointError, match=r"optimiser step 0 is nan.*loss_relation.*dataset positions \["):
        trainer(limit_val_batches=0).fit(task, datamodule=data)


def test_dense_steps_train_the_backbone_only(root):
    task, data = build(root, "model.dense_steps=2")
    before = {name: value.clone() for name, value in task.detector.named_parameters()}
    trainer(limit_val_batches=0, max_steps=2).fit(task, datamodule=data)
    changed = {
        name.split(".")[0]
        for name, value in task.detector.named_parameters()
        if value.grad is not None and not torch.equal(value, before[name])
    }
    assert "backbone" in changed
    assert not changed & {"encoder", "queries", "entity_decoder", "relation_decoder", "head", "denoising"}


def test_optimiser_starts_anew_after_the_dense_steps(root):
    task, data = build(root, "model.dense_steps=1")
    trainer(limit_val_batches=0, max_steps=2).fit(task, datamodule=data)
    steps = {int(state["step"]) for state in task.trainer.optimizers[0].state.values()}
    assert steps == {1}


def test_dense_steps_without_a_dense_loss_are_refused(root):
    task, _ = build(root)
    task.criterion.dense = None
    with pytest.raises(ValueError, match="dense_steps=3, but the criterion has no dense loss"):
        RelationDetectionTask(task.detector, task.criterion, dense_steps=3)


def test_missing_initial_weights_stop_before_training(root, tmp_path):
    task, data = build(root, f"model.init={tmp_path / 'none'}")
    with pytest.raises(FileNotFoundError, match=r"rlipv2.checkpoints convert"):
        trainer().fit(task, datamodule=data)


@pytest.mark.parametrize(("given", "rate"), [("null", 1e-4 * (4 / 32) ** 0.5), ("3e-4", 3e-4)])
def test_explicit_learning_rate_wins_over_the_rule(root, given, rate):
    task, data = build(root, f"model.lr={given}")
    it = trainer(limit_val_batches=0, max_steps=1, callbacks=[EffectiveBatchSize(4)])
    it.fit(task, datamodule=data)
    assert task.total_batch_size == 4
    assert it.optimizers[0].param_groups[0]["initial_lr"] == pytest.approx(rate)
