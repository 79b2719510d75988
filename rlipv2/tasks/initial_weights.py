"""Starting a network from the weight folder of an earlier stage."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn

from rlipv2.checkpoints import download_weights, read_partial, read_state
from rlipv2.checkpoints.object_detection import holds_object_detector, to_relation_detector
from rlipv2.models import RelationDetector

PAIR_TABLES = ("queries.content", "queries.relation_content", "queries.anchors", "queries.position")
"""Query tables with two rows per pair: subjects, then objects."""
RELATION_TABLES = ("queries.relation_position",)
"""Query tables with one row per pair."""
OPTIONAL = ("denoising.", "dense.")
"""Training-only parts that published weights do not have."""


def cut_table(table: Tensor, rows: int, how: Literal["official", "halves"]) -> Tensor:
    """A query table (subjects first, then objects) cut to `rows`.

    "official" takes the first rows: from 100 to 64 pairs, the new subjects are old subjects 0-63 and the
    new objects are old subjects 64-99 followed by old objects 0-27. The published HICO-DET fine-tuning
    starts that way. "halves" takes the first rows of each half and keeps the pairs together.
    Official: main.py, `--pretrained` (docs/parity.md, Q10).
    """
    if how == "official":
        return table[:rows]
    subjects, objects = table.chunk(2)
    return torch.cat([subjects[: rows // 2], objects[: rows // 2]])


def initialize(network: nn.Module, folder: str | Path, *, cut_queries: Literal["official", "halves"]) -> None:
    """Loads the weights of a folder (or a Hub repository) into a network of the same architecture.

    Partial weights (of an object detector or a backbone) leave the other parts as they were built; what was
    loaded and what was not is logged. A network whose pairs are given takes none of their query tables.

    Raises:
        FileNotFoundError: the folder or its weights are missing; the message tells how to get them.
        ValueError: weights of another architecture; the message names the tensors.
    """
    if cut_queries not in ("official", "halves"):
        raise ValueError(f"cut_queries={cut_queries!r}: expected 'official' or 'halves'")
    try:
        path = download_weights(str(folder))
        note, state = read_partial(path), read_state(path)
        if isinstance(network, RelationDetector) and holds_object_detector(path):
            state = to_relation_detector(state, num_decoder_layers=len(network.entity_decoder.layers))
            note = {"source": str(folder), "kind": "ObjectDetector"}
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"initial weights not found: {error}.\nThe published fine-tunings start from RLIPv2 weights pre-trained on "
            "VG + COCO + Objects365. Download that checkpoint from the official repository (JacobYuan7/RLIPv2) and "
            f"convert it with\n  python -m rlipv2.checkpoints convert FILE.pth {folder}\n"
            "or train without it: model.init=null"
        ) from error
    own = network.state_dict()
    skipped: list[str] = []
    if note is not None and "queries.content" not in own:
        skipped = [name for name in PAIR_TABLES if state.pop(name, None) is not None]
    _cut(state, own, cut_queries)
    # Partial weights may lack anything, but all that they hold must fit.
    missing = [name for name in own.keys() - state.keys() if not name.startswith(OPTIONAL)]
    misfits = [
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    misfits += [f"{name}: not in the file" for name in missing if note is None]
    misfits += [f"{name}: not in the model" for name in state.keys() - own.keys() if not name.startswith(OPTIONAL)]
    if misfits:
        shown = "\n  ".join(sorted(misfits)[:8])
        raise ValueError(
            f"{folder}: {len(misfits)} tensors do not fit the model; choose the backbone and model the weights were "
            f"made with:\n  {shown}"
        )
    network.load_state_dict({name: tensor for name, tensor in state.items() if name in own}, strict=False)
    if note is None:
        rank_zero_info(f"initial weights: {folder}")
    else:
        rank_zero_info(_partial_report(folder, note, loaded=state, missing=missing, skipped=skipped))


def _cut(state: dict[str, Tensor], own: dict[str, Any], how: Literal["official", "halves"]) -> None:
    """Cuts the query tables of `state` that are longer than those of the network."""
    for name in (*PAIR_TABLES, *RELATION_TABLES):
        if name in state and name in own and len(state[name]) > len(own[name]):
            rank_zero_info(f"{name}: {len(state[name])} rows cut to {len(own[name])} ({how})")
            # One row per pair: the first pairs, in both ways.
            state[name] = cut_table(state[name], len(own[name]), "official" if name in RELATION_TABLES else how)


def _partial_report(
    folder: str | Path, note: dict[str, Any], *, loaded: Iterable[str], missing: Iterable[str], skipped: Iterable[str]
) -> str:
    lines = [f"partial initial weights: {folder} (from {note['source']}, {note['kind']})"]
    lines += [f"  loaded: {group}" for group in _groups(loaded)]
    lines += [f"  not in the file, left as built: {group}" for group in _groups(missing)]
    lines += [f"  in the file, but this network has given pairs: {name}" for name in skipped]
    return "\n".join(lines)


def _groups(names: Iterable[str]) -> list[str]:
    """Names of tensors by their first two parts, with their number."""
    counts: dict[str, int] = {}
    for name in sorted(names):
        group = ".".join(name.split(".")[:2])
        counts[group] = counts.get(group, 0) + 1
    return [group if count == 1 else f"{group} ({count} tensors)" for group, count in counts.items()]
