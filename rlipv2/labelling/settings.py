"""What the content of each stage depends on, as plain values; and what is refused before anything begins."""

from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
import yaml
from safetensors import SafetensorError, safe_open

from rlipv2 import utils
from rlipv2.checkpoints.folder import CONFIG, WEIGHTS, read_partial
from rlipv2.datasets.files import sha256
from rlipv2.labelling.inputs import Inputs, plain
from rlipv2.labelling.processes import device_type, half_precision
from rlipv2.models import RelationTagger
from rlipv2.pseudo_labels import stages
from rlipv2.pseudo_labels.captions.generation import resolved_precision
from rlipv2.pseudo_labels.plan import digest
from rlipv2.pseudo_labels.prior import prior_of_classes

MODEL_FILES = {".safetensors", ".bin", ".json", ".txt", ".model"}
"""Endings of the files of a model of transformers in a folder: weights, settings, words."""
FULL_PRECISION = ("32-true", "32", 32)
LOADING = {"batch_size", "num_workers"}
SIZES = {"short_side", "max_size"}
SPEED_ONLY = {"init", "images_per_pass", *LOADING}
"""Settings of the tagger that change scores by rounding at most; and its folder, in whose place the content counts."""


def stage_settings(stage: str, inputs: Inputs) -> dict[str, Any]:
    """Whatever the content of a stage depends on, as plain values.

    Raises:
        ConfigError: settings that its first unit would fail with.
    """
    if stage in inputs.left_out:
        return {"left_out": "a later stage does not read it"}
    if stage in inputs.files:
        return {FILE_SETTING[stage]: inputs.file_of(stage).sha256}
    return {"caption": _caption, "parse": _parse, "candidates": _candidates, "tag": _tag}[stage](inputs)


FILE_SETTING = {"caption": "captions", "parse": "graphs", "candidates": "candidates", "tag": "annotations"}


def _caption(inputs: Inputs) -> dict[str, Any]:
    config, captioner = inputs.config, plain(inputs.config.captioner)
    if captioner.get("name") and (folder := Path(captioner["name"]).expanduser()).is_dir():
        files = [path for path in sorted(folder.iterdir()) if path.suffix in MODEL_FILES]
        captioner["name"] = {path.name: sha256(path) for path in files}
    settings = {"captioner": captioner, "seed": config.seed}
    if is_template(inputs):
        return settings
    device = device_type(config.trainer)
    if "precision" in captioner:
        captioner["precision"] = resolved_precision(captioner["precision"], device)
    return {
        **settings,
        "crops": config.captioning.crops,
        "batch_size": config.captioning.batch_size,  # batches decide which random numbers an image gets
        "precision": config.trainer.precision,
        "device": device,  # others draw other random numbers
    }


def is_template(inputs: Inputs) -> bool:
    """Whether captions are made of labels, without a network."""
    return hasattr(hydra.utils.get_object(inputs.config.captioner._target_), "captions_of_record")


def _parse(inputs: Inputs) -> dict[str, Any]:
    config = inputs.config
    identity = dict(hydra.utils.instantiate(config.parser).identity)
    if config.mode == "parity" and config.parser.get("name") == "auto" and identity["parser"] != "spacy":
        raise utils.ConfigError(
            f"parser=auto with mode=parity: spaCy's model {config.parser.model!r} does not load, and the embedded "
            "rules are not the official parser; install it (pip install 'rlipv2[spacy]', python -m spacy download "
            "en_core_web_sm), or ask for the rules: parser=rules"
        )
    return identity


def _candidates(inputs: Inputs) -> dict[str, Any]:
    config = inputs.config.candidates
    if config.group_size < 1:
        raise utils.ConfigError(f"candidates.group_size={config.group_size}: expected at least 1")
    if config.prior:
        prior = prior_of_classes(config.prior, inputs.images.names)
        return {"mode": inputs.config.mode, "group_size": config.group_size, "prior": digest(prior)}
    matcher = stages.make_matcher(inputs.images.names, **inputs.matcher_options()[0])  # refuses what does not exist
    words = digest([asdict(row) for row in matcher.class_words])  # of a file or of this version's tables
    options = {name: value for name, value in plain(config).items() if name not in ("file", "prior")}
    return {"mode": inputs.config.mode, **options, "paraphrases": words}


def _tag(inputs: Inputs) -> dict[str, Any]:
    config = inputs.config
    folder = _tagger_folder(config.tagger.init)
    _check_tagging(config)
    settings = {key: value for key, value in plain(config.tagger).items() if key not in SPEED_ONLY}
    settings["encode_dtype"] = encode_dtype(config)
    files = [path for path in (folder / WEIGHTS, folder / CONFIG) if path.is_file()]
    weights = {path.name: sha256(path) for path in files}
    return {"mode": config.mode, "precision": config.trainer.precision, "weights": weights, **settings}


def encode_dtype(config: Any) -> str:
    """The precision of the tagger's backbone and encoder; "auto" is half on a GPU in `mode=fast`, else float32."""
    if config.tagger.encode_dtype != "auto":
        return str(config.tagger.encode_dtype)
    device = device_type(config.trainer)
    return half_precision(device) if config.mode == "fast" and device == "cuda" else "float32"


def _tagger_folder(init: str | None) -> Path:
    """The weight folder, if it is one of a Relation Tagger; its weights are not read."""
    if init is None or not (Path(init) / WEIGHTS).is_file():
        raise _no_tagger(init, "no tagger is given" if init is None else f"{WEIGHTS} is not there")
    folder = Path(init)
    try:
        if read_partial(folder) is not None:
            raise _no_tagger(init, "it holds initial weights of some parts only")
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            file.keys()
        content = yaml.safe_load((folder / CONFIG).read_text())
    except (OSError, yaml.YAMLError, SafetensorError, UnicodeDecodeError) as error:
        raise _no_tagger(init, f"it is damaged ({error})") from error
    target = str(content.get("_target_")) if isinstance(content, dict) else "nothing"
    module, _, name = target.rpartition(".")
    known = module.startswith("rlipv2.models") and find_spec(module) is not None
    kind = getattr(import_module(module), name, None) if known else None
    if not (isinstance(kind, type) and issubclass(kind, RelationTagger)):
        raise _no_tagger(init, f"{CONFIG} describes {name}, not a RelationTagger")
    return folder


def _no_tagger(init: str | None, wrong: str) -> utils.ConfigError:
    return utils.ConfigError(
        f"tagger.init={init}: {wrong}; give the weight folder of a Relation Tagger: convert an official "
        "checkpoint with `python -m rlipv2.checkpoints convert FILE.pth FOLDER`, or train one with `python "
        "train.py experiment=tagger_vg` (for the micro-world experiment=micro_tagger) and give the folder "
        "`weights` of that run. Without a tagger: stages=[caption,parse,candidates]"
    )


def _check_tagging(config: Any) -> None:
    """Refuses what the first batch would be refused for, hours after the captions were begun."""
    tagger = config.tagger
    for name in ("groups_per_pass", "images_per_pass", "batch_size"):
        if tagger[name] < 1:
            raise utils.ConfigError(f"tagger.{name}={tagger[name]}: expected at least 1")
    if config.mode == "parity":
        for name, value, official in (
            ("tagger.encode_dtype", tagger.encode_dtype, ("float32", "auto")),
            ("trainer.precision", config.trainer.precision, FULL_PRECISION),
        ):
            if value not in official:
                raise utils.ConfigError(f"{name}={value} with mode=parity: official scores are float32; take mode=fast")
