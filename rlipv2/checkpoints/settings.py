"""`inference.json` of a weight folder: how images were prepared and pairs scored when the weights were evaluated."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlipv2.models.detector import RelationDetector
from rlipv2.ops.files import write_atomically
from rlipv2.structures import InferenceSettings

SETTINGS = "inference.json"
PERSON = "person"


def write_settings(folder: str | Path, settings: InferenceSettings) -> None:
    """Writes the settings into a weight folder."""
    write_atomically(Path(folder) / SETTINGS, json.dumps(settings.to_dict(), indent=1) + "\n")


def read_settings(folder: str | Path) -> InferenceSettings | None:
    """The settings of a weight folder; None for one that was written before there were any.

    Raises:
        ValueError: the file is not readable, or holds something else.
    """
    path = Path(folder) / SETTINGS
    if not path.exists():
        return None
    try:
        return InferenceSettings.from_dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}; correct it, or remove it for the published settings") from error


def default_settings(detector: RelationDetector, flags: Mapping[str, Any] | None = None) -> InferenceSettings:
    """The published settings for weights that bring none: 800 / 1333 pixels, suppression at 0.7.

    Persons are the subjects (`hoi`) where the flags of the official run say so (`--hoi`), or, without any flags, where
    "person" is the first object of the saved label space, as in HICO-DET and V-COCO. Everything else is scored as
    scene graphs are, if the network can name subjects.

    Args:
        detector: with its label space.
        flags: of the official training run.
    """
    plain = {key.lstrip("-"): value for key, value in (flags or {}).items()}
    if plain:
        persons = bool(plain.get("hoi", False))
    else:
        persons = detector.label_space is not None and detector.label_space.objects[:1] == (PERSON,)
    scene_graph = not persons and detector.head.subject_class
    return InferenceSettings(mode="scene_graph" if scene_graph else "hoi", subject=PERSON)
