"""HICO-DET results as JSON, under the names of the official logs, and as a table to read."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from rlipv2.metrics.figures import ClassFigures
from rlipv2.metrics.hico.protocol import HICOProtocol, HICOResult

ProtocolName = Literal["python", "matlab"]
Groups = Mapping[str, Bool[np.ndarray, " c"]]

_RULES: dict[ProtocolName, str] = {"python": "rlipv2", "matlab": "matlab"}
_TITLES = {
    "rlipv2": "official Python",
    "rlipv2/ko": "official Python, known object",
    "matlab": "MATLAB",
    "matlab/ko": "MATLAB, known object",
}


def as_json(
    result: HICOResult,
    rules: HICOProtocol,
    rare: Bool[np.ndarray, " c"],
    splits: Groups,
    *,
    protocol: ProtocolName = "python",
) -> dict[str, Any]:
    """The figures of `protocol` at the top level, those of the other one under its name.

    Fractions between 0 and 1; None where no class of the mean has ground truth.

    Args:
        result: of the evaluation.
        rules: it was made with.
        rare: classes of the mean `mAP rare`.
        splits: per zero-shot split, the unseen classes.
        protocol: whose figures come first.
    """
    other: ProtocolName = "matlab" if protocol == "python" else "python"
    suppression = {"threshold": rules.nms_threshold, "alpha": rules.nms_alpha, "beta": rules.nms_beta}
    return {
        "protocol": protocol,
        "settings": dataclasses.asdict(rules),
        "nms_settings": suppression if rules.nms else None,
        **_family(result, _RULES[protocol], rare, splits),
        **result.counts(_RULES[protocol]),
        other: _family(result, _RULES[other], rare, splits),
    }


def _family(result: HICOResult, rules: str, rare: Bool[np.ndarray, " c"], splits: Groups) -> dict[str, Any]:
    default, known = result.figures[rules], result.figures[f"{rules}/ko"]
    return {
        **_means(default, rare, splits),
        "mean max recall": _or_none(default.mean_max_recall()),
        "known_object": _means(known, rare, splits),
    }


def _means(figures: ClassFigures, rare: Bool[np.ndarray, " c"], splits: Groups) -> dict[str, Any]:
    means = {"mAP": None, "mAP rare": rare, "mAP non-rare": ~rare}
    zero_shot = {name: {"unseen": unseen, "seen": ~unseen, "full": None} for name, unseen in splits.items()}
    return {
        **{key: _or_none(figures.mean_ap(mask)) for key, mask in means.items()},
        **{
            name: {key: _or_none(figures.mean_ap(mask)) for key, mask in masks.items()}
            for name, masks in zero_shot.items()
        },
    }


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def as_table(
    result: HICOResult, rules: HICOProtocol, rare: Bool[np.ndarray, " c"], splits: Groups, *, num_images: int
) -> str:
    """The same figures in per cent, one line per set of rules."""
    counts = result.counts()
    cap = "all entries" if rules.top_k is None else f"top {rules.top_k} per image"
    nms = f"pairwise NMS {rules.nms_threshold} / {rules.nms_alpha} / {rules.nms_beta}" if rules.nms else "no NMS"
    columns: dict[str, Bool[np.ndarray, " c"] | None] = {"full": None, "rare": rare, "non-rare": ~rare}
    for name, unseen in splits.items():
        columns |= {f"{name} unseen": unseen, f"{name} seen": ~unseen}
    titles = {title: max(9, len(title) + 2) for title in (*columns, "recall")}
    lines = [
        f"HICO-DET: {num_images:,} images, "
        f"{counts['gt_pairs']:,} labelled pairs of {counts['classes_with_gt']} classes",
        f"detections: {cap}, {nms}; {counts['detections_after_filter']:,} left, "
        f"{counts['detections_counted']:,} counted, {counts['true_positives']:,} correct",
        "",
        "mAP in per cent".ljust(30) + "".join(title.rjust(width) for title, width in titles.items()),
    ]
    for name, title in _TITLES.items():
        figures = result.figures[name]
        values = [figures.mean_ap(mask) for mask in columns.values()]
        if not name.endswith("/ko"):
            values.append(figures.mean_max_recall())
        cells = ["-" if np.isnan(value) else f"{100 * value:.3f}" for value in values]
        # Known-object lines have no recall and end one column earlier.
        lines.append(title.ljust(30) + "".join(map(str.rjust, cells, titles.values())))
    lines.append(
        "recall: mean over classes of the largest recall reached; known object: from labelled pairs with boxes"
    )
    return "\n".join(lines)


def per_class_arrays(result: HICOResult) -> dict[str, np.ndarray]:
    """Arrays over the classes, named `<rules>_<figure>`: rules rlipv2, rlipv2_ko, matlab, matlab_ko."""
    arrays = {"n_gt": result.num_labelled}
    for name, figures in result.figures.items():
        arrays |= {f"{name.replace('/', '_')}_{key}": values for key, values in vars(figures).items()}
    return arrays
