"""A weight folder: `model.safetensors`, `config.yaml` (the constructor tree), `label_space.json`, `tokenizer/`.

`inference.json` tells how images are prepared and pairs scored, where somebody said so.
One with initial weights of some parts only has `partial.json` in place of the constructor tree.
"""

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import yaml
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlipv2.checkpoints.settings import SETTINGS, read_settings, write_settings
from rlipv2.models.detector import RelationDetector
from rlipv2.models.object_detector import ObjectDetector
from rlipv2.ops.files import write_atomically
from rlipv2.structures import LabelSpace

WEIGHTS, CONFIG, LABEL_SPACE, TOKENIZER = "model.safetensors", "config.yaml", "label_space.json", "tokenizer"
PARTIAL = "partial.json"

Network = RelationDetector | ObjectDetector

# A configuration may come with weights from anywhere: only our own network parts are ever constructed from it.
_ALLOWED_PACKAGES = ("rlipv2.models", "rlipv2.layers")


def build_network(config: Mapping[str, Any], *, source: str = "config") -> Network:
    """A network with fresh weights from its constructor tree (nested mappings with `_target_`).

    Raises:
        ValueError: a `_target_` outside `rlipv2.models` and `rlipv2.layers`, or arguments that do not fit.
    """
    _check_targets(config, source)
    try:
        network = hydra.utils.instantiate(dict(config), _convert_="all")
    except hydra.errors.InstantiationException as error:
        raise ValueError(f"{source}: cannot build the detector: {error}") from error
    if not isinstance(network, RelationDetector | ObjectDetector):
        raise ValueError(f"{source}: _target_={config.get('_target_')!r} is not a RelationDetector or ObjectDetector")
    network.config = _plain(config)
    return network


def build_detector(config: Mapping[str, Any], *, source: str = "config") -> RelationDetector:
    """A relation detector with fresh weights, see `build_network`.

    Raises:
        ValueError: as `build_network`, or another network.
    """
    detector = build_network(config, source=source)
    if not isinstance(detector, RelationDetector):
        raise ValueError(f"{source}: _target_={config.get('_target_')!r} is not a RelationDetector")
    return detector


def save_weights(detector: Network, folder: str | Path) -> None:
    """Writes a detector to a weight folder; each file appears under its name when it is complete.

    Raises:
        ValueError: the detector does not know its configuration.
    """
    if detector.config is None:
        raise ValueError(
            "this detector was composed by hand and has no configuration to save; set `detector.config` to its "
            "constructor tree, or build it with rlipv2.checkpoints.build_detector"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CONFIG, yaml.safe_dump(without_downloads(detector.config), sort_keys=False))
    if detector.label_space is not None:
        write_atomically(folder / LABEL_SPACE, json.dumps(detector.label_space.to_dict(), indent=1))
    if detector.inference is not None:
        write_settings(folder, detector.inference)
    else:  # those of other weights
        (folder / SETTINGS).unlink(missing_ok=True)
    if isinstance(detector, RelationDetector) and detector.text_encoder.tokenizer_is_loaded:
        detector.text_encoder.tokenizer.save_pretrained(folder / TOKENIZER)
    _save_tensors(detector.state_dict(), folder)
    (folder / PARTIAL).unlink(missing_ok=True)


def save_partial_weights(state: Mapping[str, Tensor], folder: str | Path, *, source: str, kind: str) -> None:
    """Writes initial weights of some parts of a detector, for `model.init`, with a note of what they are.

    Args:
        state: tensors by the names in a detector.
        folder: weight folder to write.
        source: name of the file they come from.
        kind: what that file is, in words.

    Raises:
        ValueError: the folder holds a whole detector.
    """
    folder = Path(folder)
    if (folder / CONFIG).exists():
        raise ValueError(f"{folder}: holds a whole detector ({CONFIG}); give another folder for partial weights")
    folder.mkdir(parents=True, exist_ok=True)
    # Copies, as several names may share one tensor, which the file format refuses.
    _save_tensors({name: tensor.clone() for name, tensor in state.items()}, folder)
    parts = sorted({name.split(".")[0] for name in state})
    note = {"partial": True, "source": source, "kind": kind, "parts": parts, "tensors": len(state)}
    write_atomically(folder / PARTIAL, json.dumps(note, indent=1))


def read_partial(folder: str | Path) -> dict[str, Any] | None:
    """The note of a folder with partial weights (`source`, `kind`, `parts`, `tensors`), None for a whole one.

    Raises:
        ValueError: the note is not readable.
    """
    path = Path(folder) / PARTIAL
    if not path.exists():
        return None
    try:
        note = json.loads(path.read_text())
        return {"source": str(note["source"]), "kind": str(note["kind"]), "parts": list(map(str, note["parts"]))} | note
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the note of partial weights ({error!r}); convert the file again") from error


def _save_tensors(state: Mapping[str, Tensor], folder: Path) -> None:
    temporary = folder / f".{WEIGHTS}.{os.getpid()}"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary)
    temporary.replace(folder / WEIGHTS)


def load_weights(folder: str | Path, **changes: Any) -> RelationDetector:
    """A relation detector from a weight folder, see `load_network`.

    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        ValueError: as `load_network`, or the weights of another network.
    """
    detector = load_network(folder, **changes)
    if not isinstance(detector, RelationDetector):
        raise ValueError(
            f"{folder}: holds a {type(detector).__name__}, not a RelationDetector; start a training from it with "
            f"model.init={folder}"
        )
    return detector


def load_network(folder: str | Path, **changes: Any) -> Network:
    """A network in eval mode from a weight folder; `changes` replace top-level entries of its configuration.

    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        ValueError: the configuration or the tensors do not fit, or the folder holds partial weights.
    """
    folder = Path(folder)
    if (note := read_partial(folder)) is not None:
        raise ValueError(
            f"{folder}: holds initial weights of {', '.join(note['parts'])} only (from {note['source']}, a "
            f"{note['kind']}), not a detector; start a training from them with model.init={folder}"
        )
    config_file = _existing(folder, CONFIG)
    config = yaml.safe_load(config_file.read_text())
    if not isinstance(config, dict) or "_target_" not in config:
        raise ValueError(f"{config_file}: expected the constructor tree of a detector with _target_ at its top")
    config |= changes
    if (folder / TOKENIZER).is_dir():
        config["text_encoder"]["tokenizer"] = str(folder / TOKENIZER)
    detector = build_network(config, source=str(config_file))
    state = read_state(folder)
    missing, unexpected = detector.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise ValueError(
            f"{folder / WEIGHTS}: does not fit {config_file}: missing {missing[:5]} ({len(missing)}), "
            f"unexpected {unexpected[:5]} ({len(unexpected)})"
        )
    if (folder / LABEL_SPACE).exists():
        detector.label_space = _read_label_space(folder / LABEL_SPACE)
    detector.inference = read_settings(folder)
    return detector.eval()


def read_state(folder: str | Path) -> dict[str, Tensor]:
    """The tensors of a weight folder.

    Raises:
        FileNotFoundError: no `model.safetensors` there.
        ValueError: the file is not a complete safetensors file.
    """
    path = _existing(Path(folder), WEIGHTS)
    try:
        with safe_open(path, framework="pt"):
            pass
        return load_file(path)
    except Exception as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error}); copy or convert it again") from error


def download_weights(name: str, **options: Any) -> Path:
    """The folder `name` itself, or the local copy of a Hugging Face Hub repository of that name.

    Raises:
        FileNotFoundError: `name` is neither a folder nor a repository that can be read.
    """
    path = Path(name)
    if path.is_dir():
        return path
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise FileNotFoundError(
            f"{name}: no such weight folder. Convert an official checkpoint with "
            "`python -m rlipv2.checkpoints convert FILE.pth OUT_DIR`, or give a Hub repository `owner/name`"
        )
    wanted = [WEIGHTS, CONFIG, LABEL_SPACE, SETTINGS, PARTIAL, f"{TOKENIZER}/*"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, **options))
    except (OSError, HFValidationError) as error:  # all errors of a connection are among the former
        raise FileNotFoundError(
            f"{name}: no such folder, and no repository of this name could be read from the Hugging Face Hub "
            f"({str(error).strip().splitlines()[0]})"
        ) from error


def without_downloads(config: Any) -> Any:
    """A copy of a constructor tree whose parts do not fetch weights of their own."""
    if isinstance(config, Mapping):
        off: dict[str, Any] = {"rlipv2.layers.backbones.TimmBackbone": False}  # others: null
        return {
            key: off.get(str(config.get("_target_"))) if key == "pretrained" else without_downloads(value)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return [without_downloads(value) for value in config]
    return config


def _read_label_space(path: Path) -> LabelSpace:
    try:
        return LabelSpace(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}; expected the lists 'objects' and 'relations'") from error


def _plain(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {str(key): _plain(value) for key, value in config.items()}
    return [_plain(value) for value in config] if isinstance(config, list | tuple) else config


def _check_targets(config: Any, source: str) -> None:
    if isinstance(config, Mapping):
        if "_target_" in config and not _is_network_part(config["_target_"]):
            raise ValueError(
                f"{source}: _target_={config['_target_']!r}: only network parts of rlipv2.models and rlipv2.layers "
                "are built"
            )
        if "_args_" in config:
            raise ValueError(f"{source}: _args_={config['_args_']!r}: arguments must be named")
        for value in config.values():
            _check_targets(value, source)
    elif isinstance(config, list | tuple):
        for value in config:
            _check_targets(value, source)


def _is_network_part(target: Any) -> bool:
    """Whether a dotted name is a module class defined in our own packages, not something they merely import."""
    module_name, _, class_name = str(target).rpartition(".")
    if not any(module_name == package or module_name.startswith(f"{package}.") for package in _ALLOWED_PACKAGES):
        return False
    try:
        part = getattr(importlib.import_module(module_name), class_name, None)
    except ImportError:
        return False
    own = isinstance(part, type) and issubclass(part, nn.Module)
    return own and part.__module__.startswith(_ALLOWED_PACKAGES)


def _existing(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        have = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"{folder / name}: missing; a weight folder holds {WEIGHTS} and {CONFIG} (found: {have})"
        )
    return folder / name
