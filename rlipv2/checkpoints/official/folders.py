"""Whole conversions: an official file to a detector, or to a weight folder."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rlipv2.checkpoints.folder import build_detector, save_partial_weights, save_weights
from rlipv2.checkpoints.official.convert import ConversionReport, convert_state
from rlipv2.checkpoints.official.detection import convert_backbone, convert_detection, family_of
from rlipv2.checkpoints.official.infer import infer
from rlipv2.checkpoints.official.read import read_official
from rlipv2.checkpoints.settings import default_settings
from rlipv2.models import RelationDetector, RelationTagger
from rlipv2.structures import LabelSpace

_log = logging.getLogger(__name__)

# Counters that only batch norms which are not frozen have.
_EXPECTED_MISSING = re.compile(r"backbone\..*num_batches_tracked")


def convert_checkpoint(
    official: Mapping[str, Tensor], flags: Mapping[str, Any] | None = None, *, source: str = "checkpoint"
) -> tuple[RelationDetector, ConversionReport]:
    """A detector in eval mode with the weights of an official checkpoint.

    Raises:
        ValueError: any tensor is missing, left over, of another shape, or contradicts its alias; the
            message holds the report.
    """
    inferred = infer(official, flags)
    num_layers = inferred.config["entity_decoder"]["num_layers"]
    state, report = convert_state(official, num_decoder_layers=num_layers, unused=inferred.unused)
    report.assumed = inferred.assumed
    with torch.device("meta"):
        expected = build_detector(inferred.config, source=source).state_dict()
    missing = sorted(set(expected) - set(state))
    report.expected_missing = [key for key in missing if _EXPECTED_MISSING.fullmatch(key)]
    report.missing = [key for key in missing if key not in report.expected_missing]
    report.unexpected += sorted(set(state) - set(expected))
    report.mismatched += [
        f"{key}: {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in sorted(set(state) & set(expected))
        if state[key].shape != expected[key].shape
    ]
    if report.surprises:
        raise ValueError(f"{source}: cannot be converted without loss:\n{report}")
    detector = build_detector(inferred.config, source=source)
    detector.load_state_dict(state, strict=not report.expected_missing)
    return detector.eval(), report


def convert_file(
    path: str | Path,
    folder: str | Path,
    label_space: LabelSpace | None = None,
    *,
    family: Literal["auto", "relation", "detection", "backbone"] = "auto",
) -> ConversionReport:
    """Converts an official `.pth` to a weight folder and returns the report.

    A RLIPv2 checkpoint becomes a whole weight folder; a detector or a backbone one with initial weights for
    `model.init`, which says so in `partial.json`.

    Raises:
        ValueError: the file is not of the family, or cannot be converted without loss.
    """
    official, flags = read_official(path)
    try:
        found = family_of(official) if family == "auto" else family
        if found == "relation":
            return _convert_relation(official, flags, path, folder, label_space)
        if label_space is not None:
            raise ValueError("initial weights have no label space; leave --label-space out")
        state, report, kind = (convert_detection if found == "detection" else convert_backbone)(official)
    except ValueError as error:
        raise error if str(error).startswith(str(path)) else ValueError(f"{path}: {error}") from error
    save_partial_weights(state, folder, source=Path(path).name, kind=kind)
    return report


def _convert_relation(
    official: Mapping[str, Tensor],
    flags: Mapping[str, Any],
    path: str | Path,
    folder: str | Path,
    label_space: LabelSpace | None,
) -> ConversionReport:
    detector, report = convert_checkpoint(official, flags, source=str(path))
    detector.label_space = label_space
    if not isinstance(detector, RelationTagger):
        detector.inference = default_settings(detector, flags)
    try:
        _ = detector.text_encoder.tokenizer  # loaded, it is stored along
    except OSError as error:
        _log.warning(
            "the tokenizer is not stored with the weights, it will be downloaded at the first use of words: %s",
            str(error).splitlines()[0],
        )
    save_weights(detector, folder)
    return report
