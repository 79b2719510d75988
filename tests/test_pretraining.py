"""Relational pre-training on miniature corpora through the entry point, and what the stage after it finds."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import train
from rlipv2 import utils
from rlipv2.checkpoints import read_state
from rlipv2.models import RelationDetector
from tests.fakes_corpora import COCO_FILE, HICO_FILE, O365_FILE, write_corpora
from tests.test_train import EVERY_STEP, ROOT, SMALL, losses

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


def two_processes(root, folder, experiment, *overrides):
    more = ["trainer=ddp_sim", "total_batch_size=4", f"hydra.run.dir={folder}", "model.schedule.lr_drop=1", *overrides]
    command = [sys.executable, str(ROOT / "train.py"), *arguments(root, folder, experiment, *more)]
    folder.mkdir(exist_ok=True)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, cwd=folder, timeout=900)
    assert done.returncode == 0, done.stderr
    return losses(folder)


@pytest.mark.slow
def test_two_processes_train_on_a_mixture(root, tmp_path):
    assert len(two_processes(root, tmp_path, "rlip_vg_coco_o365_hico")) == 3


@pytest.mark.slow
def test_two_processes_resume_with_the_same_result(root, tmp_path):
    epochs = "trainer.max_epochs=2"
    whole = two_processes(root, tmp_path / "whole", "rlip_vg_coco", epochs, *EVERY_STEP)
    assert sorted(whole) == [0, 1, 2, 3]
    inside = f"ckpt_path={tmp_path}/whole/checkpoints/step1.ckpt"  # of two steps in an epoch
    resumed = two_processes(root, tmp_path / "resumed", "rlip_vg_coco", epochs, inside)
    assert resumed == {step: loss for step, loss in whole.items() if step >= 1}
    first, second = (read_state(tmp_path / name / "weights") for name in ("whole", "resumed"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


KILLED_IN_A_WRITE = """
import os, runpy, time
written, whole = 0, os.fsync

def fsync(file):
    global written
    whole(file)
    written += os.readlink(f"/proc/self/fd/{{file}}").rpartition("/")[2].startswith(".last.ckpt.")
    if written == {writes}:
        print("inside a write", flush=True)
        time.sleep(600)

os.fsync = fsync
runpy.run_path({train!r}, run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("inside", ["epoch", "write"])
def test_a_killed_pre_training_continues_where_it_was(root, tmp_path, inside):
    config = ["checkpoint_every=1", "trainer.max_epochs=3", "model.schedule.lr_drop=9"]
    train.run(configured(root, tmp_path / "whole", "rlip_vg_coco", *config))
    code = KILLED_IN_A_WRITE.format(train=str(ROOT / "train.py"), writes=4 if inside == "write" else -1)
    command = [sys.executable, "-c", code, *arguments(root, tmp_path, "rlip_vg_coco", *config)]
    process = subprocess.Popen(command, env=ENVIRONMENT, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    if inside == "write":
        assert any("inside a write" in line for line in process.stdout)
    else:
        wait_for(lambda: logged(tmp_path) >= 7 or process.poll() is not None)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    (folder,) = (tmp_path / "rlip_vg_coco").iterdir()
    cut_off = list((folder / "checkpoints").glob(".last.ckpt.*.part"))
    assert len(cut_off) == (inside == "write") or inside == "epoch"
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)  # whole, whenever the kill came
    assert state["global_step"] == 3 if inside == "write" else state["global_step"] >= 6
    config = configured(root, tmp_path, "rlip_vg_coco", *config, "resume=auto")
    OmegaConf.update(config, "paths.output", str(tmp_path / "continued"))
    train.run(config)
    whole, continued = losses(tmp_path / "whole"), losses(tmp_path / "continued")
    assert continued == {step: loss for step, loss in whole.items() if step >= state["global_step"]}
    assert len(continued) == 15 - state["global_step"]


def wait_for(condition, *, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def logged(folder):
    files = list(folder.glob("rlip_vg_coco/*/csv/metrics.csv"))
    return len(losses(files[0].parents[1])) if files else 0


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
    for order, run in enumerate(("b", "a")):
        file = tmp_path / "logs/od_coco" / run / "weights/model.safetensors"
        file.parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (order, order))
    with pytest.raises(
        FileNotFoundError, match=rf"newest run of od_coco, {tmp_path}/logs/od_coco/a/weights, with model.init=run:od_"
    ):
        required(str(tmp_path / "weights/detection"), tmp_path)
    assert utils.resolve_weights("run:od_coco", logs=tmp_path / "logs") == f"{tmp_path}/logs/od_coco/a/weights"


def test_a_run_that_wrote_no_weights_is_named_with_what_would():
    for init in (None, "weights/a", "owner/name"):
        assert utils.resolve_weights(init, logs="logs") == init
    with pytest.raises(utils.ConfigError, match=r"init=run:: no name of a run"):
        utils.resolve_weights("run:", logs="logs")
    with pytest.raises(FileNotFoundError, match=r"init=run:rlip_vg: no run in logs/rlip_vg .*experiment=rlip_vg"):
        utils.resolve_weights("run:rlip_vg", logs="logs")


def test_a_resumed_run_does_not_need_the_run_that_it_began_with(tmp_path):
    assert utils.resolve_weights("run:rlip_vg", logs=tmp_path, needed=False) is None


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
