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


def trained(experiment: str, folder: Path, *overrides: str) -> dict[str, float]:
    """The figures of an experiment on a world that it generates in `folder`; its output is in `folder/run`."""
    quiet = ["callbacks.progress_bar=null", "callbacks.model_summary=null", "trainer.enable_progress_bar=false"]
    paths = [f"paths.data={folder / 'data'}", f"paths.logs={folder}", f"hydra.run.dir={folder / 'run'}"]
    command = [sys.executable, str(ROOT / "train.py"), f"experiment={experiment}", *quiet, *paths, *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, timeout=3600)
    assert done.returncode == 0, done.stderr
    assert (folder / "run" / "checkpoints" / "best.ckpt").is_file()
    return json.loads((folder / "run" / "metrics.json").read_text())


@pytest.fixture(scope="module")
def custom(tmp_path_factory):
    """Folder and figures of micro_custom, whose weights the shorter trainings start from."""
    folder = tmp_path_factory.mktemp("custom")
    return folder, trained("micro_custom", folder, "data.prepare.num_test=60")
