"""Weights to start a pre-training from: object detectors, and backbones alone.

Official: convert_parameters/convert_parameters_DABDDETR.py and convert_parameters_DDETR.py, which write a file
with the detector's tensors and copies of them under the names of RLIPv2; loading decides what is used. Here only
what RLIPv2 uses is kept.
"""

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from rlipv2.checkpoints.official.convert import ConversionReport, convert_state
from rlipv2.checkpoints.official.keys import BACKBONE, owner_of

Family = Literal["relation", "detection", "backbone"]

_DECODERS = ("ho_decoder", "verb_decoder")
_SHARED = (BACKBONE, "input_proj.", "transformer.level_embed")
_LAYER = re.compile(r"transformer\.(?:ho_|verb_)?decoder\.layers\.(\d+)\..*")
_HEAD = re.compile(r"(?:(?:sub|obj)_)?bbox_embed\.(\d+)\..*")
_QUERIES = (
    "query_embed.weight",
    "tgt_embed.weight",
    "verb_tgt_embed.weight",
    "refpoint_embed.weight",
    *(f"transformer.reference_points_{side}.{leaf}" for side in ("sub", "obj") for leaf in ("weight", "bias")),
)


def family_of(official: Mapping[str, Tensor]) -> Family:
    """What kind of checkpoint some tensors are: a whole RLIPv2, an object detector, or a backbone.

    Raises:
        ValueError: none of these.
    """
    if "transformer.text_encoder.embeddings.word_embeddings.weight" in official:
        return "relation"
    if any(f"transformer.{name}.layers.0.linear1.weight" in official for name in ("decoder", "ho_decoder")):
        return "detection"
    if "patch_embed.proj.weight" in official and "layers.0.blocks.0.attn.qkv.weight" in official:
        return "backbone"
    raise ValueError(
        "of no known family: expected RLIPv2 (transformer.text_encoder), an object detector (transformer.decoder of "
        "Deformable-DETR or DAB-Deformable-DETR) or a Swin backbone (patch_embed, layers); found e.g. "
        f"{next(iter(official), 'nothing')}"
    )


def convert_detection(
    official: Mapping[str, Tensor], *, num_decoder_layers: int = 3
) -> tuple[dict[str, Tensor], ConversionReport, str]:
    """The tensors of an object detector that RLIPv2 starts from, under our names, a report, and what it is.

    Entity and relation decoder both start from the detector's first `num_decoder_layers` layers; entity
    boxes from its box heads of the same layers, the boxes inside the relation decoder from the heads that
    follow (docs/parity.md, Q27). Contents of the queries start both the entity and the relation table.
    Takes files of DAB-Deformable-DETR (for ParSeDA), Deformable-DETR with box refinement and two-stage
    Deformable-DETR with a Swin (for ParSeD), as they are or already converted by the official scripts.

    Raises:
        ValueError: another detector.
    """
    anchors = "refpoint_embed.weight" in official
    if not anchors and "query_embed.weight" not in official:
        raise ValueError(
            "the detector has neither anchors (refpoint_embed.weight, DAB-Deformable-DETR) nor queries "
            "(query_embed.weight, Deformable-DETR): RLIPv2 cannot start from it"
        )
    if "transformer.level_embed" not in official:
        raise ValueError("transformer.level_embed is missing: expected a detector with several feature levels")
    done = "transformer.ho_decoder.layers.0.linear1.weight" in official
    if not done and f"bbox_embed.{2 * num_decoder_layers - 1}.layers.0.weight" not in official:
        raise ValueError(
            f"bbox_embed.{2 * num_decoder_layers - 1}.layers.0.weight is missing: expected a box head for each of "
            f"{2 * num_decoder_layers} decoder layers, as detectors with box refinement have"
        )
    relation: dict[str, Tensor] = {}
    used: set[str] = set()
    for key, tensor in official.items():
        names = _relation_keys(key, anchors=anchors, done=done, num_layers=num_decoder_layers)
        relation |= dict.fromkeys(names, tensor)
        used |= {key} if names else set()
    relation |= _query_tables(official, relation, anchors=anchors)
    points = {f"transformer.reference_points.{leaf}" for leaf in ("weight", "bias")} if not anchors else set()
    used |= {key for key in official if key in relation or key in points}
    state, report = convert_state(relation, num_decoder_layers=num_decoder_layers)
    report.unused += [key for key in official if key not in used]
    if report.surprises:
        raise ValueError(f"the detector has parts that RLIPv2 does not know:\n{report}")
    swin = f"{BACKBONE}patch_embed.proj.weight" in official
    kind = "DAB-Deformable-DETR" if anchors else "two-stage Deformable-DETR" if swin else "Deformable-DETR"
    return state, report, kind


def convert_backbone(official: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], ConversionReport, str]:
    """The tensors of a Swin classifier (github.com/microsoft/Swin-Transformer) under our names.

    The norms of the returned maps are not among them: they start at 1 and 0. Official: `load_backbone supervised`.

    Raises:
        ValueError: other tensors than those of a Swin.
    """
    unused = [key for key in official if key.startswith(("norm.", "head.")) or key.endswith("attn_mask")]
    state, report = convert_state({f"{BACKBONE}{key}": official[key] for key in official if key not in unused})
    report.unused = unused
    unknown = [name for name in state if not name.startswith("backbone.body.swin.")]
    if unknown or report.surprises:
        raise ValueError(f"not the weights of a Swin: {unknown[:5]}\n{report}")
    return state, report, "Swin classifier"


def _relation_keys(key: str, *, anchors: bool, done: bool, num_layers: int) -> list[str]:
    """The RLIPv2 keys that take the tensor of a detector's key, query tables aside."""
    if key.startswith(_SHARED):
        return [key]
    # ParSeDA reads the original encoder, ParSeD the copy that the official script makes of it.
    if key.startswith("transformer.encoder.") and (anchors or not done):
        return [key]
    if key.startswith("transformer.ho_encoder.") and not anchors:
        return [key]
    if owner_of(key) is not None or ".bbox_embed." in key:
        return []  # top-level heads decide, as in the official loading
    if match := _HEAD.fullmatch(key):
        own = key.startswith(("sub_", "obj_"))
        names = [key] if own else [f"{side}_{key}" for side in ("sub", "obj")]
        return names if own == done and int(match[1]) < 2 * num_layers else []
    if match := _LAYER.fullmatch(key):
        if int(match[1]) >= num_layers:
            return []
    elif ".ref_point_head." not in key and ".query_scale." not in key:
        return []
    if done:
        return [key] if key.startswith(tuple(f"transformer.{name}." for name in _DECODERS)) else []
    behind = key.removeprefix("transformer.decoder.")
    return [f"transformer.{name}.{behind}" for name in _DECODERS]


def _query_tables(
    official: Mapping[str, Tensor], relation: Mapping[str, Tensor], *, anchors: bool
) -> dict[str, Tensor]:
    """Query tables and reference points under their RLIPv2 keys."""
    tables = {key: official[key] for key in _QUERIES if key in official}
    if anchors:
        if "tgt_embed.weight" not in tables:
            raise ValueError("tgt_embed.weight is missing: expected learned contents beside refpoint_embed.weight")
        tables.pop("query_embed.weight", None)
        return {"verb_tgt_embed.weight": tables["tgt_embed.weight"]} | tables
    table = tables["query_embed.weight"]
    dim = relation["transformer.level_embed"].shape[1]
    if table.shape[1] == 2 * dim:  # position | content
        table = torch.cat([table, table[:, dim:]], dim=1)
    elif table.shape[1] == dim:  # content only: two-stage
        table = table.repeat(1, 3)
    elif table.shape[1] != 3 * dim:
        raise ValueError(f"query_embed.weight: {table.shape[1]} columns, expected 1, 2 or 3 times {dim}")
    for leaf in ("weight", "bias"):
        if (point := official.get(f"transformer.reference_points.{leaf}")) is not None and point.shape[0] == 2:
            tables = {f"transformer.reference_points_{side}.{leaf}": point for side in ("sub", "obj")} | tables
    return tables | {"query_embed.weight": table}
