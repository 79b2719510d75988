"""Narrow detectors of every family and backbone, and their weights under the official keys."""

from typing import Any

import torch
from torch import Tensor

from rlipv2.checkpoints import build_detector
from rlipv2.checkpoints.official.convert import official_view
from rlipv2.models import RelationDetector

DIM, PAIRS = 32, 4
SWIN = {"embed_dim": 8, "depths": [2, 1, 1, 1], "num_heads": [1, 2, 2, 4], "window_size": 7}
BACKBONES = {
    "resnet50": {"_target_": "rlipv2.layers.backbones.TimmBackbone", "name": "resnet50.tv_in1k"},
    "swin": {"_target_": "rlipv2.layers.swin.SwinBackbone", "name": "swin_tiny", "options": SWIN},
}
QUERIES = {"parseda": "AnchorQueries", "parsed": "LearnedQueries", "tagger": "GivenPairQueries"}


def narrow(
    family: str, backbone: str = "swin", *, query: str = "vanilla_mbf", gating: str = "vxac", fusion: str = "alif"
) -> RelationDetector:
    """A detector of a family with every tensor filled with numbers of its own."""
    sizes = {"dim": DIM, "feedforward_dim": 16, "num_levels": 4, "num_heads": 8, "num_points": 2, "dropout": 0.0}
    positions = "anchor" if family == "parseda" else "learned"
    queries: dict[str, Any] = {
        "_target_": f"rlipv2.models.queries.{QUERIES[family]}",
        "num_pairs": PAIRS,
        "dim": DIM,
    }
    if family != "parseda":
        queries["relation_position"] = query != "vanilla"
    encoder: dict[str, Any] = sizes | {"_target_": "rlipv2.models.alif_encoder.ALIFEncoder", "text_dim": 64}
    encoder |= {"text_heads": 1, "text_feedforward_dim": 16, "fusion_dim": 16, "gating": gating}
    encoder |= {"num_layers": 6, "early_fusion": fusion == "alif"}
    config: dict[str, Any] = {
        "_target_": f"rlipv2.models.{'RelationTagger' if family == 'tagger' else 'RelationDetector'}",
        "backbone": BACKBONES[backbone],
        "text_encoder": {
            "_target_": "rlipv2.layers.text_encoder.TextEncoder",
            "config": {
                "vocab_size": 40,
                "hidden_size": 64,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
                "intermediate_size": 16,
                "max_position_embeddings": 12,
            },
        },
        "encoder": encoder,
        "queries": queries,
        "entity_decoder": sizes | {"_target_": "rlipv2.models.decoders.EntityDecoder", "positions": positions},
        "relation_decoder": sizes
        | {"_target_": "rlipv2.models.decoders.RelationDecoder", "positions": positions, "query": query, "branches": 4},
    }
    if fusion == "late":
        config["late_fusion"] = {"_target_": "rlipv2.models.late_fusion.LateFusion"} | {
            name: sizes[name] for name in ("dim", "num_heads", "feedforward_dim", "dropout")
        }
    return distinct(build_detector(config))


def distinct(detector: RelationDetector) -> RelationDetector:
    """The detector with every number of its state different from all others."""
    start = 1
    with torch.no_grad():
        for value in detector.state_dict().values():
            value.copy_(torch.arange(start, start + value.numel()).view(value.shape))
            start += value.numel()
    return detector


def official_keys(detector: RelationDetector, family: str) -> list[str]:
    """The keys of the official model that the detector stands for, written down from its structure."""
    encoder = "transformer.encoder." if family == "parseda" else "transformer.ho_encoder."
    keys = ["bias_obj_a", "bias_pred_a", "transformer.level_embed"]
    both = [
        "projection_text",
        "transformer.resizer.fc",
        "transformer.resizer.layer_norm",
        *(f"input_proj.{level}.{part}" for level in range(4) for part in (0, 1)),
    ]
    attention = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
    for index in range(6):
        layer = f"{encoder}layers.{index}."
        both += [f"{layer}self_attn.{part}" for part in attention]
        both += [f"{layer}{part}" for part in ("norm1", "norm2", "linear1", "linear2")]
    for decoder in ("ho", "verb"):
        for index in range(3):
            layer = f"transformer.{decoder}_decoder.layers.{index}."
            keys += [f"{layer}self_attn.in_proj_{leaf}" for leaf in ("weight", "bias")]
            both += [f"{layer}cross_attn.{part}" for part in attention]
            both += [
                f"{layer}{part}" for part in ("self_attn.out_proj", "norm1", "norm2", "norm3", "linear1", "linear2")
            ]
            both += [
                f"transformer.{decoder}_decoder.{side}_bbox_embed.{index}.layers.{part}"
                for side in ("sub", "obj")
                for part in range(3)
            ]
        if family == "parseda":
            both += [
                f"transformer.{decoder}_decoder.{name}.layers.{part}"
                for name in ("ref_point_head", "query_scale")
                for part in (0, 1)
            ]
    both += [
        f"{side}_bbox_embed.{index}.layers.{part}" for side in ("sub", "obj") for index in range(6) for part in range(3)
    ]
    keys += [f"{name}.{leaf}" for name in both for leaf in ("weight", "bias")]
    keys += _queries(detector, family) + _fusions(detector, encoder) + _backbone(detector)
    return keys + [
        name.replace("text_encoder.model.", "transformer.text_encoder.")
        for name in detector.state_dict()
        if name.startswith("text_encoder.")
    ]


def _queries(detector: RelationDetector, family: str) -> list[str]:
    if family == "parseda":
        keys = ["tgt_embed.weight", "verb_tgt_embed.weight", "refpoint_embed.weight"]
    else:
        keys = [f"transformer.reference_points_{side}.{leaf}" for side in ("sub", "obj") for leaf in ("weight", "bias")]
        keys += ["query_embed.weight"] if family == "parsed" else []
        keys += ["transformer.verb_query_embed.weight"] if detector.queries.relation_position is not None else []
    if family == "tagger":
        keys += ["transformer.verb_tgt.weight", "transformer.coord_proj.weight", "transformer.coord_proj.bias"]
    if detector.relation_decoder.pair_fusion is not None:
        keys += _branches("transformer.verb_tgt_generator", detector.relation_decoder.pair_fusion.branches)
    return keys


def _branches(owner: str, count: int) -> list[str]:
    return [
        f"{owner}.fc_{matrix}.{number}.{leaf}"
        for matrix in (1, 2, 3)
        for number in range(count)
        for leaf in ("weight", "bias")
    ]


def _fusions(detector: RelationDetector, encoder: str) -> list[str]:
    keys = []
    for stage in range(detector.encoder.num_fusions):
        fusion = f"{encoder}VLFuse_layers.{stage}.b_attn."
        keys += [f"{fusion}gamma_v", f"{fusion}gamma_l"]
        parts = [f"attn.{part}{side}_proj" for side in "vl" for part in ("", "values_", "out_")]
        parts += ["layer_norm_v", "layer_norm_l"]
        gate = detector.encoder.fusion_layers[stage].image_gate
        for side in "vl":
            if gate.gating == "mbf":
                keys += _branches(f"{fusion}MBF_{side}", 16)
            if hasattr(gate, "down"):
                parts += [f"gamma_{side}_down", f"gamma_{side}_{'one' if gate.rule.scalar else 'up'}"]
                parts += [f"layer_norm_gating_{side}"] if gate.rule.norm else []
        keys += [f"{fusion}{part}.{leaf}" for part in parts for leaf in ("weight", "bias")]
        language = f"{encoder}roberta_layers.{stage}."
        keys += [
            f"{language}{part}.{leaf}"
            for part in (
                *(f"attention.self.{name}" for name in ("query", "key", "value")),
                "attention.output.dense",
                "attention.output.LayerNorm",
                "intermediate.dense",
                "output.dense",
                "output.LayerNorm",
            )
            for leaf in ("weight", "bias")
        ]
    if detector.late_fusion is not None:
        for name in ("obj", "verb"):
            keys += [f"transformer.{name}_fusion.norm.{leaf}" for leaf in ("weight", "bias")]
            for layer in range(3):
                prefix = f"transformer.{name}_fusion.layers.{layer}."
                keys += [f"{prefix}self_attn.in_proj_{leaf}" for leaf in ("weight", "bias")]
                keys += [
                    f"{prefix}{part}.{leaf}"
                    for part in ("self_attn.out_proj", "norm1", "norm2", "linear1", "linear2")
                    for leaf in ("weight", "bias")
                ]
    return keys


def _backbone(detector: RelationDetector) -> list[str]:
    prefix = "backbone.0.body."
    if not hasattr(detector.backbone.body, "swin"):
        return [f"{prefix}{name}" for name in detector.backbone.body.state_dict()]
    both = ["patch_embed.proj", "patch_embed.norm", "norm1", "norm2", "norm3"]
    keys = []
    for stage, depth in enumerate(SWIN["depths"]):
        for index in range(depth):
            block = f"layers.{stage}.blocks.{index}."
            both += [f"{block}{part}" for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")]
            keys.append(f"{prefix}{block}attn.relative_position_bias_table")
        if stage < 3:
            both.append(f"layers.{stage}.downsample.norm")
            keys.append(f"{prefix}layers.{stage}.downsample.reduction.weight")
    return keys + [f"{prefix}{name}.{leaf}" for name in both for leaf in ("weight", "bias")]


def official_state(detector: RelationDetector, family: str) -> dict[str, Tensor]:
    """The weights of a narrow detector under the official keys.

    Raises:
        KeyError: an official key has no place among ours.
    """
    own, state = detector.state_dict(), {}
    for key in official_keys(detector, family):
        value = official_view(own, key)
        if value is None:
            raise KeyError(key)
        state[key] = value.clone()
    if family == "tagger":
        state["query_embed.weight"] = torch.zeros(2 * PAIRS, 3 * DIM)  # in official files, never read
    return state
