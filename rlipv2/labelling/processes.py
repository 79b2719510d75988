"""Which of several processes this one is, as Lightning, torchrun and Slurm tell it."""

import logging
import os
import warnings
from typing import Any

import torch

FIRST = "RLIPV2_FIRST_STAGE"
"""Environment variable: the stage that started the other processes of a machine, with which they begin."""


def launched() -> bool:
    """Whether this is one of several processes of the trainer."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def place(num_nodes: int) -> tuple[int, int]:
    """Which process this is, and how many there are; before the trainer started others there is one."""
    if not launched():
        return 0, 1
    told = os.environ
    if "LOCAL_RANK" not in told:
        return int(told["SLURM_PROCID"]), int(told["SLURM_NTASKS"])
    ranks = int(told["WORLD_SIZE"])
    on_this_machine = int(told.get("NODE_RANK", "0")) * (ranks // num_nodes) + int(told["LOCAL_RANK"])
    return int(told.get("RANK", on_this_machine)), ranks


def device_type(trainer: Any) -> str:
    """The kind of device that a trainer's configuration leads to on this machine: "cuda", "mps", "cpu", ..."""
    accelerator = str(trainer.get("accelerator", "auto"))
    if accelerator not in ("auto", "gpu"):
        return accelerator
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def half_precision(device: str) -> str:
    """The half precision of a device: bfloat16 has the range of float32, older GPUs have float16 only."""
    return "float16" if device == "cuda" and not torch.cuda.is_bf16_supported() else "bfloat16"


def quieten() -> None:
    """Leaves out what Lightning says about training, and about where batches come from, which units tell themselves."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in ("Couldn't infer the batch indices", "You have overridden `transfer_batch_to_device`", ".*LeafSpec"):
        warnings.filterwarnings("ignore", message=message)
