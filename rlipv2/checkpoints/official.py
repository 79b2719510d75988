"""Official RLIPv2 checkpoints: their key names, and the conversion to a weight folder.

Official layout: models/hoi.py (RLIP_ParSeDA) and main.py of the RLIPv2 repository; docs/parity.md.
"""

import argparse
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlipv2.checkpoints.folder import build_detector, save_weights
from rlipv2.models import RelationDetector
from rlipv2.structures import LabelSpace

_log = logging.getLogger(__name__)

_ATTENTION = (
    ("value_proj.", "value_projection."),
    ("output_proj.", "output_projection."),
)
_FEEDFORWARD = (("linear1.", "feedforward.linear1."), ("linear2.", "feedforward.linear2."))
_ENCODER_LAYER = (
    ("self_attn.", "attention."),
    ("norm1.", "attention_norm."),
    ("norm2.", "feedforward_norm."),
    *_FEEDFORWARD,
)
_DECODER_LAYER = (
    ("self_attn.", "self_attention."),
    ("cross_attn.", "cross_attention."),
    ("norm1.", "cross_attention_norm."),
    ("norm2.", "self_attention_norm."),
    ("norm3.", "feedforward_norm."),
    *_FEEDFORWARD,
)
_FUSION = (
    ("gamma_v", "image_gate"),
    ("gamma_l", "text_gate"),
    ("layer_norm_v.", "image_norm."),
    ("layer_norm_l.", "text_norm."),
    ("attn.v_proj.", "image_query."),
    ("attn.l_proj.", "text_key."),
    ("attn.values_v_proj.", "image_value."),
    ("attn.values_l_proj.", "text_value."),
    ("attn.out_v_proj.", "image_output."),
    ("attn.out_l_proj.", "text_output."),
)
_MLP = (("layers.0.", "0."), ("layers.1.", "2."), ("layers.2.", "4."))

# (official prefix, our prefix, changes behind it); {} is a number that stays.
_PREFIXES: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("backbone.0.body.", "backbone.body.", ()),
    ("input_proj.", "pyramid.layers.", ()),
    ("transformer.level_embed", "pyramid.level_embedding", ()),
    ("transformer.text_encoder.", "text_encoder.model.", ()),
    ("transformer.resizer.fc.", "encoder.text_resizer.linear.", ()),
    ("transformer.resizer.layer_norm.", "encoder.text_resizer.norm.", ()),
    ("transformer.encoder.layers.{}.", "encoder.image_layers.{}.", _ENCODER_LAYER),
    ("transformer.encoder.roberta_layers.{}.", "encoder.text_layers.{}.layer.", ()),
    ("transformer.encoder.VLFuse_layers.{}.b_attn.", "encoder.fusion_layers.{}.", _FUSION),
    ("transformer.ho_decoder.layers.{}.", "entity_decoder.layers.{}.", _DECODER_LAYER),
    ("transformer.verb_decoder.layers.{}.", "relation_decoder.layers.{}.", _DECODER_LAYER),
    ("transformer.ho_decoder.ref_point_head.", "entity_decoder.anchor_projection.", _MLP),
    ("transformer.verb_decoder.ref_point_head.", "relation_decoder.anchor_projection.", _MLP),
    ("transformer.ho_decoder.query_scale.", "entity_decoder.position_scale.", _MLP),
    ("transformer.verb_decoder.query_scale.", "relation_decoder.position_scale.", _MLP),
    ("tgt_embed.weight", "queries.content", ()),
    ("verb_tgt_embed.weight", "queries.relation_content", ()),
    ("refpoint_embed.weight", "queries.anchors", ()),
    ("projection_text.", "head.projection.", ()),
    ("bias_obj_a", "head.entity_bias", ()),
    ("bias_pred_a", "head.relation_bias", ()),
)
_COMPILED = tuple(
    (re.compile(re.escape(official).replace(r"\{\}", r"(\d+)") + r"(.*)"), ours, changes)
    for official, ours, changes in _PREFIXES
)
_BOX_HEAD = re.compile(r"(sub|obj)_bbox_embed\.(\d+)\.layers\.(\d+)\.(.*)")
_BOX_ALIAS = re.compile(r"transformer\.(ho|verb)_decoder\.((?:sub|obj)_bbox_embed)\.(\d+)\.(.*)")
_BRANCH = re.compile(r"transformer\.verb_tgt_generator\.fc_([123])\.(\d+)\.(weight|bias)")
_SIDES = {"sub": "subject", "obj": "object"}

# Counters that only batch norms which are not frozen have.
_EXPECTED_MISSING = re.compile(r"backbone\..*num_batches_tracked")

# Recomputed by us, or counters that frozen batch norm never reads.
_IGNORED = re.compile(r".*(embeddings\.position_ids|relative_position_index|num_batches_tracked)$")


@dataclass
class ConversionReport:
    """What became of every official key."""

    renamed: dict[str, str] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    expected_missing: list[str] = field(default_factory=list)  # parts of ours that official files never hold
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    @property
    def surprises(self) -> list[str]:
        """What a conversion must not contain."""
        return [
            *(f"missing: {key}" for key in self.missing),
            *(f"unexpected: {key}" for key in self.unexpected),
            *(f"mismatched: {key}" for key in self.mismatched),
        ]

    def __str__(self) -> str:
        counts = {
            "loaded": len(self.renamed),
            "of these renamed": sum(old != new for old, new in self.renamed.items()),
            "aliases of loaded tensors": len(self.aliases),
            "ignored (recomputed)": len(self.ignored),
            "expected missing": len(self.expected_missing),
            "missing": len(self.missing),
            "unexpected": len(self.unexpected),
            "mismatched": len(self.mismatched),
        }
        lines = [f"{name:28}{count:6}" for name, count in counts.items()]
        return "\n".join([*lines, *(f"  {surprise}" for surprise in self.surprises[:40])])


def rename(key: str, num_decoder_layers: int = 3) -> str | None:
    """Our name of an official key, or None if it has none by itself (branches are stacked, aliases dropped)."""
    if match := _BOX_HEAD.fullmatch(key):
        side, index, layer, leaf = match.groups()
        if int(index) >= 2 * num_decoder_layers:
            return None
        decoder = "entity_decoder" if int(index) < num_decoder_layers else "relation_decoder"
        head = int(index) % num_decoder_layers
        return f"{decoder}.{_SIDES[side]}_box_heads.{head}.{2 * int(layer)}.{leaf}"
    for pattern, ours, changes in _COMPILED:
        if match := pattern.fullmatch(key):
            *numbers, rest = match.groups()
            for old, new in changes:
                if rest.startswith(old):
                    rest = new + rest[len(old) :]
                    break
            for old, new in _ATTENTION:
                rest = rest.replace(old, new) if "attention." in rest else rest
            return ours.format(*numbers) + rest
    return None


def convert_state(
    official: Mapping[str, Tensor], *, num_decoder_layers: int = 3
) -> tuple[dict[str, Tensor], ConversionReport]:
    """Official tensors under our names, and what was done with each key.

    Box heads that the official modules share are taken from the top-level entries; where a file's
    aliases differ from them, that is reported as a mismatch.
    """
    report, state = ConversionReport(), {}
    branches: dict[tuple[str, str], dict[int, Tensor]] = {}
    for key, tensor in official.items():
        if _IGNORED.fullmatch(key):
            report.ignored.append(key)
        elif alias := _BOX_ALIAS.fullmatch(key):
            decoder, head, index, leaf = alias.groups()
            owner = f"{head}.{int(index) + (num_decoder_layers if decoder == 'verb' else 0)}.{leaf}"
            same = owner in official and torch.equal(official[owner], tensor)
            (report.aliases if same else report.mismatched).append(key if same else f"{key} differs from {owner}")
        elif branch := _BRANCH.fullmatch(key):
            matrix, number, leaf = branch.groups()
            branches.setdefault((matrix, leaf), {})[int(number)] = tensor
            report.renamed[key] = f"relation_decoder.pair_fusion ({leaf} of matrix {matrix}, branch {number})"
        elif (ours := rename(key, num_decoder_layers)) is not None:
            state[ours] = tensor
            report.renamed[key] = ours
        else:
            report.unexpected.append(key)
    state.update(_stack_branches(branches))
    return state, report


def _stack_branches(branches: Mapping[tuple[str, str], Mapping[int, Tensor]]) -> dict[str, Tensor]:
    prefix, stacked = "relation_decoder.pair_fusion.", {}
    for (matrix, leaf), parts in branches.items():
        ordered = [parts[number] for number in sorted(parts)]
        if matrix in "12":
            stacked[f"{prefix}{'first' if matrix == '1' else 'second'}.{leaf}"] = torch.cat(ordered)
        elif leaf == "weight":
            stacked[f"{prefix}output_weight"] = torch.cat(ordered, dim=1)
        else:
            stacked[f"{prefix}output_bias"] = torch.stack(ordered)
    return stacked


def official_view(ours: Mapping[str, Tensor], key: str, *, num_decoder_layers: int = 3) -> Tensor | None:
    """The part of our tensors (weights or gradients) that an official key stands for; None if there is none."""
    if alias := _BOX_ALIAS.fullmatch(key):
        decoder, head, index, leaf = alias.groups()
        key = f"{head}.{int(index) + (num_decoder_layers if decoder == 'verb' else 0)}.{leaf}"
    if branch := _BRANCH.fullmatch(key):
        matrix, number, leaf = int(branch[1]), int(branch[2]), branch[3]
        prefix = "relation_decoder.pair_fusion."
        biases = ours.get(f"{prefix}output_bias")
        if biases is None:
            return None
        if matrix == 3:
            return biases[number] if leaf == "bias" else ours[f"{prefix}output_weight"].chunk(len(biases), 1)[number]
        return ours[f"{prefix}{('first', 'second')[matrix - 1]}.{leaf}"].chunk(len(biases))[number]
    name = rename(key, num_decoder_layers)
    return None if name is None else ours.get(name)


def infer_config(official: Mapping[str, Tensor], args: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The constructor tree that official tensors ask for; `args` (flags of the training run) settle the rest.

    Tensors decide variant, backbone, widths, layers and number of pairs. Gating, dropout and subject
    class leave no trace in them: they come from `args`, else from the published ParSeDA recipes.

    Raises:
        ValueError: tensors of a model that this version does not have.
    """
    args = {key.lstrip("-"): value for key, value in (args or {}).items()}
    if "refpoint_embed.weight" not in official or "transformer.encoder.VLFuse_layers.0.b_attn.gamma_v" not in official:
        found = "query_embed.weight (ParSeD or Relation Tagger)" if "query_embed.weight" in official else "no such key"
        raise ValueError(
            "not a RLIPv2-ParSeDA checkpoint: expected refpoint_embed.weight and transformer.encoder.VLFuse_layers; "
            f"found {found}. This version converts ParSeDA with ResNet-50 only"
        )
    if "backbone.0.body.layer1.0.conv3.weight" not in official:
        raise ValueError("backbone.0.body.layer1.0.conv3.weight is missing: only ResNet-50 backbones are converted")
    count = {name: _count(official, name) for name in _COUNTED}
    if tuple(count[f"backbone.0.body.layer{stage}."] for stage in range(1, 5)) != (3, 4, 6, 3):
        raise ValueError("the backbone is not a ResNet-50: its stages do not have 3, 4, 6 and 3 blocks")
    dim = official["tgt_embed.weight"].shape[1]
    layer = "transformer.encoder.layers.0."
    levels = official["transformer.level_embed"].shape[0]
    text = official["transformer.text_encoder.embeddings.word_embeddings.weight"].shape
    positions = official["transformer.text_encoder.embeddings.position_embeddings.weight"].shape[0]
    heads = int(args.get("nheads", 8))
    points = official[f"{layer}self_attn.attention_weights.weight"].shape[0] // (heads * levels)
    gating = str(args.get("gating_mechanism", "VXAc")).lower()
    common = {
        "dim": dim,
        "feedforward_dim": official[f"{layer}linear1.weight"].shape[0],
        "num_levels": levels,
        "num_heads": heads,
        "num_points": points,
        "dropout": float(args.get("dropout", 0.0)),
    }
    decoder = common | {"num_layers": count["transformer.ho_decoder.layers."]}
    text_layer = "transformer.encoder.roberta_layers.0."
    return {
        "_target_": "rlipv2.models.RelationDetector",
        "backbone": {"_target_": "rlipv2.layers.backbones.TimmBackbone", "name": "resnet50.tv_in1k"},
        "text_encoder": {
            "_target_": "rlipv2.layers.text_encoder.TextEncoder",
            "tokenizer": "roberta-base",
            "config": {
                "vocab_size": text[0],
                "hidden_size": text[1],
                "max_position_embeddings": positions,
                "num_hidden_layers": count["transformer.text_encoder.encoder.layer."],
                "num_attention_heads": text[1] // 64,
                "intermediate_size": official[
                    "transformer.text_encoder.encoder.layer.0.intermediate.dense.weight"
                ].shape[0],
            },
        },
        "encoder": common
        | {
            "_target_": "rlipv2.models.alif_encoder.ALIFEncoder",
            "text_dim": text[1],
            "num_layers": count["transformer.encoder.layers."],
            "fusion_interval": count["transformer.encoder.layers."] // count["transformer.encoder.VLFuse_layers."],
            "fusion_levels": "last" if args.get("fusion_last_vis", True) else "all",
            "text_heads": text[1] // 64,
            "text_feedforward_dim": official[f"{text_layer}intermediate.dense.weight"].shape[0],
            "fusion_dim": official["transformer.encoder.VLFuse_layers.0.b_attn.attn.v_proj.weight"].shape[0],
            "gating": gating,
        },
        "queries": {
            "_target_": "rlipv2.models.queries.AnchorQueries",
            "num_pairs": official["refpoint_embed.weight"].shape[0] // 2,
            "dim": dim,
        },
        "entity_decoder": decoder | {"_target_": "rlipv2.models.decoders.EntityDecoder"},
        "relation_decoder": decoder
        | {
            "_target_": "rlipv2.models.decoders.RelationDecoder",
            "num_layers": count["transformer.verb_decoder.layers."],
            "query": str(args.get("verb_query_tgt_type", "vanilla_MBF")).lower(),
            "branches": count["transformer.verb_tgt_generator.fc_1."],
        },
        "num_levels": levels,
        "text_per_layer": bool(args.get("lang_aux_loss", True)),
        # Few-shot runs leave the flag out, so that its absence from known flags means off.
        "subject_class": bool(args.get("subject_class", not args)),
    }


_COUNTED = (
    *(f"backbone.0.body.layer{stage}." for stage in range(1, 5)),
    "transformer.text_encoder.encoder.layer.",
    "transformer.encoder.layers.",
    "transformer.encoder.VLFuse_layers.",
    "transformer.ho_decoder.layers.",
    "transformer.verb_decoder.layers.",
    "transformer.verb_tgt_generator.fc_1.",
)


def _count(keys: Mapping[str, Tensor], prefix: str) -> int:
    return len({key[len(prefix) :].split(".")[0] for key in keys if key.startswith(prefix)})


def read_official(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and run flags of an official `.pth`, read without running any code of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, or one that holds other objects than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; download the checkpoint linked in the RLIPv2 README first")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path}: not readable as a checkpoint of tensors and plain values ({type(error).__name__}: "
            f"{str(error).splitlines()[0][:200]}); is the download complete?"
        ) from error
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path}: expected a dictionary with the entry 'model' holding tensors by name")
    args = content.get("args")
    flags = vars(args) if isinstance(args, argparse.Namespace) else dict(args or {})
    return {key.removeprefix("module."): value for key, value in state.items()}, flags


def convert_checkpoint(
    official: Mapping[str, Tensor], flags: Mapping[str, Any] | None = None, *, source: str = "checkpoint"
) -> tuple[RelationDetector, ConversionReport]:
    """A detector in eval mode with the weights of an official checkpoint.

    Raises:
        ValueError: any tensor is missing, left over, of another shape, or contradicts its alias; the
            message holds the report.
    """
    config = infer_config(official, flags)
    num_layers = config["entity_decoder"]["num_layers"]
    state, report = convert_state(official, num_decoder_layers=num_layers)
    with torch.device("meta"):
        expected = build_detector(config, source=source).state_dict()
    missing = sorted(set(expected) - set(state))
    report.expected_missing = [key for key in missing if _EXPECTED_MISSING.fullmatch(key)]
    report.missing = [key for key in missing if key not in report.expected_missing]
    report.unexpected += sorted(set(state) - set(expected))
    report.mismatched += [
        f"{key}: {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in sorted(set(state) & set(expected))
        if state[key].shape != expected[key].shape
    ]
    if report.surprises:
        raise ValueError(f"{source}: cannot be converted without loss:\n{report}")
    detector = build_detector(config, source=source)
    detector.load_state_dict(state, strict=not report.expected_missing)
    return detector.eval(), report


def convert_file(path: str | Path, folder: str | Path, label_space: LabelSpace | None = None) -> ConversionReport:
    """Converts an official `.pth` to a weight folder and returns the report."""
    official, flags = read_official(path)
    detector, report = convert_checkpoint(official, flags, source=str(path))
    detector.label_space = label_space
    try:
        _ = detector.text_encoder.tokenizer  # loaded, it is stored along
    except OSError as error:
        _log.warning(
            "the tokenizer is not stored with the weights, it will be downloaded at the first use of words: %s",
            str(error).splitlines()[0],
        )
    save_weights(detector, folder)
    return report
