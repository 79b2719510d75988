"""Compares single operators and blocks with recorded results: the `ops` folder."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rlipv2.checkpoints.official import convert_state, rename
from rlipv2.layers.deformable import MultiScaleDeformableAttention
from rlipv2.layers.fusion import GatedFusion
from rlipv2.layers.multi_branch import MultiBranchFusion
from rlipv2.layers.position_encoding import box_position_encoding, image_position_encoding
from rlipv2.layers.text_encoder import LanguageLayer
from rlipv2.ops.deformable_attention import backends, deformable_sampling
from rlipv2.parity.entry import Entry
from rlipv2.parity.seeded import seeded_weight

DOUBLE, SINGLE = {"atol": 1e-9, "rtol": 0.0}, {"atol": 1e-5, "rtol": 0.0}
_SEED = 1
# Where each block stands in the official model: its keys are renamed there.
_PLACES = {
    "vlfuse": ("transformer.encoder.VLFuse_layers.0.", "encoder.fusion_layers.0."),
    "ms_deform_attn_module": ("transformer.encoder.layers.0.self_attn.", "encoder.image_layers.0.attention."),
    "roberta_layer": ("transformer.encoder.roberta_layers.0.", "encoder.text_layers.0."),
}


def check_operators(folder: Path) -> list[Entry]:
    """Entries of all files of an `ops` folder that this version knows; others are reported as skipped."""
    shapes = json.loads((folder / "state_dict_keys.json").read_text())
    entries = []
    for path in sorted(folder.glob("*.npz")):
        check = _CHECKS.get(path.stem)
        if check is None:
            entries.append(Entry.skip(folder.name, f"{path.name} is not a known operator file"))
            continue
        with np.load(path, allow_pickle=False) as content:
            entries += check(f"{folder.name}/{path.stem}", dict(content), shapes)
    return entries


Arrays = Mapping[str, np.ndarray]
Shapes = Mapping[str, Mapping[str, list[int]]]


def _tensor(arrays: Arrays, name: str) -> Tensor:
    return torch.from_numpy(arrays[name])


def _fill(module: nn.Module, name: str, shapes: Mapping[str, list[int]]) -> nn.Module:
    official, ours = _PLACES[name]
    state = {}
    for key, shape in shapes.items():
        renamed = rename(official + key)
        if renamed is None:
            raise ValueError(f"state_dict_keys.json: {name}: {key}: unknown key")
        state[renamed.removeprefix(ours)] = seeded_weight(f"ops.{name}.{key}", shape, _SEED)
    module.load_state_dict(state)
    return module.double().eval()


def _sampling(case: str, arrays: Arrays, _: Shapes) -> list[Entry]:
    shapes = [(int(height), int(width)) for height, width in arrays["spatial_shapes"]]
    entries = []
    for backend in backends():
        names = ("value", "sampling_locations", "attention_weights")
        value, locations, weights = (_tensor(arrays, name).requires_grad_() for name in names)
        result = deformable_sampling(value, shapes, locations, weights, backend=backend)
        result.backward(_tensor(arrays, "cotangent"))
        pairs = {"output": result.detach()} | {
            f"grad_{name}": tensor.grad for name, tensor in zip(names, (value, locations, weights), strict=True)
        }
        entries += [
            Entry.compare(case, f"{backend}: {name}", np.asarray(ours), arrays[name], **DOUBLE)
            for name, ours in pairs.items()
        ]
    return entries


def _attention_module(case: str, arrays: Arrays, shapes: Shapes) -> list[Entry]:
    sizes = shapes["ms_deform_attn_module"]
    dim = sizes["value_proj.weight"][0]
    levels = len(arrays["spatial_shapes"])
    # The recorded module: 4 heads; points follow from the rows of the attention weights.
    points = sizes["attention_weights.weight"][0] // (4 * levels)
    empty = MultiScaleDeformableAttention(dim, num_levels=levels, num_heads=4, num_points=points)
    module = _fill(empty, "ms_deform_attn_module", sizes)
    with torch.no_grad():
        return [
            Entry.compare(
                case,
                f"out_{reference}",
                module(
                    _tensor(arrays, "query"),
                    _tensor(arrays, reference),
                    _tensor(arrays, "input_flatten"),
                    shapes=[(int(height), int(width)) for height, width in arrays["spatial_shapes"]],
                    padding_mask=_tensor(arrays, "padding_mask"),
                ).numpy(),
                arrays[f"out_{reference}"],
                **DOUBLE,
            )
            for reference in ("ref2", "ref4")
        ]


def _fusion(case: str, arrays: Arrays, shapes: Shapes) -> list[Entry]:
    entries = []
    for gating in sorted({name.split("/")[0] for name in arrays if "/" in name}):
        module = _fill(GatedFusion(gating=gating.lower()), "vlfuse", shapes["vlfuse"])  # type: ignore[arg-type]
        with torch.no_grad():
            image, text = module(
                _tensor(arrays, "vis"),
                _tensor(arrays, "lang"),
                _tensor(arrays, "pos"),
                image_padding=~_tensor(arrays, "vis_valid"),
                text_padding=~_tensor(arrays, "lang_valid"),
            )
        for name, ours in ((f"{gating}/vis", image), (f"{gating}/lang", text)):
            entries.append(Entry.compare(case, name, ours.numpy(), arrays[name], **DOUBLE))
    return entries


def _language_layer(case: str, arrays: Arrays, shapes: Shapes) -> list[Entry]:
    module = _fill(LanguageLayer(), "roberta_layer", shapes["roberta_layer"])
    with torch.no_grad():
        result = module(_tensor(arrays, "hidden"), ~_tensor(arrays, "valid"))
    return [Entry.compare(case, "output", result.numpy(), arrays["output"], **DOUBLE)]


def _small_modules(case: str, arrays: Arrays, shapes: Shapes) -> list[Entry]:
    mask = _tensor(arrays, "pos_mask")
    dim = arrays["pos_resnet"].shape[1]
    results = {
        f"pos_{name}": image_position_encoding(mask, dim, pixel_offset=offset).permute(0, 3, 1, 2)
        for name, offset in (("resnet", 0.0), ("swin", 0.5))
    }
    boxes = _tensor(arrays, "sine_in")
    results["sine_out"] = box_position_encoding(boxes, arrays["sine_out"].shape[-1] // 4)
    keys = shapes["multi_branch_fusion"]
    branches = len({key.split(".")[1] for key in keys})
    fusion = MultiBranchFusion(arrays["mbf_a"].shape[-1], branches=branches)
    prefix = "transformer.verb_tgt_generator."
    state, _ = convert_state({prefix + key: seeded_weight(f"ops.mbf.{key}", size, _SEED) for key, size in keys.items()})
    fusion.load_state_dict({key.removeprefix("relation_decoder.pair_fusion."): value for key, value in state.items()})
    results["mbf_out"] = fusion(_tensor(arrays, "mbf_a"), _tensor(arrays, "mbf_b")).detach()
    return [Entry.compare(case, name, ours.numpy(), arrays[name], **SINGLE) for name, ours in results.items()]


_CHECKS: dict[str, Callable[[str, Arrays, Shapes], list[Entry]]] = {
    "ms_deform_attn": _sampling,
    "ms_deform_attn_module": _attention_module,
    "vlfuse": _fusion,
    "roberta_layer": _language_layer,
    "small_modules": _small_modules,
}
