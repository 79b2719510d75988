"""Around the entry points: checked configurations, lists of parts, the run to resume.

Nothing here knows the networks or the data.
"""

import difflib
import inspect
import logging
import math
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich import print as rich_print
from rich.syntax import Syntax
from rich.tree import Tree

logger = logging.getLogger(__name__)

HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}


def rate_of_batch(lr: float, batch: int, total: int | None) -> float | None:
    """A learning rate that belongs to one total batch, for another: it grows with the square root of the batch.

    `${rate_of_batch:...}` in conf/. None where `total` is None: the task knows its total batch later, and the rule.

    >>> rate_of_batch(1e-4, 32, 128)
    0.0002
    """
    return None if total is None else lr * math.sqrt(total / batch)


OmegaConf.register_new_resolver("rate_of_batch", rate_of_batch, replace=True)


class ConfigError(ValueError):
    """A configuration with a key that nothing reads, or without one that something needs."""


def nearest(name: str, names: Sequence[str]) -> str:
    """The most similar of `names`, worded as the end of an error message."""
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {found[0]!r}?" if found else f"expected one of {', '.join(sorted(names))}"


def accepted_arguments(target: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """The named parameters of a callable, and whether it takes any others.

    `**kwargs` of our own constructors are handed on to the base class, so they are followed there; those
    of other packages may go anywhere.
    """
    if not inspect.isclass(target):
        parameters = list(inspect.signature(target).parameters.values())
        return _named(parameters), any(p.kind is p.VAR_KEYWORD for p in parameters)
    named: dict[str, inspect.Parameter] = {}
    for cls in target.__mro__:
        if "__init__" in vars(cls):
            parameters = list(inspect.signature(vars(cls)["__init__"]).parameters.values())[1:]
            named = _named(parameters) | named
            handed_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
            if not handed_on or not cls.__module__.startswith("rlipv2."):
                return named, handed_on
    return named, False


def _named(parameters: Sequence[inspect.Parameter]) -> dict[str, inspect.Parameter]:
    return {p.name: p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def constructor_nodes(node: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with a `_target_` inside a resolved configuration, with its dotted path."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield path, node
        for key, value in node.items():
            yield from constructor_nodes(value, f"{path}.{key!s}" if path else str(key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from constructor_nodes(value, f"{path}[{index}]")


def check_config(config: DictConfig) -> None:
    """Checks that every `_target_` exists and takes the keys beside it.

    Hydra itself refuses unknown keys on the command line; this finds those inside configuration files.

    Raises:
        ConfigError: naming the key, where it stands, and the nearest valid name.
    """
    for path, node in constructor_nodes(OmegaConf.to_container(config, resolve=False)):
        try:
            target = hydra.utils.get_object(node["_target_"])
        except Exception as error:
            raise ConfigError(f"{path}._target_={node['_target_']}: cannot be imported ({error})") from error
        parameters, open_ended = accepted_arguments(target)
        given = [str(key) for key in node if key not in HYDRA_KEYS]
        for key in given:
            if key not in parameters and not open_ended:
                raise ConfigError(
                    f"{path}.{key}: {node['_target_']} takes no {key!r}: {nearest(key, list(parameters))}"
                )
        missing = [
            name
            for name, parameter in parameters.items()
            if parameter.default is parameter.empty and name not in given and not node.get("_partial_")
        ]
        if missing and not node.get("_args_"):
            raise ConfigError(f"{path}: {node['_target_']} needs {', '.join(missing)}")


def instantiate_all(nodes: DictConfig | None) -> list[Any]:
    """The objects of a mapping of `_target_` nodes, in order; entries that are null are left out."""
    return [hydra.utils.instantiate(node) for node in (nodes or {}).values() if node and "_target_" in node]


def print_config(config: DictConfig) -> None:
    """Prints the configuration as a tree, one branch per group."""
    tree = Tree("configuration")
    for key, value in config.items():
        if isinstance(value, DictConfig | ListConfig):
            tree.add(str(key)).add(Syntax(OmegaConf.to_yaml(value).rstrip(), "yaml", background_color="default"))
        else:
            tree.add(f"{key!s}: {value}")
    rich_print(tree)


def run(main: Callable[[], Any], config_path: str, config_name: str) -> None:
    """Calls a `hydra.main` function; a misspelt override ends with the nearest valid name, not a traceback.

    Args:
        main: the decorated function.
        config_path: absolute folder of the configuration.
        config_name: its top file.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra prints the error and exits before we see it
    try:
        main()
    except (ConfigCompositionException, MissingConfigException) as error:
        cause = f"\n{error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
        overrides = [argument for argument in sys.argv[1:] if "=" in argument and not argument.startswith("-")]
        hints = override_hints(overrides, config_path, config_name)
        sys.exit("\n".join([f"{error}{cause}", *hints]))
    except (ConfigError, OverrideParseException, OmegaConfBaseException, FileNotFoundError) as error:
        sys.exit(str(error))
    except Exception as error:
        message = plain_message(error)
        if message is None or "RLIPV2_TRACEBACK" in os.environ:
            raise
        sys.exit(f"{message}\n(RLIPV2_TRACEBACK=1 shows where this comes from)")


def plain_message(error: BaseException) -> str | None:
    """The message of an error that this project raised on purpose; None for all others, which need their traceback.

    On purpose means: a ValueError or OSError whose innermost frame is a file of this project, or a setting that
    Lightning refuses.
    """
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        cause = plain_message(error.__cause__)
        place = str(error).rpartition("full_key: ")[2] if "full_key: " in str(error) else None
        return cause if cause is None or place is None else f"{place}: {cause}"
    if isinstance(error, MisconfigurationException):  # Lightning's word for settings that cannot be
        return str(error)
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    ours = frame is not None and Path(frame.tb_frame.f_code.co_filename).is_relative_to(Path(__file__).parent)
    return str(error) if isinstance(error, ValueError | OSError) and ours else None


def override_hints(overrides: Sequence[str], config_path: str, config_name: str) -> list[str]:
    """For each override of an unknown key or group option, what may have been meant."""
    folder = Path(config_path)
    groups = {
        str(path.relative_to(folder)): sorted(file.stem for file in path.glob("*.yaml"))
        for path in folder.rglob("*")
        if path.is_dir()
    }
    choices, keys, hints = [], [], []
    for override in overrides:
        if override.startswith("+"):
            continue  # adds a key on purpose
        key, _, value = override.lstrip("~").partition("=")
        group = key.split("@")[0]
        if group not in groups:
            keys.append(key)
        elif value in ("null", "") or all(option in groups[group] for option in value.split(",")):
            choices.append(override)
        else:
            wrong = next(option for option in value.split(",") if option not in groups[group])
            hints.append(f"{group}={wrong}: {nearest(wrong, groups[group])}")
    if not hints:
        config = _composed(choices, folder, config_name)
        # Hydra's own keys are not part of it; where it does not compose, the keys are not to blame
        keys = [key for key in keys if config and not key.startswith("hydra.")]
        hints = [hint for key in keys if (hint := _key_hint(key, config, list(groups)))]
    return hints


def _composed(choices: Sequence[str], folder: Path, config_name: str) -> dict[str, Any]:
    """The configuration of some group choices, as plain values; empty where even these do not compose."""
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(folder.absolute()), version_base="1.3"):
            config = hydra.compose(config_name, overrides=[choice for choice in choices if "," not in choice])
    except (ConfigCompositionException, MissingConfigException):
        return {}
    return dict(OmegaConf.to_container(config, resolve=False))  # type: ignore[arg-type]


def _key_hint(key: str, config: Mapping[str, Any], groups: Sequence[str]) -> str | None:
    """What may have been meant with a dotted key, None if the configuration has it."""
    names = list(_dotted_names(config))
    if key in names:
        return None
    parent, _, last = key.rpartition(".")
    node: Any = config
    for part in parent.split(".") if parent else ():
        node = node.get(part, {}) if isinstance(node, Mapping) else {}
    arguments: list[str] = []
    if isinstance(node, Mapping) and "_target_" in node:
        arguments = list(accepted_arguments(hydra.utils.get_object(node["_target_"]))[0])
        if last in arguments:
            return f"{key}: {node['_target_']} takes it, but conf/ leaves it at its default: write +{key}=..."
    siblings = [name for name in names if name.rpartition(".")[0] == parent]
    siblings += [f"{parent}.{argument}" for argument in arguments]
    close = difflib.get_close_matches(key, [*siblings, *([] if parent else groups)], n=1, cutoff=0.6)
    close = close or difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    return f"{key}: did you mean {close[0]!r}?" if close else f"{key}: no such key"


def _dotted_names(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield f"{prefix}{key!s}"
            yield from _dotted_names(value, f"{prefix}{key!s}.")


def checkpoint_to_resume(resume: str | None, ckpt_path: str | None, folder: str | Path) -> str | None:
    """The checkpoint that training continues from, or None for a new run.

    Args:
        resume: "auto" takes the newest `last.ckpt` under `folder`, if there is one; None takes none.
        ckpt_path: a file, which wins over `resume`.
        folder: where the runs of this experiment lie.

    Raises:
        FileNotFoundError: `ckpt_path` does not exist.
        ValueError: `resume` is neither null nor "auto", or the file is no whole checkpoint.
    """
    if ckpt_path is not None:
        if not Path(ckpt_path).is_file():
            raise FileNotFoundError(f"ckpt_path={ckpt_path}: no such file; give a checkpoint written by train.py")
        if not zipfile.is_zipfile(ckpt_path):
            raise ValueError(f"ckpt_path={ckpt_path}: not a whole checkpoint (cut off?); copy it again")
        return str(ckpt_path)
    if resume is None:
        return None
    if resume != "auto":
        raise ValueError(f"resume={resume!r}: expected 'auto' or null; a certain file goes into ckpt_path=...")
    found = sorted(Path(folder).rglob("last.ckpt"), key=lambda path: path.stat().st_mtime)
    return str(found[-1]) if found else None


NEWEST_RUN = "run:"
"""`init=run:NAME` (`model.init`, `tagger.init`) starts from the weight folder of the newest run of that name."""


def newest_weights(logs: str | Path, name: str) -> Path | None:
    """The weight folder that the newest finished run of a name has written, or None."""
    files = (Path(logs) / name).rglob("weights/model.safetensors")
    newest = max(files, key=lambda path: path.stat().st_mtime, default=None)
    return None if newest is None else newest.parent


def resolve_weights(init: str | None, *, logs: str | Path, needed: bool = True) -> str | None:
    """`init` itself, or the folder that `run:NAME` means; None if there is none and it is not needed.

    Raises:
        ConfigError: `run:` without a name.
        FileNotFoundError: no run of that name has finished.
    """
    if init is None or not init.startswith(NEWEST_RUN):
        return init
    name = init.removeprefix(NEWEST_RUN)
    if not name:
        raise ConfigError(f"init={init}: no name of a run; expected {NEWEST_RUN}NAME, such as {NEWEST_RUN}micro_od")
    found = newest_weights(logs, name)
    if found is None and not needed:
        return None
    if found is None:
        raise FileNotFoundError(
            f"init={init}: no run in {Path(logs) / name} has written weights/model.safetensors; train them with "
            f"`python train.py experiment={name}`, or give another folder as init"
        )
    logger.info("init=%s: %s", init, found)
    return str(found)


def require_weights(init: str | None, *, weights: str | Path, logs: str | Path, experiment: str | None) -> None:
    """Checks that the initial weights are there, before anything is built or downloaded for a run.

    Only what lies below `weights` is certainly a folder; another name that does not exist may be a Hub repository.

    Args:
        init: the folder, or None for none.
        weights: where the folders of earlier stages lie.
        logs: where the runs of all experiments lie.
        experiment: the one that trains such weights, or None.

    Raises:
        FileNotFoundError: they are not; names the file, and what writes it.
    """
    if init is None or (Path(init) / "model.safetensors").is_file():
        return
    if not Path(init).is_dir() and Path(weights) not in Path(init).parents:
        return
    todo = f"convert official ones with `python -m rlipv2.checkpoints convert FILE.pth {init}`, "
    if experiment is not None:
        found = newest_weights(logs, experiment)
        todo += (
            f"or take those of the newest run of {experiment}, {found}, with model.init={NEWEST_RUN}{experiment}, "
            if found
            else f"or train them with `python train.py experiment={experiment}` and take the newest run's with "
            f"model.init={NEWEST_RUN}{experiment}, "
        )
    raise FileNotFoundError(
        f"{Path(init) / 'model.safetensors'}: initial weights not found; {todo}or start without: model.init=null"
    )


def keep_log(folder: str | Path) -> None:
    """Renames the CSV log that an earlier start of the same run left in its folder; Lightning would delete it.

    `csv/metrics.csv` becomes `csv/metrics_1.csv`, the next one `metrics_2.csv`, and so on.
    """
    log = Path(folder) / "csv/metrics.csv"
    if log.is_file():
        log.rename(log.with_name(f"metrics_{len([*log.parent.glob('metrics_*.csv')]) + 1}.csv"))


def logger_ids(checkpoint: str | None) -> dict[str, str]:
    """Identities of the loggers of the run that wrote a checkpoint, such as {"wandb": "3k1x..."}."""
    if checkpoint is None:
        return {}
    content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    return dict(content.get("logger_ids", {}))
