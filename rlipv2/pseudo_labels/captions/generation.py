"""What captioners share that are networks: devices, precision, random numbers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

Precision = Literal["auto", "float32", "float16", "bfloat16"]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers of `torch` begin with the seed inside, and go on outside as if nothing had been drawn."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def placed(model: nn.Module, precision: Precision) -> tuple[torch.device, torch.dtype]:
    """Where the weights are, and their type, into which they are brought here (`auto`: float16 on a GPU, else float32).

    Raises:
        ValueError: unknown precision.
    """
    weight = next(parameter for parameter in model.parameters() if parameter.is_floating_point())
    dtype: torch.dtype = getattr(torch, resolved_precision(precision, weight.device.type))
    if weight.dtype != dtype:
        model.to(dtype)
    return weight.device, dtype


def resolved_precision(precision: str, device: str) -> str:
    """The precision that `auto` stands for on a kind of device: float16 on a GPU ("cuda"), else float32.

    Raises:
        ValueError: unknown precision.
    """
    if precision not in ("auto", "float32", "float16", "bfloat16"):
        raise ValueError(f"precision={precision!r}: expected auto, float32, float16 or bfloat16")
    return precision if precision != "auto" else "float16" if device == "cuda" else "float32"


def rows_per_image(texts: Sequence[str], num_images: int) -> list[list[str]]:
    """The captions of each image; those of the first image come first.

    Raises:
        ValueError: a number of captions that is no multiple of the number of images.
    """
    if num_images == 0 or len(texts) % num_images:
        raise ValueError(f"{len(texts)} captions for {num_images} images: expected as many of each image")
    each = len(texts) // num_images
    return [list(texts[start : start + each]) for start in range(0, len(texts), each)]


def decoded(tokenizer: Any, ids: Tensor) -> list[str]:
    """Texts without special tokens and without the blanks that tokenizers put before apostrophes and points.

    transformers 5 leaves those blanks unless asked ("man ' s hat"); the official captions have none.
    """
    texts: list[str] = tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=True)
    return texts


def not_found(name: str, error: OSError) -> OSError:
    """The error for weights that are neither on disk nor reachable."""
    return OSError(
        f"captioner {name}: neither a folder, nor downloaded before, nor reachable ({error}); download it where there "
        "is a network and give its folder, or take captions that exist: captions=FILE"
    )
