"""Several processes: torchrun, srun, and SLURM jobs by submitit, as far as one machine without SLURM can tell."""

import os
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from hydra import compose, initialize_config_dir
from pytorch_lightning.plugins.environments import SLURMEnvironment

from rlipv2 import utils
from rlipv2.callbacks import AtomicCheckpointIO
from tests.test_pretraining import (
    ENVIRONMENT,
    ROOT,
    arguments,
    root,  # noqa: F401  a fixture
)
from tests.test_train import losses

SLURM = {"SLURM_NTASKS_PER_NODE": "8", "SLURM_NNODES": "2"}


def composed(*overrides: str):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", overrides=list(overrides), return_hydra_config=True)


def test_slurm_tells_processes_and_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = composed("trainer=slurm")
    assert (alone.trainer.devices, alone.trainer.num_nodes) == (1, 1)
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    config = composed("experiment=rlip_vg", "trainer=slurm")
    assert (config.trainer.devices, config.trainer.num_nodes) == (8, 2)
    writer, environment = (hydra.utils.instantiate(plugin) for plugin in config.trainer.plugins)
    assert isinstance(writer, AtomicCheckpointIO)
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue


@pytest.mark.parametrize("trainer", ["default", "cpu", "gpu", "ddp", "ddp_sim", "slurm"])
def test_every_trainer_writes_whole_checkpoints(trainer: str) -> None:
    plugins = [plugin._target_ for plugin in composed(f"trainer={trainer}").trainer.plugins]
    assert "rlipv2.callbacks.AtomicCheckpointIO" in plugins


def test_a_job_of_several_nodes_asks_slurm_for_what_the_trainer_expects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitit = pytest.importorskip("submitit")
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    wide = ["hydra.launcher.nodes=2", "hydra.launcher.tasks_per_node=8"]
    config = composed("experiment=rlip_vg", "sweep=submitit", *wide)
    utils.check_config(config)
    launcher = config.hydra.launcher
    executor = submitit.AutoExecutor(folder=tmp_path, cluster="slurm", slurm_max_num_timeout=launcher.max_num_timeout)
    executor.update_parameters(
        nodes=launcher.nodes,
        tasks_per_node=launcher.tasks_per_node,
        gpus_per_node=launcher.gpus_per_node,
        cpus_per_task=launcher.cpus_per_task,
        slurm_signal_delay_s=launcher.signal_delay_s,
    )
    script = executor._executor._make_submission_file_text("python train.py", "job")
    asked = dict(
        line.removeprefix("#SBATCH --").split("=", 1) for line in script.splitlines() if "=" in line and "#S" in line
    )
    assert (asked["nodes"], asked["ntasks-per-node"], asked["gpus-per-node"]) == ("2", "8", "8")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", asked["ntasks-per-node"])
    monkeypatch.setenv("SLURM_NNODES", asked["nodes"])
    config = composed("experiment=rlip_vg", "sweep=submitit", *wide)
    assert (config.trainer.devices, config.trainer.num_nodes) == (8, 2)


def finished(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, env=ENVIRONMENT | environment, capture_output=True, text=True, cwd=folder, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_torchrun_starts_two_processes(root: Path, tmp_path: Path) -> None:  # noqa: F811
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    overrides = ["trainer=ddp_sim", "total_batch_size=4", f"hydra.run.dir={tmp_path}/run"]
    finished([*torchrun, str(ROOT / "train.py"), *arguments(root, tmp_path, "rlip_vg_coco", *overrides)], tmp_path)
    assert len(losses(tmp_path / "run")) == 2  # 10 images in steps of 4
    assert (tmp_path / "run/weights/model.safetensors").is_file()


@pytest.mark.slow
def test_jobs_that_are_started_again_continue_in_their_own_folders(root: Path, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    sweep = ["hydra/launcher=submitit_local", f"hydra.sweep.dir={tmp_path}/sweep", "resume=auto"]
    command = [sys.executable, str(ROOT / "train.py"), "-m", "seed=1,2"]
    for epochs in (1, 2):
        overrides = [*sweep, f"trainer.max_epochs={epochs}", "model.schedule.lr_drop=9"]
        finished([*command, *arguments(root, tmp_path, "rlip_vg_coco", *overrides)], tmp_path)
    for job in ("0", "1"):
        logs = sorted(path.name for path in (tmp_path / "sweep" / job / "csv").glob("*.csv"))
        assert logs == ["metrics.csv", "metrics_1.csv"]
        assert min(losses(tmp_path / "sweep" / job)) == 5  # the second epoch
