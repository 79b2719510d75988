"""What makes the units of a stage on the CPU, in as many processes as there are workers."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import hydra

from rlipv2.labelling.inputs import Inputs, plain
from rlipv2.labelling.settings import is_template
from rlipv2.pseudo_labels import official_files, stages
from rlipv2.pseudo_labels.prior import CandidatesOfPrior, prior_of_classes
from rlipv2.pseudo_labels.workers import UnitFunction

logger = logging.getLogger(__name__)

Make = Callable[[], UnitFunction]
"""Gives the function of a stage; called in the process that uses it."""


def unit_function(stage: str, inputs: Inputs, *, quiet: bool = False) -> Make | None:
    """What makes the units of a stage; None where a network does, which Lightning runs.

    Args:
        stage: its name.
        inputs: of the run.
        quiet: warn of nothing; of several processes one does.
    """
    if stage in inputs.left_out:
        return stages.LeftOut
    if stage in inputs.files:
        if not quiet:
            _warn_of_others(stage, inputs)
        return _of_file(stage, inputs)
    config = inputs.config
    if stage == "caption" and is_template(inputs):
        options = {**plain(config.captioner), "class_names": inputs.images.names}
        return partial(template_stage, options, config.seed)
    if stage == "parse":
        return partial(parse_stage, plain(config.parser))
    if stage == "candidates" and config.candidates.prior:
        prior = prior_of_classes(config.candidates.prior, inputs.images.names)
        return partial(CandidatesOfPrior, prior, mode=config.mode, group_size=config.candidates.group_size)
    if stage == "candidates":
        matcher, options = inputs.matcher_options()
        return partial(stages.candidates_stage, inputs.images.names, matcher, {"mode": config.mode, **options})
    return None


def _of_file(stage: str, inputs: Inputs) -> Make:
    if stage == "caption":
        return partial(stages.CaptionsOfFile, inputs.captions)
    if stage == "parse":
        return partial(official_files.GraphsOfFile, inputs.graphs)
    if stage == "candidates":
        return partial(official_files.CandidatesOfFile, inputs.candidates)
    return partial(official_files.TagsOfFiles, inputs.annotations, inputs.images.names)


def _warn_of_others(stage: str, inputs: Inputs) -> None:
    file = inputs.file_of(stage)
    unknown = file.count_unknown(inputs.images.image_ids)
    if unknown:
        told = "%s: %s: what it has of %s images that are not labelled here is left out"
        logger.warning(told, stage, file.path, f"{unknown:,}")


def template_stage(options: dict[str, Any], seed: int) -> UnitFunction:
    """Captions made of labels; `options` is the node of the captioner."""
    return stages.CaptionsOfLabels(hydra.utils.instantiate(options)(), seed)


def parse_stage(options: dict[str, Any]) -> UnitFunction:
    """Parses captions; `options` is the node of the parser."""
    return stages.ParseCaptions(hydra.utils.instantiate(options))
