"""Starting a network from the weight folder of an earlier stage."""

from pathlib import Path
from typing import Literal

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn

from rlipv2.checkpoints import download_weights, read_state

QUERY_TABLES = ("queries.content", "queries.relation_content", "queries.anchors")
OPTIONAL = ("denoising.", "dense.")
"""Training-only parts that published weights do not have."""


def cut_table(table: Tensor, rows: int, how: Literal["official", "halves"]) -> Tensor:
    """A query table (subjects first, then objects) cut to `rows`.

    "official" takes the first rows: from 100 to 64 pairs, the new subjects are old subjects 0-63 and the
    new objects are old subjects 64-99 followed by old objects 0-27. The published HICO-DET fine-tuning
    starts that way. "halves" takes the first rows of each half and keeps the pairs together.
    """
    if how == "official":
        return table[:rows]
    subjects, objects = table.chunk(2)
    return torch.cat([subjects[: rows // 2], objects[: rows // 2]])


def initialize(network: nn.Module, folder: str | Path, *, cut_queries: Literal["official", "halves"]) -> None:
    """Loads the weights of a folder (or a Hub repository) into a network of the same architecture.

    Raises:
        FileNotFoundError: the folder or its weights are missing; the message tells how to get them.
        ValueError: weights of another architecture; the message names the tensors.
    """
    if cut_queries not in ("official", "halves"):
        raise ValueError(f"cut_queries={cut_queries!r}: expected 'official' or 'halves'")
    try:
        state = read_state(download_weights(str(folder)))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"initial weights not found: {error}.\nThe published fine-tunings start from RLIPv2 weights pre-trained on "
            "VG + COCO + Objects365. Download that checkpoint from the official repository (JacobYuan7/RLIPv2) and "
            f"convert it with\n  python -m rlipv2.checkpoints convert FILE.pth {folder}\n"
            "or train without it: model.init=null"
        ) from error
    own = network.state_dict()
    for name in QUERY_TABLES:
        if name in state and name in own and len(state[name]) > len(own[name]):
            rank_zero_info(f"{name}: {len(state[name])} rows cut to {len(own[name])} ({cut_queries})")
            state[name] = cut_table(state[name], len(own[name]), cut_queries)
    misfits = [
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    misfits += [f"{name}: not in the file" for name in own.keys() - state.keys() if not name.startswith(OPTIONAL)]
    misfits += [f"{name}: not in the model" for name in state.keys() - own.keys() if not name.startswith(OPTIONAL)]
    if misfits:
        shown = "\n  ".join(sorted(misfits)[:8])
        raise ValueError(
            f"{folder}: {len(misfits)} tensors do not fit the model; choose the backbone and model the weights were "
            f"made with:\n  {shown}"
        )
    network.load_state_dict({name: tensor for name, tensor in state.items() if name in own}, strict=False)
    rank_zero_info(f"initial weights: {folder}")
