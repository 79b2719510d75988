"""`plan.json`: the images of a run in their order, the size of its units, and the settings of every stage so far.

Whatever a unit's content depends on is a setting. A stage's hash covers the images, its own settings and those of all
stages before it, so that nothing is ever mixed that was made with different settings.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from rlipv2.ops.files import remove_leftovers, write_atomically
from rlipv2.pseudo_labels.units import FOLDERS, StageFolder

PLAN = "plan.json"
FORMAT = 1
OnChange = Literal["refuse", "redo"]


class PlanError(ValueError):
    """A folder that holds something else than what was asked for; the message names the setting."""


@dataclass(frozen=True)
class Plan:
    """What a run is about.

    Attributes:
        out: its folder.
        data: identity of the images: dataset, annotation files, rules, number and hash of the ids, size of the units.
        stages: settings of each stage that was run, or is to be run now.
    """

    out: Path
    data: dict[str, Any]
    stages: dict[str, dict[str, Any]]

    @property
    def num_units(self) -> int:
        """Units of every stage."""
        return -(-int(self.data["images"]) // int(self.data["unit_size"]))

    def images_of(self, unit: int) -> range:
        """Positions of the images of a unit."""
        size = int(self.data["unit_size"])
        return range(unit * size, min((unit + 1) * size, int(self.data["images"])))

    def chain(self, stage: str) -> str:
        """Hash of everything that a stage's units depend on.

        Raises:
            PlanError: a stage before it has never been run in this folder.
        """
        settings = []
        for name in FOLDERS:
            if name not in self.stages:
                raise PlanError(f"{self.out}: the stage {name!r}, which {stage!r} builds on, was not run yet; add it")
            settings.append([name, self.stages[name]])
            if name == stage:
                break
        return digest([self.data, settings])

    def folder(self, stage: str) -> StageFolder:
        """The units of a stage."""
        return StageFolder(self.out, stage, self.chain(stage))


def digest(values: Any) -> str:
    """Hash of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_plan(out: Path) -> Plan:
    """The plan in a folder.

    Raises:
        PlanError: there is none, or it cannot be read.
    """
    path = out / PLAN
    try:
        body = json.loads(path.read_bytes())
        if body["format"] != FORMAT:
            raise PlanError(
                f"{path}: a plan of format {body['format']}, this version reads {FORMAT}; give another out="
            )
        return Plan(out, dict(body["data"]), dict(body["stages"]))
    except FileNotFoundError:
        raise PlanError(f"{path}: no such file; nothing was pseudo-labelled in this folder yet") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError(f"{path}: damaged ({error}); put the file back, or give another out=") from error


def join_plan(
    out: Path, data: Mapping[str, Any], stages: Mapping[str, Mapping[str, Any]], *, on_change: OnChange = "refuse"
) -> Plan:
    """The plan of a folder after adding what is to be run now to it; written if it is new or grew.

    Args:
        out: the folder.
        data: see `Plan`; another one than before is always refused.
        stages: settings of the stages to be run now, plain values.
        on_change: what to do where a stage had other settings before: "refuse", or "redo" the stage and those after it.

    Raises:
        PlanError: the folder is of other images, or a setting changed; names them.
    """
    out.mkdir(parents=True, exist_ok=True)
    data, wanted = plain(data), {name: plain(settings) for name, settings in stages.items()}
    with FileLock(out / ".plan.lock"):  # of processes that start at the same time, one writes
        remove_leftovers(out)
        if not (out / PLAN).exists():
            _refuse_other_files(out)
            plan = Plan(out, data, wanted)
        else:
            old = read_plan(out)
            if old.stages:  # else nothing was made, see `forget`
                _refuse_other_images(old, data)
            _compare(old, wanted, on_change)
            plan = Plan(
                out,
                data,
                {name: {**old.stages, **wanted}[name] for name in FOLDERS if name in old.stages or name in wanted},
            )
            if plan == old:
                return plan
        _write(plan)
        return plan


def forget(plan: Plan, stages: Iterable[str]) -> None:
    """Takes settings out of `plan.json` that bind nobody: of stages of a failed try that made no unit.

    So a first try that failed may be repeated with other settings; if no stage made anything also with other images.

    Args:
        plan: of the try.
        stages: those of the try.
    """
    names = list(FOLDERS)
    with FileLock(plan.out / ".plan.lock"):
        there = read_plan(plan.out)
        made = [name for name, folder in FOLDERS.items() if any((plan.out / folder).glob("unit_*.done.json"))]
        begun = names[: names.index(made[-1]) + 1] if made else []
        left = {
            name: settings
            for name, settings in there.stages.items()
            if name in begun or name not in stages or settings != plan.stages.get(name)
        }
        if left != there.stages:
            _write(Plan(there.out, there.data, left))


def _write(plan: Plan) -> None:
    body = {"format": FORMAT, "data": plan.data, "stages": plan.stages}
    write_atomically(plan.out / PLAN, json.dumps(body, indent=1) + "\n")


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values as they are after reading them from JSON."""
    result: dict[str, Any] = json.loads(json.dumps(values, sort_keys=True))
    return result


def changes(old: Any, new: Any, name: str = "") -> list[str]:
    """Where two trees of plain values differ, as "name: old, now new".

    >>> changes({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}})
    ['a.b: was 1, now 3']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            text
            for key in {**old, **new}
            for text in changes(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
        ]
    return [] if old == new else [f"{name}: was {_short(old)}, now {_short(new)}"]


def _refuse_other_files(out: Path) -> None:
    found = [folder for folder in FOLDERS.values() if (out / folder).exists()]
    if found:
        raise PlanError(f"{out / found[0]}: is there, but {PLAN} is not; put that file back, or give another out=")


def _refuse_other_images(old: Plan, data: dict[str, Any]) -> None:
    found = changes(old.data, data)
    if found:
        raise PlanError(
            f"{old.out}: holds pseudo-labels of other images, or cut into other units ({'; '.join(found)}); give "
            "another out=, or the settings of before"
        )


def _compare(old: Plan, wanted: Mapping[str, dict[str, Any]], on_change: OnChange) -> None:
    found = [
        text for name, settings in wanted.items() for text in changes(old.stages.get(name, settings), settings, name)
    ]
    if found and on_change == "refuse":
        raise PlanError(
            f"{old.out}: was begun with other settings ({'; '.join(found)}); give those of before, another out=, or "
            "on_config_change=redo to do these stages, and the stages after them, again"
        )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
