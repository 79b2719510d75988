"""Relations for images with boxes: captions, their scene graphs, candidates, Relation Tagger, annotations, report.

`python pseudo_label.py pseudo_label=coco tagger.init=FOLDER` (`run:tagger_vg` for the newest run of that experiment);
the same again goes on where it ended. Parts of it: `stages=[caption,parse]`, one of 16 jobs: `stages=[tag] job.index=2
job.count=16`, how far it is: `stages=[status]`.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from rlipv2 import utils
from rlipv2.callbacks import UnitWriter
from rlipv2.checkpoints.folder import CONFIG, WEIGHTS
from rlipv2.datamodules.pseudo_labels import CaptioningDataModule, TaggingDataModule
from rlipv2.datasets.files import sha256
from rlipv2.models import RelationTagger
from rlipv2.pseudo_labels import merging, overview, stages
from rlipv2.pseudo_labels.caption_files import CaptionFile
from rlipv2.pseudo_labels.plan import Plan, digest, join_plan, read_plan
from rlipv2.pseudo_labels.progress import Progress
from rlipv2.pseudo_labels.report import write_report
from rlipv2.pseudo_labels.source import LabelledImages
from rlipv2.pseudo_labels.units import FOLDERS, UnitError, assigned
from rlipv2.pseudo_labels.workers import UnitFunction, UnitWork, exit_on_sigterm, pending, run_units
from rlipv2.tasks.captioning import CaptioningTask
from rlipv2.tasks.pair_tagging import PairTaggingTask

CONFIG_PATH = str(Path(__file__).parent / "conf")
STAGES = (*FOLDERS, "merge", "report", "status", "validate")
FIRST = "RLIPV2_FIRST_STAGE"
"""Environment variable: the stage that started the other processes of a machine, with which they begin."""
MODEL_FILES = {".safetensors", ".bin", ".json", ".txt", ".model"}
"""Endings of the files of a model of transformers in a folder: weights, settings, words."""
FULL_PRECISION = ("32-true", "32", 32)
LOADING = {"batch_size", "num_workers"}
SIZES = {"short_side", "max_size"}
SPEED_ONLY = {"init", "images_per_pass", *LOADING}
"""Settings of the tagger that change scores by rounding at most; and its folder, in whose place the content counts."""

logger = logging.getLogger(__name__)


class Run:
    """The stages of a configuration.

    Args:
        config: composed and checked.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self._place: tuple[int, int] | None = None
        self.out = Path(config.out).expanduser()
        self.stages = sorted(_known_stages(config.stages), key=STAGES.index)
        if "tag" in self.stages:
            config.tagger.init = utils.resolve_weights(config.tagger.init, logs=config.paths.logs)
        if not 0 <= config.job.index < config.job.count:
            raise utils.ConfigError(
                f"job.index={config.job.index} job.count={config.job.count}: jobs are counted from 0 to job.count - 1"
            )
        if config.unit_size < 1:
            raise utils.ConfigError(f"unit_size={config.unit_size}: expected at least 1 image")
        if config.workers < 1:
            raise utils.ConfigError(f"workers={config.workers}: expected at least 1")
        if not 0 <= config.max_failures <= 1:
            raise utils.ConfigError(f"max_failures={config.max_failures}: expected a share of the images, 0 to 1")
        threshold = config.report.threshold
        if isinstance(threshold, str) or not 0 <= threshold <= 1:
            raise utils.ConfigError(f"report.threshold={threshold}: expected a score, 0 to 1")

    def __call__(self) -> None:
        """Runs all stages in their order."""
        for stage in self.stages:
            if launched() and STAGES.index(stage) < STAGES.index(os.environ.get(FIRST, STAGES[0])):
                continue  # it was complete before this process began
            if stage in FOLDERS:
                _ = self.plan  # refuses what must not be mixed before anything is written
                function = getattr(self, f"{stage}_function")()
                self.predict(stage) if function is None else self.run_units(stage, function)
            elif self.place[0] == 0:
                getattr(self, stage)()

    @property
    def place(self) -> tuple[int, int]:
        """Rank of this process and number of processes."""
        # Lightning takes what the environment tells away after each prediction
        return self._place or place(self.config.trainer.num_nodes)

    @cached_property
    def images(self) -> LabelledImages:
        """The images, generated first where the configuration can."""
        if self.config.prepare is not None:
            hydra.utils.instantiate(self.config.prepare)()
        found: LabelledImages = hydra.utils.instantiate(self.config.source)
        if not len(found):
            raise utils.ConfigError(f"{found.parts[0].annotations}: none of its images is to be labelled")
        return found

    @cached_property
    def plan(self) -> Plan:
        """The plan of the folder with the settings of the stages that are run now."""
        wanted: dict[str, Any] = {}
        for stage in reversed(self.stages):  # the last one first: a missing tagger is told before captions are indexed
            if stage in FOLDERS:
                wanted = {stage: getattr(self, f"{stage}_settings")(), **wanted}
        if not wanted:
            read_plan(self.out)  # nothing to merge or to show in a new folder
        data = self.images.identity() | {"unit_size": self.config.unit_size}
        return join_plan(self.out, data, wanted, on_change=self.config.on_config_change)

    @cached_property
    def captions(self) -> CaptionFile:
        """The file of captions."""
        _ = self.images  # may generate them
        return CaptionFile(self.config.captions, index=self.out / "index")

    # Settings: whatever the content of a stage depends on, as plain values.

    def caption_settings(self) -> dict[str, Any]:
        """What captions depend on."""
        if self.config.captions:
            return {"captions": self.captions.sha256}
        captioner = plain(self.config.captioner)
        if captioner.get("name") and (folder := Path(captioner["name"]).expanduser()).is_dir():
            files = [path for path in sorted(folder.iterdir()) if path.suffix in MODEL_FILES]
            captioner["name"] = {path.name: sha256(path) for path in files}
        return {
            "captioner": captioner,
            "batch_size": self.config.captioning.batch_size,  # batches decide which random numbers an image gets
            "precision": self.config.trainer.precision,
            "seed": self.config.seed,
        }

    def parse_settings(self) -> dict[str, Any]:
        """What scene graphs depend on."""
        return dict(hydra.utils.instantiate(self.config.parser).identity)

    def candidates_settings(self) -> dict[str, Any]:
        """What candidates depend on."""
        matcher = stages.make_matcher(self.images.names, **self.matcher_options()[0])  # refuses what does not exist
        if self.config.candidates.group_size < 1:
            raise utils.ConfigError(f"candidates.group_size={self.config.candidates.group_size}: expected at least 1")
        words = digest([asdict(row) for row in matcher.class_words])  # of a file or of this version's tables
        return {"mode": self.config.mode, **plain(self.config.candidates), "paraphrases": words}

    def tag_settings(self) -> dict[str, Any]:
        """What scores depend on."""
        init = self.config.tagger.init
        if init is None or not (Path(init) / WEIGHTS).is_file():
            wrong = "no tagger is given" if init is None else f"{WEIGHTS} is not there"
            raise utils.ConfigError(
                f"tagger.init={init}: {wrong}; give the weight folder of a Relation Tagger: convert an official "
                "checkpoint with `python -m rlipv2.checkpoints convert FILE.pth FOLDER`, or train one with `python "
                "train.py experiment=tagger_vg` (for the micro-world experiment=micro_tagger) and give the folder "
                "`weights` of that run. Without a tagger: stages=[caption,parse,candidates]"
            )
        self._check_tagging()
        settings = {key: value for key, value in plain(self.config.tagger).items() if key not in SPEED_ONLY}
        files = [path for path in (Path(init) / WEIGHTS, Path(init) / CONFIG) if path.is_file()]
        weights = {path.name: sha256(path) for path in files}
        return {"mode": self.config.mode, "precision": self.config.trainer.precision, "weights": weights, **settings}

    def _check_tagging(self) -> None:
        """Refuses what the first batch would be refused for, hours after the captions were begun."""
        tagger = self.config.tagger
        for name in ("groups_per_pass", "images_per_pass", "batch_size"):
            if tagger[name] < 1:
                raise utils.ConfigError(f"tagger.{name}={tagger[name]}: expected at least 1")
        if self.config.mode == "parity":
            for name, value, official in (
                ("tagger.encode_dtype", tagger.encode_dtype, ("float32",)),
                ("trainer.precision", self.config.trainer.precision, FULL_PRECISION),
            ):
                if value not in official:
                    raise utils.ConfigError(
                        f"{name}={value} with mode=parity: official scores are float32; take mode=fast"
                    )

    # What makes a unit on the CPU, in as many processes as there are workers; None for networks, which Lightning runs.

    def caption_function(self) -> Callable[[], UnitFunction] | None:
        """Looks captions up, or makes them of labels."""
        if self.config.captions:
            unknown = self.captions.count_unknown(self.images.image_ids)
            if unknown and self.place[0] == 0:
                logger.warning(
                    "caption: %s: captions of %s images that are not labelled here are left out",
                    *(self.captions.path, f"{unknown:,}"),
                )
            return partial(stages.captions_stage, self.captions)
        if hasattr(hydra.utils.get_object(self.config.captioner._target_), "captions_of_record"):
            options = {**plain(self.config.captioner), "class_names": self.images.names}
            return partial(template_stage, options, self.config.seed)
        return None

    def parse_function(self) -> Callable[[], UnitFunction]:
        """Parses captions."""
        return partial(parse_stage, plain(self.config.parser))

    def candidates_function(self) -> Callable[[], UnitFunction]:
        """Finds candidates."""
        matcher, options = self.matcher_options()
        return partial(stages.candidates_stage, self.images.names, matcher, {"mode": self.config.mode, **options})

    def tag_function(self) -> None:
        """Tagging is for a network."""

    def matcher_options(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments of `make_matcher`, and those of `image_candidates`."""
        options = plain(self.config.candidates)
        matcher = {name: options.pop(name) for name in MATCHER_OPTIONS if name in options}
        return matcher, options

    def run_units(self, stage: str, make: Callable[[], UnitFunction]) -> None:
        """A stage on the CPU."""
        work = UnitWork(self.plan, stage, self.images, make)
        progress, retry = self.progress(stage, *self.place), self.config.retry_failures
        run_units(work, self.units(*self.place), progress, workers=self.config.workers, retry_failures=retry)

    def predict(self, stage: str) -> None:
        """A stage of a network, on all processes of the trainer."""
        folder = self.plan.folder(stage)
        folder.prepare()
        incomplete = partial(pending, folder, retry_failures=self.config.retry_failures)
        if not launched():
            progress = self.progress(stage, 0, 1)
            if next(incomplete(self.units(0, 1), progress), None) is None:
                progress.close()
                return  # without building the network
            os.environ[FIRST] = stage
        progress = self.progress(stage, *self.place)  # of this process, once the trainer told which one it is

        def choose(rank: int, ranks: int) -> Iterator[int]:
            nonlocal progress
            progress = self.progress(stage, rank, ranks)
            return incomplete(self.units(rank, ranks), progress)

        def write(unit: int, results: Any, failures: Any, counts: Any, seconds: float) -> None:
            positions = self.plan.images_of(unit)
            make = stages.captioned if stage == "caption" else stages.tagged
            result = make(self.images.read(positions), results, failures, counts)
            folder.write(unit, result, images=len(positions), seconds=seconds)
            progress.add(folder.record(unit), made=True)

        trainer: pl.Trainer = hydra.utils.instantiate(
            self.config.trainer,
            callbacks=[UnitWriter(write)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,
        )
        pl.seed_everything(self.config.seed, verbose=False)
        task, datamodule = getattr(self, f"{stage}_network")(choose)
        trainer.predict(task, datamodule=datamodule, return_predictions=False)
        self._place = trainer.global_rank, trainer.world_size
        progress.close()
        trainer.strategy.barrier()

    def caption_network(self, choose: Any) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        """The captioner and its images."""
        data = CaptioningDataModule(
            self.plan, self.images, choose, seed=self.config.seed, **plain(self.config.captioning)
        )
        return CaptioningTask(hydra.utils.instantiate(self.config.captioner)), data

    def tag_network(self, choose: Any) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        """The tagger and its images."""
        options = plain(self.config.tagger)
        tagger = RelationTagger.from_pretrained(options.pop("init"))
        loading = {name: options.pop(name) for name in (*LOADING, *SIZES)}
        data = TaggingDataModule(self.plan, self.images, choose, seed=self.config.seed, **loading)
        return PairTaggingTask(tagger, class_names=self.images.names, mode=self.config.mode, **options), data

    def merge(self) -> None:
        """One file of all units; of several jobs the one that finds everything complete writes it."""
        options = plain(self.config.merge)
        kept = {name: options.pop(name) for name in ("file", "allow_incomplete", "index", "image_paths")}
        try:
            merging.merge(self.plan, self.images, merging.rules_of(options), **kept)
        except UnitError as error:
            if self.config.job.count == 1 or not set(self.stages) & set(FOLDERS):
                raise
            logger.info("merge: left to the job that ends last (%s)", error)

    def report(self) -> None:
        """The page about everything."""
        options = plain(self.config.merge)
        rules = merging.rules_of({name: value for name, value in options.items() if name in merging.RULES})
        try:
            units, _ = merging.complete_units(self.plan, allow_incomplete=options["allow_incomplete"])
        except UnitError as error:
            if self.config.job.count == 1 or not set(self.stages) & set(FOLDERS):
                raise
            logger.info("report: left to the job that ends last (%s)", error)
            return
        settings = plain(self.config.report)
        truth = settings.pop("truth")
        page = write_report(
            self.out,
            merging.report_images(self.plan, self.images, rules, units),
            class_names=self.images.names,
            matcher=stages.make_matcher(self.images.names, **self.matcher_options()[0]),
            truth=None if truth is None else Path(truth),
            failures=merging.all_failures(self.plan, units),
            settings={"images": self.plan.data | {"names": len(self.images.names)}, **self.plan.stages},
            **settings,
        )
        logger.info("report: %s", page)

    def status(self) -> None:
        """Prints how far the folder is; needs neither images nor networks."""
        for line in overview.status(read_plan(self.out)):
            print(line)

    def validate(self) -> None:
        """Prints what is wrong in the folder, and ends with status 1 if anything is."""
        merged = self.out / merging.FOLDER / self.config.merge.file
        found = overview.validate(self.plan, self.images, merged, max_failures=self.config.max_failures)
        found.print(Console())
        if found.of_level("error"):
            sys.exit(1)

    def units(self, rank: int, ranks: int) -> list[int]:
        """The units of one process of this job; any number of jobs and processes may share them."""
        job = self.config.job
        return list(assigned(self.plan.num_units, part=job.index + job.count * rank, parts=job.count * ranks))

    def progress(self, stage: str, rank: int, ranks: int) -> Progress:
        """Counts the units of a process; the first one shows them."""
        units = len(self.units(rank, ranks))
        return Progress(
            stage, units=units, images=len(self.images), max_failures=self.config.max_failures, quiet=rank > 0
        )


MATCHER_OPTIONS = ("matcher", "paraphrases", "strategy", "all_matches", "modifiers")


def template_stage(options: dict[str, Any], seed: int) -> UnitFunction:
    """Captions made of labels; `options` is the node of the captioner."""
    return stages.CaptionsOfLabels(hydra.utils.instantiate(options)(), seed)


def parse_stage(options: dict[str, Any]) -> UnitFunction:
    """Parses captions; `options` is the node of the parser."""
    return stages.ParseCaptions(hydra.utils.instantiate(options))


def quieten() -> None:
    """Leaves out what Lightning says about training, and about where batches come from, which units tell themselves."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in ("Couldn't infer the batch indices", "You have overridden `transfer_batch_to_device`", ".*LeafSpec"):
        warnings.filterwarnings("ignore", message=message)


def launched() -> bool:
    """Whether this is one of several processes of the trainer (as Lightning and torchrun tell them)."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def place(num_nodes: int) -> tuple[int, int]:
    """Which process this is, and how many there are; before the trainer started others there is one."""
    if not launched():
        return 0, 1
    told = os.environ
    if "LOCAL_RANK" not in told:
        return int(told["SLURM_PROCID"]), int(told["SLURM_NTASKS"])
    ranks = int(told["WORLD_SIZE"])
    on_this_machine = int(told.get("NODE_RANK", "0")) * (ranks // num_nodes) + int(told["LOCAL_RANK"])
    return int(told.get("RANK", on_this_machine)), ranks


def plain(node: Any) -> dict[str, Any]:
    """Plain values of a part of the configuration."""
    values: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return values


def _known_stages(names: Any) -> set[str]:
    if isinstance(names, str) or not set(names) <= set(STAGES) or not names:
        wrong = names if isinstance(names, str) else next((name for name in names if name not in STAGES), "")
        raise utils.ConfigError(
            f"stages={names}: a list in brackets, such as [tag,merge]; {utils.nearest(wrong, STAGES)}"
        )
    return set(names)


@hydra.main(version_base="1.3", config_path="conf", config_name="pseudo_label")
def main(config: DictConfig) -> None:
    """The entry point."""
    exit_on_sigterm()
    quieten()
    utils.check_config(config)
    if config.print_config:
        utils.print_config(config)
    Run(config)()


if __name__ == "__main__":
    utils.run(main, CONFIG_PATH, "pseudo_label")
