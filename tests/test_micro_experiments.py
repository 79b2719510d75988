"""Every experiment of the micro-world trains and evaluates through train.py, and learns something."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUIET = [
    "callbacks.progress_bar=null",
    "callbacks.model_summary=null",
    "trainer.enable_progress_bar=false",
]


def trained(experiment: str, folder: Path, *overrides: str) -> dict[str, float]:
    """The figures of an experiment on a world of its own."""
    paths = [f"paths.data={folder / 'data'}", f"paths.logs={folder}", f"hydra.run.dir={folder / 'run'}"]
    command = [sys.executable, str(ROOT / "train.py"), f"experiment={experiment}", *QUIET, *paths, *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, timeout=1800)
    assert done.returncode == 0, done.stderr
    assert (folder / "run" / "weights" / "config.yaml").is_file()
    return json.loads((folder / "run" / "metrics.json").read_text())
