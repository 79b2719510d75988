"""The predictor finds in a file what evaluation finds, with the weight folder that training leaves."""

from pathlib import Path

import hydra
import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlipv2 import RelationPredictor
from rlipv2.callbacks import WeightFolder, possible_pairs

CONF = Path(__file__).parents[2] / "conf"
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A task of two steps on a micro-world of a few images, its data and its weight folder."""
    root = tmp_path_factory.mktemp("micro")
    overrides = [
        "experiment=quickstart",
        f"paths.micro_hico={root}/hico_20160224_det",
        "data.prepare.num_train=8",
        "data.prepare.num_test=6",
        "data.prepare.workers=1",
        "data.num_workers=0",
        "data.cache=false",
        "data.batch_size=2",
        "data.eval_batch_size=1",  # what padding does to a result is nothing that a single image has
        "model.dense_steps=0",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=overrides)
    pl.seed_everything(0)
    task, data = hydra.utils.instantiate(config.model), hydra.utils.instantiate(config.data)
    task.detector.config = OmegaConf.to_container(config.model.detector, resolve=True)
    weights = WeightFolder(root / "weights")
    trainer = pl.Trainer(accelerator="cpu", max_steps=2, limit_val_batches=0, callbacks=[weights], **QUIET)
    trainer.fit(task, datamodule=data)
    return task, data, root / "weights"


def test_training_stores_what_the_weights_are_evaluated_with(trained):
    task, data, folder = trained
    settings = RelationPredictor.from_pretrained(folder).settings
    assert (settings.short_side, settings.max_size) == (128, 160)
    assert (settings.mode, settings.subject, settings.subject_filter, settings.nms) == ("hoi", "person", False, 0.7)
    space = data.label_space
    hois = data.metric_arguments()["hois"].tolist()
    names = {(space.relations[relation], space.objects[object_]) for relation, object_ in hois}
    assert set(settings.possible) == names
    assert task.detector.inference == settings


def test_a_file_gives_the_predictions_of_the_evaluation(trained):
    task, data, folder = trained
    trainer = pl.Trainer(accelerator="cpu", **QUIET)
    evaluated = [found for batch in trainer.predict(task, datamodule=data) for found in batch]
    records = data.datasets["test"]
    predictor = RelationPredictor.from_pretrained(folder, device="cpu")
    valid = possible_pairs(data.metric_arguments(), data.label_space)
    images = sorted(folder.parent.rglob("test2015/*.jpg"))
    assert len(images) == len(evaluated) == len(records) == 6
    for image, predictions in zip(images, evaluated, strict=True):
        found = predictor(image)
        expected = predictions.to("cpu").top(100, data.label_space, valid).distinct(0.7).filter(1e-12)
        assert len(found) > 10
        for name in ("subject_labels", "relation_labels", "object_labels"):
            assert torch.equal(getattr(found, name), getattr(expected, name))
        for name in ("scores", "subject_boxes", "object_boxes"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-5, rtol=1e-5)
