"""Trains, then tests: `python train.py experiment=hico_fewshot_1pct paths.hico=/data/hico_20160224_det`.

Every key of conf/ can be set on the command line; `python train.py --help` lists groups and keys.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only

from rlipv2 import utils
from rlipv2.checkpoints import read_partial
from rlipv2.checkpoints.folder import TOKENIZER, without_downloads
from rlipv2.checkpoints.object_detection import holds_object_detector

CONFIG_PATH = str(Path(__file__).parent / "conf")


def initialized_from(folder: str | None, detector: DictConfig, *, resumed: bool = False) -> dict[str, Any]:
    """The constructor tree of a detector that gets weights elsewhere: the parts with such weights fetch none.

    A resumed run has weights of all parts, whatever the folder that it began with. The tokenizer is the one of
    that folder, if it holds one.
    """
    tree: dict[str, Any] = OmegaConf.to_container(detector, resolve=True)  # type: ignore[assignment]
    parts = set(tree)
    if folder and not resumed:
        note = read_partial(folder)
        if note is not None:
            parts = set(note["parts"])
        elif holds_object_detector(folder):
            parts -= {"text_encoder"}  # an object detector reads no texts
    tree |= {name: without_downloads(part) for name, part in tree.items() if name in parts}
    if folder and (Path(folder) / TOKENIZER).is_dir():
        tree["text_encoder"]["tokenizer"] = str(Path(folder) / TOKENIZER)
    return tree


def build(config: DictConfig, checkpoint: str | None) -> tuple[pl.Trainer, pl.LightningModule, pl.LightningDataModule]:
    """Trainer, task and data module of a composed configuration."""
    pl.seed_everything(config.seed, workers=True)
    # a checkpoint holds all weights: of the folder that the run began with only the tokenizer is read, if it is there
    config.model.init = utils.resolve_weights(config.model.init, logs=config.paths.logs, needed=checkpoint is None)
    ids = utils.logger_ids(checkpoint) if config.train else {}  # an evaluation is a run of its own
    if "wandb" in (config.logger or {}) and "wandb" in ids:
        config.logger.wandb.id = ids["wandb"]
    if checkpoint or config.model.init:
        config.model.detector = initialized_from(
            config.model.init, config.model.detector, resumed=checkpoint is not None
        )
    if checkpoint:
        config.model.init = None
    datamodule = hydra.utils.instantiate(config.data)
    datamodule.require_data()  # before weights are downloaded
    writers = {config.paths.detection: f"od_{config.detection_corpus}", config.paths.rlip: f"rlip_{config.corpus}"}
    utils.require_weights(
        config.model.init,
        weights=config.paths.weights,
        logs=config.paths.logs,
        experiment=writers.get(config.model.init),
    )
    task = hydra.utils.instantiate(config.model)
    # what a weight folder is rebuilt from
    task.detector.config = OmegaConf.to_container(config.model.detector, resolve=True)
    if checkpoint:
        rank_zero_only(utils.keep_log)(config.paths.output)
    loggers = utils.instantiate_all(config.logger)
    callbacks = utils.instantiate_all(config.callbacks)
    if not config.trainer.enable_progress_bar:
        callbacks = [callback for callback in callbacks if not isinstance(callback, pl.callbacks.ProgressBar)]
    trainer = hydra.utils.instantiate(config.trainer, callbacks=callbacks, logger=loggers or False)
    for logger in trainer.loggers:
        logger.log_hyperparams(OmegaConf.to_container(config, resolve=True))
    return trainer, task, datamodule


@contextmanager
def finished_loggers(trainer: pl.Trainer) -> Iterator[None]:
    """Ends the W&B run with the block, as failed if that raises: each job of a sweep is a run of its own."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, pl.loggers.WandbLogger)]
    try:
        yield
    except BaseException:
        for logger in loggers:
            logger.experiment.finish(exit_code=1)
        raise
    for logger in loggers:
        logger.experiment.finish()


def describe_run(config: DictConfig, hydra_config: Any) -> None:
    """Tells W&B what a run is, where the configuration leaves it open: group, kind of job, tags, notes.

    The jobs of a sweep are a group named after its folder, and numbered. Tags are the choices of groups.

    Args:
        config: as composed; changed in place.
        hydra_config: Hydra's own part of it.
    """
    wandb = (config.logger or {}).get("wandb")
    if wandb is None:
        return
    choices = [
        hydra_config.runtime.choices.get(group) for group in ("experiment", "model", "backbone", "data", "regime")
    ]
    told = {
        "job_type": "train" if config.train else "evaluate",
        "tags": list(dict.fromkeys(str(choice)[:64] for choice in choices if choice)),
        "notes": " ".join(hydra_config.overrides.task) or None,
    }
    if hydra_config.mode == RunMode.MULTIRUN:
        told["group"] = f"{config.name}-{Path(hydra_config.sweep.dir).name}"
        wandb.name = f"{wandb.name}-{hydra_config.job.num}"
    for key, value in told.items():
        if wandb.get(key) is None:
            wandb[key] = value


def run(config: DictConfig, *, runs: str | None = None) -> float | None:
    """Trains (`train`), tests (`test`), and gives the value a sweep asked for (`optimized_metric`).

    Args:
        config: as composed.
        runs: where `resume=auto` looks for a checkpoint; by default in all runs of this name.
    """
    utils.check_config(config)
    if config.print_config:
        rank_zero_only(utils.print_config)(config)
    checkpoint = utils.checkpoint_to_resume(config.resume, config.ckpt_path, runs or config.paths.runs)
    trainer, task, datamodule = build(config, checkpoint)
    results: dict[str, Any] = {}
    with finished_loggers(trainer):
        if config.train:
            rank_zero_info(f"resuming from {checkpoint}" if checkpoint else f"a new run in {config.paths.output}")
            trainer.fit(task, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
            results.update(trainer.callback_metrics)
        if config.test:
            # after training: the weights of the last epoch, which published results use too
            tested = None if config.train else checkpoint
            trainer.test(task, datamodule=datamodule, ckpt_path=tested, weights_only=True)
            results.update(trainer.callback_metrics)
    if config.optimized_metric is None:
        return None
    if config.optimized_metric not in results:
        raise utils.ConfigError(
            f"optimized_metric={config.optimized_metric}: {utils.nearest(config.optimized_metric, list(results))}"
        )
    return float(results[config.optimized_metric])


def check_sweep(config: DictConfig) -> None:
    """Refuses sweeps on several devices in which Lightning would start the other processes.

    It starts them with the arguments of the sweep, so that each of them would be a sweep of its own.

    Raises:
        ConfigError: naming what starts the processes instead.
    """
    started = {"LOCAL_RANK", "SLURM_PROCID"} & os.environ.keys()  # by torchrun or srun
    if config.trainer.devices not in (1, "1") and not started:
        raise utils.ConfigError(
            f"trainer.devices={config.trainer.devices} in a sweep (-m): its jobs cannot start processes of their "
            "own; use sweep=submitit, give each job one device (trainer.devices=1), or start them one by one without -m"
        )


def check_corpus(regime: str, overrides: Sequence[str]) -> None:
    """Refuses `corpus=` for relational pre-training, which would not read it.

    Args:
        regime: the choice of this group.
        overrides: of the command line.

    Raises:
        ConfigError: naming what chooses the corpus.
    """
    asked = [override for override in overrides if override.startswith("corpus=")]
    if regime == "rlip" and asked:
        name = asked[0].partition("=")[2]
        raise utils.ConfigError(
            f"{asked[0]}: names the pre-training that fine-tuning starts from; the images of a pre-training are "
            f"chosen by its experiment, experiment=rlip_{name}, or by data={name}"
        )


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float | None:
    """The entry point."""
    check_corpus(HydraConfig.get().runtime.choices.regime, HydraConfig.get().overrides.task)
    describe_run(config, HydraConfig.get())
    # the jobs of a sweep share a name: one that the queue starts again continues in its own folder
    own = HydraConfig.get().mode == RunMode.MULTIRUN
    if own:
        check_sweep(config)
    return run(config, runs=config.paths.output if own else None)


if __name__ == "__main__":
    utils.run(main, CONFIG_PATH, "train")
