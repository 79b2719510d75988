"""Reading official `.pth` files without running any code of theirs."""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


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
    if isinstance(content, dict) and "state_dict" in content and "model" not in content:
        raise ValueError(
            f"{path}: holds 'state_dict' instead of 'model', as mmdetection writes it; rename its tensors to those of "
            "Deformable-DETR or DAB-DETR and save them as {'model': tensors}"
        )
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path}: expected a dictionary with the entry 'model' holding tensors by name")
    args = content.get("args") or {}
    flags = vars(args) if isinstance(args, argparse.Namespace) else args
    if not isinstance(flags, dict):
        raise ValueError(f"{path}: args={flags!r}: expected the flags of the training run by name, or no entry 'args'")
    return {key.removeprefix("module."): value for key, value in state.items()}, flags
