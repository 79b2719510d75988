"""Relational pre-training on miniature corpora through the entry point, and what the stage after it finds."""

import os
import subprocess
import sys

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import train
from rlipv2 import utils
from rlipv2.models import RelationDetector
from tests.fakes_corpora import COCO_FILE, HICO_FILE, O365_FILE, write_corpora
from tests.test_train import ROOT, SMALL, losses

FILES = {"coco": COCO_FILE, "objects365": O365_FILE, "hico": HICO_FILE}
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
CORPORA = {"rlip_vg_coco": ("coco",), "rlip_vg_coco_o365_hico": tuple(FILES)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    write_corpora(folder)
    return folder


def arguments(root, output, experiment, *overrides):
    files = [f"data.corpora.{name}.annotations={FILES[name]}" for name in CORPORA[experiment]]
    paths = [f"paths.{name}={root / name}" for name in ("vg", *FILES)]
    overrides = ["num_texts=12", "trainer.max_epochs=1", f"paths.logs={output}", *paths, *overrides]
    return [f"experiment={experiment}", *SMALL, *files, *overrides]


def configured(root, output, experiment, *overrides):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides=arguments(root, output, experiment, *overrides))
    OmegaConf.update(config, "paths.output", str(output))
    return config


def test_a_mixture_trains_without_figures_and_leaves_weights(root, tmp_path):
    train.run(configured(root, tmp_path, "rlip_vg_coco"))
    assert len(losses(tmp_path)) == 5  # 7 + 3 images
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["last.ckpt"]
    detector = RelationDetector.from_pretrained(tmp_path / "weights")
    assert "holding" in detector.label_space.relations
    config = configured(root, tmp_path / "next", "rlip_vg_coco", f"model.init={tmp_path / 'weights'}", "model.lr=0")
    train.run(config)
    again = dict(RelationDetector.from_pretrained(tmp_path / "next/weights").named_parameters())
    assert all(torch.equal(tensor, again[name]) for name, tensor in detector.named_parameters())


def test_best_checkpoint_is_kept_where_images_are_held_out(root, tmp_path):
    held_out = ["data.held_out=4", "monitored=val/loss", "test=true", "callbacks.best.mode=min"]
    train.run(configured(root, tmp_path, "rlip_vg_coco", *held_out))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert (tmp_path / "metrics.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["rlip_vg_coco", "rlip_vg_coco_o365_hico"])
def test_two_processes_train_with_texts_of_their_own(root, tmp_path, experiment):
    overrides = ["trainer=ddp_sim", "total_batch_size=4", f"hydra.run.dir={tmp_path}", "model.schedule.lr_drop=1"]
    command = [sys.executable, str(ROOT / "train.py"), *arguments(root, tmp_path, experiment, *overrides)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, cwd=tmp_path, timeout=900)
    assert done.returncode == 0, done.stderr
    assert len(losses(tmp_path)) == {"rlip_vg_coco": 2, "rlip_vg_coco_o365_hico": 3}[experiment]


def required(init, tmp_path, experiment="od_coco"):
    utils.require_weights(init, weights=tmp_path / "weights", logs=tmp_path / "logs", experiment=experiment)


def test_missing_initial_weights_are_named_with_what_writes_them(tmp_path):
    init = str(tmp_path / "weights/detection_parseda_resnet50_coco")
    with pytest.raises(
        FileNotFoundError, match=r"coco/model.safetensors: initial weights not found; convert"
    ) as caught:
        required(init, tmp_path)
    assert "python train.py experiment=od_coco" in str(caught.value)
    with pytest.raises(FileNotFoundError) as caught:
        required(init, tmp_path, experiment=None)
    assert "train.py" not in str(caught.value)


def test_the_newest_run_that_wrote_such_weights_is_named(tmp_path):
    for time, run in enumerate(("b", "a")):
        file = tmp_path / "logs/od_coco" / run / "weights/model.safetensors"
        file.parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (time, time))
    with pytest.raises(
        FileNotFoundError, match=rf"newest run of od_coco, {tmp_path}/logs/od_coco/a/weights, with model.init=run:od_coco"
    ):
        required(str(tmp_path / "weights/detection"), tmp_path)
    assert utils.resolve_weights("run:od_coco", logs=tmp_path / "logs") == f"{tmp_path}/logs/od_coco/a/weights"


def test_a_run_that_wrote_no_weights_is_named_with_what_would():
    for init in (None, "weights/a", "owner/name"):
        assert utils.resolve_weights(init, logs="logs") == init
    with pytest.raises(FileNotFoundError, match=r"init=run:rlip_vg: no run in logs/rlip_vg .*experiment=rlip_vg"):
        utils.resolve_weights("run:rlip_vg", logs="logs")


def test_weights_that_are_there_and_names_of_the_hub_pass(tmp_path):
    (tmp_path / "weights/x").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"x/model.safetensors"):
        required(str(tmp_path / "weights/x"), tmp_path)
    (tmp_path / "weights/x/model.safetensors").touch()
    for init in (None, str(tmp_path / "weights/x"), "owner/name"):
        required(init, tmp_path)


def test_initial_weights_are_looked_for_before_anything_is_built(root, tmp_path):
    init = f"{tmp_path}/weights/detection_parseda_tiny_coco"
    config = configured(root, tmp_path, "rlip_vg_coco", f"paths.weights={tmp_path}/weights", f"model.init={init}")
    config.model.detector = {"_target_": "nothing.that.could.be.Built"}
    with pytest.raises(FileNotFoundError, match=rf"{init}/model.safetensors: initial weights not found; .*od_coco"):
        train.build(config, None)
