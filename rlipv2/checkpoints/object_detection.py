"""Our own detection weights as the start of a relation detector."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from rlipv2.checkpoints.folder import CONFIG

_SHARED = ("backbone.", "pyramid.", "encoder.image_layers.")
_LAYER = re.compile(r"decoder\.layers\.(\d+)\..*")
_BOX_HEAD = re.compile(r"decoder\.box_heads\.(\d+)\.(.*)")
_DECODERS = ("entity_decoder", "relation_decoder")
_SIDES = ("subject", "object")


def holds_object_detector(folder: str | Path) -> bool:
    """Whether a weight folder holds an `ObjectDetector`."""
    path = Path(folder) / CONFIG
    config: Any = yaml.safe_load(path.read_text()) if path.is_file() else None
    return isinstance(config, dict) and str(config.get("_target_")).split(".")[-1] == "ObjectDetector"


def to_relation_detector(state: Mapping[str, Tensor], *, num_decoder_layers: int = 3) -> dict[str, Tensor]:
    """The tensors of an `ObjectDetector` that RLIPv2 starts from, under the names of `RelationDetector`.

    Entity and relation decoder both start from the first `num_decoder_layers` layers, entity boxes from
    the box heads of the same layers, the boxes inside the relation decoder from the heads that follow
    (docs/parity.md, Q27). Contents of the queries start both the entity and the relation table; tables stay
    whole. Class heads are left out. Official: convert_parameters/convert_parameters_DABDDETR.py and _DDETR.py.

    Raises:
        ValueError: the detector has fewer than twice `num_decoder_layers` decoder layers.
    """
    if f"decoder.box_heads.{2 * num_decoder_layers - 1}.0.weight" not in state:
        raise ValueError(
            f"decoder.box_heads.{2 * num_decoder_layers - 1} is missing: a relation detector with {num_decoder_layers} "
            f"decoder layers starts from a detector with {2 * num_decoder_layers}"
        )
    return {
        new: tensor for name, tensor in state.items() for new in _relation_names(name, num_layers=num_decoder_layers)
    }


def _relation_names(name: str, *, num_layers: int) -> list[str]:
    if name.startswith(_SHARED):
        return [name]
    if match := _BOX_HEAD.fullmatch(name):
        index, rest = int(match[1]), match[2]
        decoder = _DECODERS[min(index // num_layers, 1)]
        if index >= 2 * num_layers:
            return []
        return [f"{decoder}.{side}_box_heads.{index % num_layers}.{rest}" for side in _SIDES]
    if match := _LAYER.fullmatch(name):
        return [name.replace("decoder", decoder, 1) for decoder in _DECODERS] if int(match[1]) < num_layers else []
    if name.startswith("decoder."):
        return [name.replace("decoder", decoder, 1) for decoder in _DECODERS]
    if name == "queries.content":
        return [name, "queries.relation_content"]
    if name.startswith("queries.reference."):
        return [name.replace("reference", f"{side}_reference", 1) for side in _SIDES]
    return [name] if name.startswith("queries.") else []
