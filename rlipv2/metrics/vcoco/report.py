"""V-COCO results as JSON and as a table to read."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from rlipv2.metrics.figures import ClassFigures
from rlipv2.metrics.vcoco.protocol import VCOCOProtocol
from rlipv2.metrics.vcoco.result import VCOCOResult

ProtocolName = Literal["role", "in_training"]
PROTOCOLS: dict[ProtocolName, str] = {
    "role": "official role AP (vsrl_eval.py, scenario 1 and 2) and agent AP, area under the curve; "
    "the published AP_role is the mean without `point`",
    "in_training": "mAP of the official training log (vcoco_eval.py): top 100 per image, 11 points, right object "
    "class; not the published figure",
}


def as_json(result: VCOCOResult, rules: VCOCOProtocol, protocols: Sequence[ProtocolName]) -> dict[str, Any]:
    """The figures of the chosen protocols; fractions between 0 and 1, None where there are no positives."""
    table = result.table
    content: dict[str, Any] = {
        "protocols": {name: PROTOCOLS[name] for name in protocols},
        "settings": dataclasses.asdict(rules),
    }
    if "role" in protocols:
        others, roles = int(table.published.sum()), len(table.slots)
        content |= {
            "positives": dict(zip(table.actions, result.num_positives.tolist(), strict=True)),
            "pairs_skipped": result.num_skipped,
            "agent_ap": _figures(table.actions, result.agent),
            f"agent_mean_{len(table.actions)}": _or_none(result.agent.mean_ap()),
            "role_ap": {f"scenario_{key}": _figures(table.slots, figures) for key, figures in result.roles.items()},
            "role_mean": {
                f"scenario_{key}": {
                    f"mean_{roles}": _or_none(result.role_ap(key, with_point=True)),
                    f"mean_{others}_without_point": _or_none(result.role_ap(key)),
                }
                for key in result.roles
            },
        }
    if "in_training" in protocols:
        labelled = [
            (f"AP_{verb}", float(ap))
            for verb, ap, count in zip(table.verbs, result.in_training.ap, result.num_labelled, strict=True)
            if count
        ]
        content["in_training"] = dict(labelled) | {
            "mAP_all": _or_none(result.in_training.mean_ap()),
            "mAP_thesis": _or_none(result.map_thesis(rules.missing_verbs)),
        }
        content["in_training_n_gt"] = dict(zip(table.verbs, result.num_labelled.tolist(), strict=True))
    return content


def _figures(names: Sequence[str], figures: ClassFigures) -> dict[str, dict[str, Any]]:
    columns = figures.ap.tolist(), figures.num_detections.tolist(), figures.num_true_positives.tolist()
    return {
        name: {"ap": _or_none(ap), "n_det": found, "n_tp": correct}
        for name, ap, found, correct in zip(names, *columns, strict=True)
    }


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def as_table(result: VCOCOResult, rules: VCOCOProtocol, protocols: Sequence[ProtocolName]) -> str:
    """The means in per cent, with the name of the protocol they belong to."""
    table = result.table
    lines = [f"V-COCO: {result.num_images:,} images, {result.num_positives.sum():,} labelled actions of persons"]
    if "role" in protocols:
        counted = int(result.agent.num_detections[0])
        lines += [
            f"pairs: {counted:,} counted, {result.num_skipped:,} on persons without annotation skipped",
            "",
            "official role AP in per cent".ljust(48) + "scenario 1  scenario 2",
            _line(
                f"AP_role, published: {int(table.published.sum())} roles without `point`",
                [result.role_ap(key) for key in result.roles],
            ),
            _line(
                f"mean of all {len(table.slots)} roles",
                [result.role_ap(key, with_point=True) for key in result.roles],
            ),
            _line(f"agent AP, {len(table.actions)} actions (no scenario)", [result.agent.mean_ap()]),
        ]
    if "in_training" in protocols:
        cap = "all entries" if rules.top_k is None else f"top {rules.top_k} per image"
        means = [result.in_training.mean_ap(), result.map_thesis(rules.missing_verbs)]
        lines += [
            "",
            f"in-training mAP in per cent ({cap})".ljust(48) + "   mAP_all  mAP_thesis",
            _line("not comparable with AP_role", means),
        ]
    return "\n".join(lines)


def _line(title: str, values: Sequence[float]) -> str:
    cells = ["-" if np.isnan(value) else f"{100 * value:.3f}" for value in values]
    return title.ljust(48) + "  ".join(cell.rjust(10) for cell in cells)


def per_class_arrays(result: VCOCOResult) -> dict[str, np.ndarray]:
    """Arrays named `<family>_<figure>`: per action `agent`, per slot `scenario_1` and `_2`, per verb `in_training`.

    `actions`, `slots` and `verbs` hold the names of their rows.
    """
    table = result.table
    arrays = {"actions": np.array(table.actions), "slots": np.array(table.slots), "verbs": np.array(table.verbs)}
    arrays |= {"n_positive": result.num_positives, "in_training_n_gt": result.num_labelled}
    families = {"agent": result.agent, "in_training": result.in_training}
    families |= {f"scenario_{key}": figures for key, figures in result.roles.items()}
    for name, figures in families.items():
        arrays |= {f"{name}_{key}": values for key, values in vars(figures).items()}
    return arrays
