"""Every experiment of the micro-world trains and evaluates through train.py, and learns something.

Sizes are cut so that all of them together take minutes. So short a training from random weights finds few pairs;
two of the experiments therefore start from the weights of a third one, as the published fine-tunings start from
pre-trained weights.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlipv2.models import RelationDetector

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def trained(experiment: str, folder: Path, *overrides: str, best: bool = True) -> dict[str, float]:
    """The figures of an experiment on a world that it generates in `folder`; its output is in `folder/run`.

    None where the experiment measures nothing; `best` tells whether it keeps its best checkpoint.
    """
    folder.mkdir(exist_ok=True)
    quiet = ["callbacks.progress_bar=null", "callbacks.model_summary=null", "trainer.enable_progress_bar=false"]
    paths = [f"paths.data={folder / 'data'}", f"paths.logs={folder}", f"hydra.run.dir={folder / 'run'}"]
    command = [sys.executable, str(ROOT / "train.py"), f"experiment={experiment}", *quiet, *paths, *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, timeout=3600)
    assert done.returncode == 0, done.stderr
    assert (folder / "run" / "checkpoints" / "best.ckpt").is_file() == best
    metrics = folder / "run" / "metrics.json"
    return json.loads(metrics.read_text()) if metrics.is_file() else {}


@pytest.fixture(scope="module")
def custom(tmp_path_factory):
    """Folder and figures of micro_custom, whose weights the shorter trainings start from."""
    folder = tmp_path_factory.mktemp("custom")
    return folder, trained("micro_custom", folder, "data.prepare.num_test=60")


# a third of the images and 120 steps, none of them for the backbone alone
SHORT = ["model.dense_steps=0", "data.prepare.num_train=320", "data.prepare.num_test=60", "trainer.max_epochs=3"]


def test_custom(custom):
    figures = custom[1]
    assert figures["untrained/map_triplet"] < 0.01
    assert figures["test/map_triplet"] > 0.1
    assert figures["test/recall_20"] > 0.25
    detector = RelationDetector.from_pretrained(custom[0] / "run" / "weights")
    assert detector.label_space is not None
    assert {"person", "bicycle"} <= set(detector.label_space.objects)
    assert "sit on" in detector.label_space.relations


def test_vcoco(custom, tmp_path):
    figures = trained("micro_vcoco", tmp_path, f"model.init={custom[0] / 'run' / 'weights'}", *SHORT)
    assert figures["test/role_ap_1"] > max(0.15, figures["untrained/role_ap_1"] + 0.02)
    assert figures["test/agent_ap"] > max(0.15, figures["untrained/agent_ap"] + 0.02)
    assert figures["test/role_ap_2"] >= figures["test/role_ap_1"]
    assert {"test/in_training/map_all", "test/in_training/map_thesis"} <= figures.keys()


def test_open_images(custom, tmp_path):
    figures = trained("micro_oi", tmp_path, f"model.init={custom[0] / 'run' / 'weights'}", *SHORT)
    assert figures["test/rlipv2/score_wtd"] > figures["untrained/rlipv2/score_wtd"] + 0.02
    assert figures["test/pysgg/score_wtd"] > figures["untrained/pysgg/score_wtd"] + 0.02


@pytest.fixture(scope="module")
def detection(tmp_path_factory):
    """Folder and figures of micro_od: 560 steps, 400 of them for the backbone alone."""
    folder = tmp_path_factory.mktemp("detection")
    short = "data.prepare.num_train=640", "data.prepare.num_test=60", "model.dense_steps=400", "trainer.max_epochs=7"
    return folder, trained("micro_od", folder, *short)


def test_object_detection(detection):
    figures = detection[1]
    assert figures["untrained/AP50"] < 0.01
    assert figures["test/AP50"] > 0.04
    assert figures["test/AR100"] > 0.08


def test_relational_pretraining_is_what_evaluation_without_fine_tuning_needs(detection, tmp_path):
    weights = f"model.init={detection[0] / 'run' / 'weights'}"
    trained("micro_rlip", tmp_path / "rlip", weights, "data.prepare.num_train=640", best=False)
    data = "data.prepare.num_train=40", "data.prepare.num_test=60"
    without = trained("micro_zeroshot_nf", tmp_path / "none", weights, *data, best=False)
    pretrained = f"model.init={tmp_path / 'rlip' / 'run' / 'weights'}"
    figures = trained("micro_zeroshot_nf", tmp_path / "nf", pretrained, *data, best=False)
    assert without["test/map_full"] < 0.01
    assert figures["test/map_full"] > without["test/map_full"] + 0.02


def test_tagger(tmp_path):
    figures = trained("micro_tagger", tmp_path, *SHORT[1:3], "model.dense_steps=80", "trainer.max_epochs=7")
    assert figures["test/tagging_accuracy"] > 4 * figures["test/tagging_accuracy_chance"]
    assert figures["test/tagging_map"] > 8 * figures["test/tagging_map_chance"]
    assert figures["test/tagging_auc"] > 0.8  # 0.5 is chance
