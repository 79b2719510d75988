"""Weights and images that follow from a name and a seed alone, so that no checkpoint is needed to compare models.

A stream of numbers belongs to every (seed, name): the first 8 bytes (little endian) of
sha256("<seed>:<name>") start NumPy's PCG64; the top 24 bits of each word make a
float32 uniform on [-sqrt 3, sqrt 3) (mean 0, variance 1). A weight is `offset + scale * u`, with offset and
scale chosen by the official key, so that every layer's output keeps a healthy spread.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_ALIAS = re.compile(r"transformer\.(ho|verb)_decoder\.(sub|obj)_bbox_embed\.(\d+)\.(.+)")
_UNSEEDED = ("relative_position_index", "position_ids", "num_batches_tracked")
_QUERY_TABLES = (
    "query_embed.weight",
    "tgt_embed.weight",
    "verb_tgt_embed.weight",
    "transformer.verb_query_embed.weight",
    "transformer.verb_tgt.weight",
)


def uniform_stream(name: str, count: int, seed: int) -> Float[np.ndarray, " n"]:
    """`count` float32 numbers, uniform on [-sqrt 3, sqrt 3), that belong to (seed, name)."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    words = np.random.PCG64(int.from_bytes(digest[:8], "little")).random_raw(count)
    unit = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)
    return unit * np.float32(math.sqrt(3.0))


def owner_of(key: str, num_decoder_layers: int = 3) -> str:
    """The official key that owns a tensor: box heads of the decoders are the top-level heads."""
    match = _ALIAS.fullmatch(key)
    if match is None:
        return key
    decoder, side, index, rest = match.groups()
    return f"{side}_bbox_embed.{int(index) + (num_decoder_layers if decoder == 'verb' else 0)}.{rest}"


def seeded_weight(key: str, shape: Sequence[int], seed: int) -> Tensor:
    """The float32 tensor of an official key."""
    key, shape = owner_of(key), tuple(int(size) for size in shape)
    offset, scale = _offset_and_scale(key, shape)
    values = uniform_stream(key, math.prod(shape), seed).reshape(shape)
    return torch.from_numpy(np.asarray(offset, np.float32) + np.float32(scale) * values)


def seeded_state(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, Tensor]:
    """All float tensors of an official state dict; aliases share one tensor, integer buffers are left out."""
    owners: dict[str, Tensor] = {}
    state = {}
    for key, shape in shapes.items():
        if not key.endswith(_UNSEEDED):
            owner = owner_of(key)
            if owner not in owners:
                owners[owner] = seeded_weight(owner, shape, seed)
            state[key] = owners[owner]
    return state


def seeded_image(name: str, height: int, width: int, seed: int) -> Float[Tensor, "3 h w"]:
    """An already normalised image: 8 x 8 fields of colour with noise on top."""
    fields = uniform_stream(f"image:{name}:coarse", 3 * 64, seed).reshape(3, 8, 8)
    noise = uniform_stream(f"image:{name}:noise", 3 * height * width, seed).reshape(3, height, width)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    return torch.from_numpy(fields[:, rows][:, :, columns] + np.float32(0.4) * noise)


def _offset_and_scale(key: str, shape: tuple[int, ...]) -> tuple[float | np.ndarray, float]:
    """The first rule that fits the key: special tensors, then matrices by fan-in, then vectors."""
    leaf = key.rsplit(".", 1)[-1]
    inverse_root = 1 / math.sqrt(math.prod(shape[1:]) if len(shape) > 1 else shape[0])
    body = key.startswith("backbone.0.body.")
    if body and re.search(r"\.(bn\d|downsample\.1)\.", key):
        gain = 0.4 if ".bn3." in key else 1.0
        return {"weight": (gain, 0.05), "running_var": (1.0, 0.1)}.get(leaf, (0.0, 0.05))
    if body and len(shape) == 4 and "patch_embed" not in key:
        return 0.0, math.sqrt(2) * inverse_root
    if leaf == "relative_position_bias_table":
        return 0.0, 0.2
    if "text_encoder.embeddings." in key and len(shape) == 2:
        return 0.0, 0.02 if "token_type" in key else 0.05
    if key in _QUERY_TABLES:
        return 0.0, 1.0
    named = {
        "refpoint_embed.weight": (0.0, 0.6),
        "transformer.level_embed": (0.0, 0.5),
        "bias_obj_a": (0.0, 0.1),
        "bias_pred_a": (0.0, 0.1),
        "projection_text.weight": (0.0, 4 * inverse_root),
    }
    if key in named:
        return named[key]
    if leaf in ("gamma_v", "gamma_l"):
        return 0.25, 0.05
    if key.endswith("sampling_offsets.weight"):
        return 0.0, 0.3 * inverse_root
    if key.endswith("sampling_offsets.bias"):
        return 0.0, 1.0
    if head := re.search(r"_bbox_embed\.(\d+)\.layers\.2\.(weight|bias)$", key):
        if head[2] == "weight":
            return 0.0, 0.3 * inverse_root
        smaller = np.zeros(shape, np.float32)
        smaller[2:] = -1.0 if head[1] == "0" else 0.0
        return smaller, 0.05
    if len(shape) == 1:
        return (1.0, 0.05) if leaf == "weight" else (0.0, 0.05)
    if key.startswith("transformer.reference_points"):
        return 0.0, 0.6 * inverse_root
    return 0.0, (0.5 if ".verb_tgt_generator.fc_3." in key else 1.0) * inverse_root
