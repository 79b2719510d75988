"""The constructor tree of an official checkpoint, read from its tensors and flags."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor

from rlipv2.checkpoints.official.keys import BACKBONE

_SWINS = {96: "swin_tiny", 192: "swin_large"}  # by width; the name decides on the drop path where no flag does
_QUERIES = {
    "parseda": "rlipv2.models.queries.AnchorQueries",
    "parsed": "rlipv2.models.queries.LearnedQueries",
    "tagger": "rlipv2.models.queries.GivenPairQueries",
}


@dataclass
class Inferred:
    """A constructor tree, and how it was found.

    Attributes:
        config: nested mappings with `_target_`.
        assumed: choices that neither tensors nor flags settle, in words.
        unused: prefixes of official keys that this network has no use for.
    """

    config: dict[str, Any]
    assumed: list[str] = field(default_factory=list)
    unused: tuple[str, ...] = ()


@dataclass
class _Flags:
    """The flags of the training run; without any, the published values of the family."""

    values: dict[str, Any]
    published: dict[str, Any]
    assumed: list[str] = field(default_factory=list)

    # What main.py uses where a script does not give the flag.
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "gating_mechanism": "GLIP",
        "verb_query_tgt_type": "vanilla",
        "dropout": 0.1,
        "subject_class": False,
        "fusion_last_vis": False,
        "lang_aux_loss": False,
        "nheads": 8,
    }

    def __getitem__(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        known, source = (self.DEFAULTS, "the official default; the flags in the file do not give it")
        if not self.values:
            known, source = (self.DEFAULTS | self.published, "as published; the file holds no flags")
        if name in self.published:
            self.assumed.append(f"{name}={known[name]} ({source})")
        return known[name]


def infer_config(official: Mapping[str, Tensor], args: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The constructor tree that official tensors ask for; `args` (flags of the training run) settle the rest.

    Raises:
        ValueError: tensors of a model that this version does not have.
    """
    return infer(official, args).config


def infer(official: Mapping[str, Tensor], args: Mapping[str, Any] | None = None) -> Inferred:
    """The constructor tree that official tensors ask for, with what had to be assumed.

    Tensors decide family, backbone, widths, layers and number of pairs. Gating, kind of relation query, dropout
    and subject class leave no full trace in them: they come from `args`; without any, from the published recipes.

    Raises:
        ValueError: tensors of a model that this version does not have.
    """
    try:
        return _infer(official, args or {})
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing: not a complete RLIPv2 checkpoint") from error
    except (IndexError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"tensors or flags of no RLIPv2 checkpoint: {error}") from error


def _infer(official: Mapping[str, Tensor], args: Mapping[str, Any]) -> Inferred:
    family = _family(official)
    encoder = f"transformer.{'encoder' if family == 'parseda' else 'ho_encoder'}."
    layer = f"{encoder}layers.0."
    if f"{layer}linear1.weight" not in official:
        raise ValueError(f"{layer}linear1.weight is missing: not the deformable encoder of a RLIPv2 checkpoint")
    args = {key.lstrip("-"): value for key, value in args.items() if value is not None}
    backbone = _backbone(official, args)
    resnet = "TimmBackbone" in backbone["_target_"]
    flags = _Flags(args, _published(family, resnet=resnet))
    dim = official[f"{layer}linear1.weight"].shape[1]
    levels, heads = official["transformer.level_embed"].shape[0], int(flags["nheads"])
    common = {
        "dim": dim,
        "feedforward_dim": official[f"{layer}linear1.weight"].shape[0],
        "num_levels": levels,
        "num_heads": heads,
        "num_points": official[f"{layer}self_attn.attention_weights.weight"].shape[0] // (heads * levels),
        "dropout": float(flags["dropout"]),
    }
    positions = "anchor" if family == "parseda" else "learned"
    query = _relation_query(official, family, flags)
    branches = _count(official, "transformer.verb_tgt_generator.fc_1.")
    relation_decoder = common | {
        "_target_": "rlipv2.models.decoders.RelationDecoder",
        "positions": positions,
        "num_layers": _count(official, "transformer.verb_decoder.layers."),
        "query": query,
    }
    if query != "vanilla" and branches:
        relation_decoder["branches"] = branches
    config = {
        "_target_": f"rlipv2.models.{'RelationTagger' if family == 'tagger' else 'RelationDetector'}",
        "backbone": backbone,
        "text_encoder": _text_encoder(official),
        "encoder": common | _encoder(official, encoder, flags),
        "queries": _queries(official, family, dim),
        "entity_decoder": common
        | {
            "_target_": "rlipv2.models.decoders.EntityDecoder",
            "positions": positions,
            "num_layers": _count(official, "transformer.ho_decoder.layers."),
        },
        "relation_decoder": relation_decoder,
        "num_levels": levels,
        "text_per_layer": bool(flags["lang_aux_loss"]),
        "subject_class": bool(flags["subject_class"]),
    }
    if "transformer.obj_fusion.norm.weight" in official:
        config["late_fusion"] = {
            "_target_": "rlipv2.models.late_fusion.LateFusion",
            "dim": dim,
            "num_layers": _count(official, "transformer.obj_fusion.layers."),
            "num_heads": heads,
            "feedforward_dim": official["transformer.obj_fusion.layers.0.linear1.weight"].shape[0],
            "dropout": common["dropout"],
        }
    if family == "parsed" and resnet:
        flags.assumed = [
            f"{text}; the run on VG alone used XGating" if "gating" in text else text for text in flags.assumed
        ]
    unused = ["query_embed.weight"] if family == "tagger" else []
    if query == "vanilla":  # ParSeDA builds it all the same
        unused.append("transformer.verb_tgt_generator.")
    return Inferred(config, flags.assumed, tuple(unused))


def _family(official: Mapping[str, Tensor]) -> Literal["parseda", "parsed", "tagger"]:
    if "transformer.ho_decoder.layers.0.linear1.weight" not in official:
        found = "detection weights" if "transformer.decoder.layers.0.linear1.weight" in official else "other keys"
        raise ValueError(
            "not a RLIPv2 checkpoint: expected transformer.ho_decoder.layers (ParSeDA, ParSeD or Relation Tagger), "
            f"found {found}, e.g. {next(iter(official), 'nothing')}. Weights to start from, without the relation "
            "parts, are converted with --family detection or backbone"
        )
    if "transformer.text_encoder.embeddings.word_embeddings.weight" not in official:
        raise ValueError(
            "not a complete RLIPv2 checkpoint: it has no transformer.text_encoder. Converted detection weights are "
            "read with --family detection; models without texts (ParSe, QPIC, CDN, ...) are not in this version"
        )
    if "refpoint_embed.weight" in official:
        return "parseda"
    if "transformer.coord_proj.weight" in official:
        return "tagger"
    if "query_embed.weight" in official and "transformer.reference_points_sub.weight" in official:
        return "parsed"
    raise ValueError(
        "not a RLIPv2 checkpoint of a known family: expected refpoint_embed.weight (ParSeDA), "
        "transformer.coord_proj.weight (Relation Tagger) or query_embed.weight with "
        "transformer.reference_points_sub.weight (ParSeD)"
    )


def _published(family: str, *, resnet: bool) -> dict[str, Any]:
    """Flags of the published recipes that tensors do not show (docs/parity.md, Q22)."""
    plain = family == "tagger" and resnet
    return {
        "gating_mechanism": "GLIP" if plain else "VXAc",
        "verb_query_tgt_type": "vanilla" if plain else "vanilla_MBF",
        "dropout": 0.1 if family == "parsed" or plain else 0.0,
        "subject_class": True,
        "fusion_last_vis": True,
        "lang_aux_loss": True,
    }


def _relation_query(official: Mapping[str, Tensor], family: str, flags: _Flags) -> str:
    """How relation queries start; without MBF, ParSeD and the tagger have no table of relation positions."""
    if family != "parseda" and "transformer.verb_query_embed.weight" not in official:
        return "vanilla"
    if family != "parseda" and "verb_query_tgt_type" not in flags.values:
        flags.assumed.append("verb_query_tgt_type=vanilla_MBF (not MBF; their tensors are the same)")
        return "vanilla_mbf"
    return str(flags["verb_query_tgt_type"]).lower()


def _backbone(official: Mapping[str, Tensor], args: Mapping[str, Any]) -> dict[str, Any]:
    if f"{BACKBONE}patch_embed.proj.weight" in official:
        return _swin(official, args)
    blocks = tuple(_count(official, f"{BACKBONE}layer{stage}.") for stage in range(1, 5))
    if f"{BACKBONE}layer1.0.conv3.weight" not in official or blocks != (3, 4, 6, 3):
        raise ValueError(
            f"{BACKBONE}: neither a Swin (patch_embed.proj.weight) nor a ResNet-50 (layer1.0.conv3.weight and 3, 4, 6, "
            f"3 blocks; found {blocks}): only these backbones are converted"
        )
    return {"_target_": "rlipv2.layers.backbones.TimmBackbone", "name": "resnet50.tv_in1k"}


def _swin(official: Mapping[str, Tensor], args: Mapping[str, Any]) -> dict[str, Any]:
    depths = [_count(official, f"{BACKBONE}layers.{stage}.blocks.") for stage in range(4)]
    tables = [
        official[f"{BACKBONE}layers.{stage}.blocks.0.attn.relative_position_bias_table"].shape for stage in range(4)
    ]
    found: dict[str, Any] = {
        "embed_dim": official[f"{BACKBONE}patch_embed.proj.weight"].shape[0],
        "depths": depths,
        "num_heads": [table[1] for table in tables],
        "window_size": (math.isqrt(tables[0][0]) + 1) // 2,
    }
    rate = {"drop_path_rate": float(args["drop_path_rate"])} if "drop_path_rate" in args else {}
    name = _SWINS.get(found["embed_dim"], "swin_tiny")
    return {"_target_": "rlipv2.layers.swin.SwinBackbone", "name": name, "options": found} | rate


def _text_encoder(official: Mapping[str, Tensor]) -> dict[str, Any]:
    prefix = "transformer.text_encoder."
    words, width = official[f"{prefix}embeddings.word_embeddings.weight"].shape
    return {
        "_target_": "rlipv2.layers.text_encoder.TextEncoder",
        "tokenizer": "roberta-base",
        "config": {
            "vocab_size": words,
            "hidden_size": width,
            "max_position_embeddings": official[f"{prefix}embeddings.position_embeddings.weight"].shape[0],
            "num_hidden_layers": _count(official, f"{prefix}encoder.layer."),
            "num_attention_heads": width // 64,
            "intermediate_size": official[f"{prefix}encoder.layer.0.intermediate.dense.weight"].shape[0],
        },
    }


def _encoder(official: Mapping[str, Tensor], prefix: str, flags: _Flags) -> dict[str, Any]:
    width = official["transformer.text_encoder.embeddings.word_embeddings.weight"].shape[1]
    layers, fusions = _count(official, f"{prefix}layers."), _count(official, f"{prefix}VLFuse_layers.")
    config: dict[str, Any] = {
        "_target_": "rlipv2.models.alif_encoder.ALIFEncoder",
        "text_dim": width,
        "num_layers": layers,
        "early_fusion": fusions > 0,
    }
    if fusions:
        config |= {
            "fusion_interval": layers // fusions,
            "fusion_levels": "last" if flags["fusion_last_vis"] else "all",
            "text_heads": width // 64,
            "text_feedforward_dim": official[f"{prefix}roberta_layers.0.intermediate.dense.weight"].shape[0],
            "fusion_dim": official[f"{prefix}VLFuse_layers.0.b_attn.attn.v_proj.weight"].shape[0],
            "gating": str(flags["gating_mechanism"]).lower(),
        }
    return config


def _queries(official: Mapping[str, Tensor], family: str, dim: int) -> dict[str, Any]:
    table = "refpoint_embed.weight" if family == "parseda" else "query_embed.weight"
    if family == "tagger":
        table = "transformer.verb_tgt.weight"
    config = {"_target_": _QUERIES[family], "num_pairs": official[table].shape[0] // 2, "dim": dim}
    if family != "parseda":
        config["relation_position"] = "transformer.verb_query_embed.weight" in official
    return config


def _count(keys: Mapping[str, Tensor], prefix: str) -> int:
    return len({key[len(prefix) :].split(".")[0] for key in keys if key.startswith(prefix)})
