"""`torch.compile` of the parts of a network that repeat: backbone, encoder layers, decoder layers."""

import shutil
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from rlipv2.layers.deformable import DeformableDecoderLayer, DeformableEncoderLayer


def compile_network(network: nn.Module, *, device: torch.device | None = None, **options: Any) -> nn.Module:
    """Compiles backbone, encoder layers and decoder layers of a network in place, and returns it.

    Each part is compiled when it is first called, for any height, width and batch size (single images get graphs of
    their own): the layers of a kind share one graph. Names of parameters stay as they are, so weights are saved and
    loaded as before. What looks at numbers (fusion masks, matching, losses, ranking) stays eager. The numbers differ
    by rounding.

    Args:
        network: a detector, tagger or object detector.
        device: where it will run; None: where its weights are.
        options: further arguments of `torch.compile`.

    Raises:
        RuntimeError: no C++ compiler for the parts that run on the CPU, or no working Triton for those on a GPU.
        ValueError: nothing in the network that could be compiled.
    """
    parts = list(compiled_parts(network))
    if not parts:
        raise ValueError(f"{type(network).__name__}: has no backbone and no deformable layers to compile")
    _require_compiler(device or next(network.parameters()).device)
    for part in parts:
        part.compile(dynamic=True, **options)
    return network


def compiled_parts(network: nn.Module) -> Iterator[nn.Module]:
    """The modules that `compile_network` compiles."""
    if isinstance(backbone := getattr(network, "backbone", None), nn.Module):
        yield backbone
    for module in network.modules():
        if isinstance(module, DeformableEncoderLayer | DeformableDecoderLayer):
            yield module


def _require_compiler(device: torch.device) -> None:
    if device.type == "cpu":
        from torch._inductor import config, cpp_builder, exc

        try:
            cpp_builder.get_cpp_compiler()
        except exc.InvalidCxxCompiler as error:
            raise RuntimeError(
                "compiling for the CPU needs a C++ compiler, and none of "
                f"{[name for name in config.cpp.cxx if name]} runs here: install g++ (Debian, Ubuntu: `apt install "
                "g++`), name yours in the environment variable CXX, or leave compiling off"
            ) from error
    elif device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton() or not (shutil.which("gcc") or shutil.which("cc")):
            raise RuntimeError(
                "compiling for a GPU needs Triton, which PyTorch brings along on Linux, and a C compiler (gcc); "
                "install them, or leave compiling off"
            )
