"""Official parameter names and where their tensors lie among ours.

Official layout: models/hoi.py and main.py of the RLIPv2 repository; docs/parity.md.
"""

import re
from dataclasses import dataclass

Changes = tuple[tuple[str, str], ...]

_FEEDFORWARD = (("linear1.", "feedforward.linear1."), ("linear2.", "feedforward.linear2."))
_DEFORMABLE = (("value_proj.", "value_projection."), ("output_proj.", "output_projection."))
_ENCODER_LAYER = (
    *((f"self_attn.{old}", f"attention.{new}") for old, new in _DEFORMABLE),
    ("self_attn.", "attention."),
    ("norm1.", "attention_norm."),
    ("norm2.", "feedforward_norm."),
    *_FEEDFORWARD,
)
_DECODER_LAYER = (
    ("self_attn.", "self_attention."),
    *((f"cross_attn.{old}", f"cross_attention.{new}") for old, new in _DEFORMABLE),
    ("cross_attn.", "cross_attention."),
    ("norm1.", "cross_attention_norm."),
    ("norm2.", "self_attention_norm."),
    ("norm3.", "feedforward_norm."),
    *_FEEDFORWARD,
)
_LATE_FUSION_LAYER = (
    ("self_attn.", "self_attention."),
    ("norm1.", "attention_norm."),
    ("norm2.", "feedforward_norm."),
    *_FEEDFORWARD,
)
_FUSION = tuple(
    change
    for side, ours, other in (("v", "image", "query"), ("l", "text", "key"))
    for change in (
        (f"gamma_{side}_down.", f"{ours}_gate.down."),
        (f"gamma_{side}_up.", f"{ours}_gate.up."),
        (f"gamma_{side}_one.", f"{ours}_gate.up."),
        (f"gamma_{side}", f"{ours}_gate.vector"),
        (f"layer_norm_gating_{side}.", f"{ours}_gate.norm."),
        (f"layer_norm_{side}.", f"{ours}_norm."),
        (f"attn.{side}_proj.", f"{ours}_{other}."),
        (f"attn.values_{side}_proj.", f"{ours}_value."),
        (f"attn.out_{side}_proj.", f"{ours}_output."),
    )
)
_SWIN_BLOCK = (
    ("norm1.", "layernorm_before."),
    ("norm2.", "layernorm_after."),
    ("attn.proj.", "attention.o_proj."),
    (
        "attn.relative_position_bias_table",
        "attention.relative_position_bias.relative_position_bias_table",
    ),
)
_MLP = (("layers.0.", "0."), ("layers.1.", "2."), ("layers.2.", "4."))

BACKBONE = "backbone.0.body."
"""Prefix of backbones, torchvision's names for ResNets and those of Swin for detection."""

_SWIN = "backbone.body.swin."
# (official prefix, our prefix, changes behind it); {} is a number that stays. The first that fits counts.
_PREFIXES: tuple[tuple[str, str, Changes], ...] = (
    (f"{BACKBONE}patch_embed.proj.", f"{_SWIN}embeddings.patch_embeddings.projection.", ()),
    (f"{BACKBONE}patch_embed.norm.", f"{_SWIN}embeddings.norm.", ()),
    (f"{BACKBONE}layers.{{}}.blocks.{{}}.", f"{_SWIN}encoder.layers.{{}}.blocks.{{}}.", _SWIN_BLOCK),
    (f"{BACKBONE}layers.{{}}.downsample.", f"{_SWIN}encoder.layers.{{}}.downsample.", ()),
    *((f"{BACKBONE}norm{i}.", f"backbone.body.hidden_states_norms.stage{i + 1}.", ()) for i in (1, 2, 3)),
    (BACKBONE, "backbone.body.", ()),
    ("input_proj.", "pyramid.layers.", ()),
    ("transformer.level_embed", "pyramid.level_embedding", ()),
    ("transformer.text_encoder.", "text_encoder.model.", ()),
    ("transformer.resizer.fc.", "encoder.text_resizer.linear.", ()),
    ("transformer.resizer.layer_norm.", "encoder.text_resizer.norm.", ()),
    *(
        entry
        for encoder in ("transformer.encoder.", "transformer.ho_encoder.")  # ParSeDA, ParSeD
        for entry in (
            (f"{encoder}layers.{{}}.", "encoder.image_layers.{}.", _ENCODER_LAYER),
            (f"{encoder}roberta_layers.{{}}.", "encoder.text_layers.{}.layer.", ()),
            (f"{encoder}VLFuse_layers.{{}}.b_attn.", "encoder.fusion_layers.{}.", _FUSION),
        )
    ),
    ("transformer.ho_decoder.layers.{}.", "entity_decoder.layers.{}.", _DECODER_LAYER),
    ("transformer.verb_decoder.layers.{}.", "relation_decoder.layers.{}.", _DECODER_LAYER),
    ("transformer.ho_decoder.ref_point_head.", "entity_decoder.anchor_projection.", _MLP),
    ("transformer.verb_decoder.ref_point_head.", "relation_decoder.anchor_projection.", _MLP),
    ("transformer.ho_decoder.query_scale.", "entity_decoder.position_scale.", _MLP),
    ("transformer.verb_decoder.query_scale.", "relation_decoder.position_scale.", _MLP),
    ("transformer.obj_fusion.layers.{}.", "late_fusion.entity.layers.{}.", _LATE_FUSION_LAYER),
    ("transformer.verb_fusion.layers.{}.", "late_fusion.relation.layers.{}.", _LATE_FUSION_LAYER),
    ("transformer.obj_fusion.norm.", "late_fusion.entity.norm.", ()),
    ("transformer.verb_fusion.norm.", "late_fusion.relation.norm.", ()),
    ("tgt_embed.weight", "queries.content", ()),
    ("verb_tgt_embed.weight", "queries.relation_content", ()),
    ("refpoint_embed.weight", "queries.anchors", ()),
    ("transformer.verb_query_embed.weight", "queries.relation_position", ()),
    ("transformer.reference_points_sub.", "queries.subject_reference.", ()),
    ("transformer.reference_points_obj.", "queries.object_reference.", ()),
    ("transformer.coord_proj.", "queries.box_projection.", ()),
    ("transformer.verb_tgt.weight", "queries.relation_content", ()),
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
_BRANCH = re.compile(r"(.*)\.fc_([123])\.(\d+)\.(weight|bias)")
_BRANCH_OWNER = re.compile(
    r"(transformer\.verb_tgt_generator)|transformer\.(?:ho_)?encoder\.VLFuse_layers\.(\d+)\.b_attn\.MBF_([vl])"
)
_SWIN_QKV = re.compile(re.escape(BACKBONE) + r"layers\.(\d+)\.blocks\.(\d+)\.attn\.qkv\.(weight|bias)")
_SIDES = {"sub": "subject", "obj": "object"}

# Recomputed by us, or counters that frozen batch norm never reads.
IGNORED = re.compile(r".*(embeddings\.position_ids|relative_position_index|num_batches_tracked)$")


@dataclass(frozen=True)
class Place:
    """Where an official tensor lies: joined from ours, or one block of ours.

    Attributes:
        names: our tensors; the official one is their concatenation along `dim`.
        dim: axis of that concatenation, or of the blocks.
        block: the official tensor is this one of the equal blocks of a single tensor of ours along `dim`.
        stacked: the blocks are rows of their own (`block` is an index along a new first axis).
        counted_by: our tensor whose length is the number of blocks.
    """

    names: tuple[str, ...]
    dim: int = 0
    block: int | None = None
    stacked: bool = False
    counted_by: str = ""


def place(key: str, num_decoder_layers: int = 3) -> Place | None:
    """Where the tensor of an official key lies, None if it has no place (aliases have their owner's)."""
    key = owner_of(key, num_decoder_layers) or key
    if match := _BOX_HEAD.fullmatch(key):
        side, index, layer, leaf = match.groups()
        if int(index) >= 2 * num_decoder_layers:
            return None
        decoder = "entity_decoder" if int(index) < num_decoder_layers else "relation_decoder"
        head = int(index) % num_decoder_layers
        return Place((f"{decoder}.{_SIDES[side]}_box_heads.{head}.{2 * int(layer)}.{leaf}",))
    if match := _BRANCH.fullmatch(key):
        return _branch(*match.groups())
    if match := _SWIN_QKV.fullmatch(key):
        stage, block, leaf = match.groups()
        block_name = f"{_SWIN}encoder.layers.{stage}.blocks.{block}.attention."
        return Place(tuple(f"{block_name}{part}_proj.{leaf}" for part in "qkv"))
    if key == "query_embed.weight":
        return Place(("queries.position", "queries.content", "queries.relation_content"), dim=1)
    return _renamed(key)


def rename(key: str, num_decoder_layers: int = 3) -> str | None:
    """Our name of an official key, None where no single whole tensor of ours is its own."""
    if owner_of(key, num_decoder_layers) is not None:
        return None
    found = place(key, num_decoder_layers)
    return found.names[0] if found and len(found.names) == 1 and found.block is None else None


def owner_of(key: str, num_decoder_layers: int = 3) -> str | None:
    """The top-level box head that a key inside a decoder is an alias of, None for any other key."""
    match = _BOX_ALIAS.fullmatch(key)
    if match is None:
        return None
    decoder, head, index, leaf = match.groups()
    return f"{head}.{int(index) + (num_decoder_layers if decoder == 'verb' else 0)}.{leaf}"


def _branch(owner: str, matrix: str, number: str, leaf: str) -> Place | None:
    """The block of a multi-branch fusion, whose branches are stacked in ours."""
    match = _BRANCH_OWNER.fullmatch(owner)
    if match is None:
        return None
    generator, layer, side = match.groups()
    prefix = "relation_decoder.pair_fusion."
    if not generator:
        prefix = f"encoder.fusion_layers.{layer}.{'image' if side == 'v' else 'text'}_gate.fusion."
    biases = f"{prefix}output_bias"
    if matrix == "3":
        if leaf == "bias":
            return Place((biases,), block=int(number), stacked=True, counted_by=biases)
        return Place((f"{prefix}output_weight",), dim=1, block=int(number), counted_by=biases)
    name = f"{prefix}{'first' if matrix == '1' else 'second'}.{leaf}"
    return Place((name,), block=int(number), counted_by=biases)


def _renamed(key: str) -> Place | None:
    for pattern, ours, changes in _COMPILED:
        if match := pattern.fullmatch(key):
            *numbers, rest = match.groups()
            for old, new in changes:
                if rest.startswith(old):
                    rest = new + rest[len(old) :]
                    break
            return Place((ours.format(*numbers) + rest,))
    return None
