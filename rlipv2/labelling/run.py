"""The stages of a configuration, one after the other."""

import logging
import os
import sys
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from rlipv2 import utils
from rlipv2.labelling.cpu_stages import unit_function
from rlipv2.labelling.inputs import Inputs, plain
from rlipv2.labelling.networks import NetworkStage
from rlipv2.labelling.processes import FIRST, launched, place
from rlipv2.labelling.settings import stage_settings
from rlipv2.pseudo_labels import export, merging, overview, stages
from rlipv2.pseudo_labels.agreement import agreement
from rlipv2.pseudo_labels.filters import MergeRules
from rlipv2.pseudo_labels.plan import Plan, forget, join_plan, read_plan
from rlipv2.pseudo_labels.progress import Progress
from rlipv2.pseudo_labels.report import write_report
from rlipv2.pseudo_labels.units import FOLDERS, UnitError, assigned
from rlipv2.pseudo_labels.workers import UnitWork, run_units

STAGES = (*FOLDERS, "merge", "report", "export", "status", "validate")

logger = logging.getLogger(__name__)


class Run:
    """The stages of a configuration.

    Args:
        config: composed and checked.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config, self.inputs = config, Inputs(config)
        self.out = self.inputs.out
        self._place: tuple[int, int] | None = None
        wanted = _known_stages(config.stages)
        if wanted & set(FOLDERS):  # those that nothing depends on cost nothing, and are expected to be there
            wanted |= self.inputs.left_out
        self.stages = sorted(wanted, key=STAGES.index)
        if "tag" in self.stages and not config.annotations:
            config.tagger.init = utils.resolve_weights(config.tagger.init, logs=config.paths.logs)
        _check(config)
        if {"merge", "report"} & wanted:
            _ = self.rules  # refuses what is found hours later otherwise

    def __call__(self) -> None:
        """Runs all stages in their order."""
        try:
            for stage in self.stages:
                if launched() and STAGES.index(stage) < STAGES.index(os.environ.get(FIRST, STAGES[0])):
                    continue  # it was complete before this process began
                if stage in FOLDERS:
                    self.run_stage(stage)
                elif self.place[0] == 0:
                    getattr(self, stage)()
        except BaseException:
            if "plan" in self.__dict__:
                forget(self.plan, self.stages)
            raise

    @property
    def place(self) -> tuple[int, int]:
        """Rank of this process and number of processes."""
        # Lightning takes what the environment tells away after each prediction
        return self._place or place(self.config.trainer.num_nodes)

    @cached_property
    def plan(self) -> Plan:
        """The plan of the folder with the settings of the stages that are run now."""
        if not self.settings:
            read_plan(self.out)  # nothing to merge or to show in a new folder
        data = self.inputs.images.identity() | {"unit_size": self.config.unit_size}
        return join_plan(self.out, data, self.settings, on_change=self.config.on_config_change)

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The settings of the stages that are run now."""
        wanted: dict[str, dict[str, Any]] = {}
        for stage in reversed(self.stages):  # the last one first: a missing tagger is told before captions are indexed
            if stage in FOLDERS:
                wanted = {stage: stage_settings(stage, self.inputs), **wanted}
        return wanted

    @cached_property
    def rules(self) -> MergeRules:
        """Which relations are merged and shown."""
        return merging.rules_of({name: self.config.merge[name] for name in merging.RULES})

    def run_stage(self, stage: str) -> None:
        """A stage that works in units."""
        plan = self.plan  # refuses what must not be mixed before anything is written
        make = unit_function(stage, self.inputs, quiet=self.place[0] > 0)
        progress = partial(self.progress, stage)
        if make is None:
            network = NetworkStage(stage, self.inputs, plan, units=self.units, progress=progress)
            self._place = network.run(self.place)
        else:
            work = UnitWork(plan, stage, self.inputs.images, make)
            options = {"workers": self.config.workers, "retry_failures": self.config.retry_failures}
            run_units(work, self.units(*self.place), progress(*self.place), **options)
        # a job that failed at its beginning may have forgotten the settings before this one made its first unit
        join_plan(self.out, plan.data, self.settings, on_change=self.config.on_config_change)

    def merge(self) -> None:
        """One file of all units; of several jobs the one that finds everything complete writes it."""
        options = {name: value for name, value in plain(self.config.merge).items() if name not in merging.RULES}
        try:
            merging.merge(self.plan, self.inputs.images, self.rules, **options)
        except UnitError as error:
            self._leave("merge", error)

    def report(self) -> None:
        """The page about everything."""
        images, plan = self.inputs.images, self.plan
        try:
            units, _ = merging.complete_units(plan, allow_incomplete=self.config.merge.allow_incomplete)
        except UnitError as error:
            self._leave("report", error)
            return
        settings = plain(self.config.report)
        truth, other = settings.pop("truth"), settings.pop("compare")
        page = write_report(
            self.out,
            merging.report_images(plan, images, self.rules, units),
            class_names=images.names,
            matcher=stages.make_matcher(images.names, **self.inputs.matcher_options()[0]),
            truth=None if truth is None else Path(truth),
            failures=merging.all_failures(plan, units),
            counts=overview.stage_counts(plan),
            agreement=None if other is None else agreement(plan, read_plan(Path(other).expanduser()), images),
            settings={"images": plan.data | {"names": len(images.names)}, **plan.stages},
            **settings,
        )
        logger.info("report: %s", page)

    def export(self) -> None:
        """What the stages made in the layout of the official files."""
        for path, number in export.write_official(self.plan, self.inputs.images):
            logger.info("export: %s: %s images", path, f"{number:,}")

    def status(self) -> None:
        """Prints how far the folder is; needs neither images nor networks."""
        for line in overview.status(read_plan(self.out)):
            print(line)

    def validate(self) -> None:
        """Prints what is wrong in the folder, and ends with status 1 if anything is."""
        merged = self.out / merging.FOLDER / self.config.merge.file
        found = overview.validate(self.plan, self.inputs.images, merged, max_failures=self.config.max_failures)
        found.print(Console())
        if found.of_level("error"):
            sys.exit(1)

    def units(self, rank: int, ranks: int) -> list[int]:
        """The units of one process of this job; any number of jobs and processes may share them."""
        job = self.config.job
        return list(assigned(self.plan.num_units, part=job.index + job.count * rank, parts=job.count * ranks))

    def progress(self, stage: str, rank: int, ranks: int) -> Progress:
        """Counts the units of a process; the first one shows them."""
        units, images = len(self.units(rank, ranks)), len(self.inputs.images)
        return Progress(stage, units=units, images=images, max_failures=self.config.max_failures, quiet=rank > 0)

    def _leave(self, what: str, error: UnitError) -> None:
        """Leaves something to the job that ends last; alone there is none, and the error stands."""
        if self.config.job.count == 1 or not set(self.stages) & set(FOLDERS):
            raise error
        logger.info("%s: left to the job that ends last (%s)", what, error)


def _check(config: DictConfig) -> None:
    job, threshold, candidates = config.job, config.report.threshold, config.candidates
    if candidates.file and candidates.prior:
        raise utils.ConfigError(
            f"candidates.file={candidates.file} candidates.prior={candidates.prior}: candidates come from one of both"
        )
    if not 0 <= job.index < job.count:
        raise utils.ConfigError(
            f"job.index={job.index} job.count={job.count}: jobs are counted from 0 to job.count - 1"
        )
    if config.unit_size < 1:
        raise utils.ConfigError(f"unit_size={config.unit_size}: expected at least 1 image")
    if config.workers < 1:
        raise utils.ConfigError(f"workers={config.workers}: expected at least 1")
    if not 0 <= config.max_failures <= 1:
        raise utils.ConfigError(f"max_failures={config.max_failures}: expected a share of the images, 0 to 1")
    if isinstance(threshold, str) or not 0 <= threshold <= 1:
        raise utils.ConfigError(f"report.threshold={threshold}: expected a score, 0 to 1")


def _known_stages(names: Any) -> set[str]:
    if isinstance(names, str) or not set(names) <= set(STAGES) or not names:
        wrong = names if isinstance(names, str) else next((name for name in names if name not in STAGES), "")
        raise utils.ConfigError(
            f"stages={names}: a list in brackets, such as [tag,merge]; {utils.nearest(wrong, STAGES)}"
        )
    return set(names)
