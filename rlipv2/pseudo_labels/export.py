"""What the stages made, in the layout of the official files: captions, scene graphs, candidates, scored relations."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rlipv2.ops.files import opened_atomically
from rlipv2.pseudo_labels.annotations import write_annotations
from rlipv2.pseudo_labels.filters import MergeRules
from rlipv2.pseudo_labels.merging import merged_records
from rlipv2.pseudo_labels.plan import Plan, PlanError
from rlipv2.pseudo_labels.source import LabelledImages
from rlipv2.pseudo_labels.units import StageFolder, UnitError

FOLDER = "export"
FILES = {"caption": "captions.json", "parse": "graphs.json", "candidates": "candidates.json", "tag": "annotations.json"}
"""What each stage is written to."""
NO_CANDIDATES: list[Any] = [[[], []]]
"""Officially an image of which captions name no pair has one empty group."""


def write_official(plan: Plan, images: LabelledImages) -> Iterator[tuple[Path, int]]:
    """Writes `<out>/export/*.json` of every stage that is complete; gives each path with its number of images.

    `captions.json`, `graphs.json` and `candidates.json` have a list by image id, without images that have no captions;
    `annotations.json` has a record of every image, nothing dropped and in the order of groups, pairs and texts.
    Entities of graphs have `span`, `head` and `lemma_head`: what no later stage reads (`lemma_span`, `span_bounds`,
    `modifiers`, `type`) is not kept. Each file can be given in the place of its stage.

    Args:
        plan: of the run.
        images: of the run.

    Raises:
        UnitError: a stage that was begun is not complete.
    """
    folder = plan.out / FOLDER
    folder.mkdir(exist_ok=True)
    makers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "caption": lambda row: row["captions"],
        "parse": lambda row: row["graphs"],
        "candidates": lambda row: row["groups"] or NO_CANDIDATES,
    }
    for stage, content in makers.items():
        units = _complete(plan, stage)
        if units is not None:
            path = folder / FILES[stage]
            yield path, _write_lists(path, _rows(plan, units, content))
    if _complete(plan, "tag") is not None:
        path, rules = folder / FILES["tag"], MergeRules.official()
        yield path, write_annotations(path, merged_records(plan, images, rules, [*range(plan.num_units)]))


def _rows(plan: Plan, units: StageFolder, content: Callable[[dict[str, Any]], Any]) -> Iterator[tuple[int, Any]]:
    """(image id, content) of the images that have captions; of all where captions are none of the run's business."""
    for unit in range(plan.num_units):
        silent = _without_graphs(plan, unit) if units.stage == "candidates" else set()
        for row in units.rows(unit):
            some = content(row)
            if some and row["image_id"] not in silent:
                yield row["image_id"], some


def _without_graphs(plan: Plan, unit: int) -> set[int]:
    if "left_out" in plan.stages["parse"]:
        return set()
    return {row["image_id"] for row in plan.folder("parse").rows(unit) if not row["graphs"]}


def _complete(plan: Plan, stage: str) -> StageFolder | None:
    """The units of a stage; None where it was not begun, or is left out."""
    try:
        folder = plan.folder(stage)
    except PlanError:
        return None
    if "left_out" in plan.stages[stage]:
        return None
    problem = next((text for unit in range(plan.num_units) if (text := folder.problem(unit)) is not None), None)
    if problem is not None:
        raise UnitError(f"export: {stage} is not complete: {problem}; run the command again to finish it")
    return folder


def _write_lists(path: Path, rows: Iterator[tuple[int, Any]]) -> int:
    number = 0
    with opened_atomically(path) as file:
        file.write(b"{")
        for number, (image, content) in enumerate(rows, start=1):
            file.write(b",\n" if number > 1 else b"")
            text = json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")
            file.write(f'"{image}": '.encode() + text)
        file.write(b"}\n")
    return number
