"""Swin backbones as RLIPv2 trains them: maps of strides 8, 16 and 32, each through a norm of its own."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import SwinConfig

SIZES: dict[str, dict[str, Any]] = {
    "swin_tiny": {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "drop_path_rate": 0.2},
    "swin_large": {"embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48], "drop_path_rate": 0.5},
}
"""The published sizes, window 7 in both."""


class SwinBackbone(nn.Module):
    """A Swin transformer that returns its feature maps of strides 8, 16 and 32.

    Swin (ICCV 2021) for detection. Official: models/swin/swin_transformer.py, whose windows are padded before
    they are shifted and keep their size on maps smaller than a window. transformers' backbone does the same
    at every image size; timm's does neither.

    Args:
        name: `swin_tiny` or `swin_large`.
        pretrained: Hugging Face Hub repository or folder with ImageNet weights, as
            `microsoft/swin-tiny-patch4-window7-224`; the norms of the returned maps are not among them and
            start at 1 and 0. None where other weights are loaded afterwards.
        frozen_parts: parameters whose name contains one of these are not trained. Official: all norms,
            also those of the returned maps, and the tables of relative positions (docs/parity.md, Q2).
        drop_path_rate: chance that a residual branch of the last block is left out in training, per image;
            grows linearly from 0 in the first block. None: the published one of the size.
        checkpoint_activations: keep only the input of every block in training and compute the block again for
            its gradients: less memory, about a third more time, the same numbers. Official: off.
        half_precision: compute in bfloat16, return float32. Official: float32.
        options: further arguments of `transformers.SwinConfig`, e.g. other `depths`.

    Attributes:
        channels: width of each returned map.
        strides: pixels of the image per token of each returned map.
        position_offset: what `image_position_encoding` subtracts for this family (docs/parity.md, Q3).
    """

    position_offset = 0.5

    def __init__(
        self,
        name: str = "swin_tiny",
        *,
        pretrained: str | Path | None = None,
        frozen_parts: Sequence[str] = ("norm", "relative_position_bias_table"),
        drop_path_rate: float | None = None,
        checkpoint_activations: bool = False,
        half_precision: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if name not in SIZES:
            raise ValueError(f"name={name!r}: expected one of {', '.join(SIZES)}")
        self.half_precision = half_precision
        sizes = SIZES[name] | dict(options or {})
        if drop_path_rate is not None:
            sizes["drop_path_rate"] = drop_path_rate
        sizes["out_features"] = ["stage2", "stage3", "stage4"]
        sizes["attn_implementation"] = "sdpa"
        body: Any
        if pretrained is None:
            body = transformers.SwinBackbone(SwinConfig(**sizes))
        else:
            body = transformers.SwinBackbone.from_pretrained(pretrained, **sizes)
        # Of the classifier: its result is not among the maps, and the official backbone has none.
        body.swin.layernorm = nn.Identity()
        self.channels: tuple[int, ...] = tuple(body.channels)
        self.strides: tuple[int, ...] = (8, 16, 32)
        for block in (block for stage in body.swin.encoder.layers for block in stage.blocks):
            # transformers drops the attention branch only; the official block drops its MLP branch too.
            block.mlp.register_forward_hook(partial(_drop_output, block.drop_path))
            if checkpoint_activations:
                block.gradient_checkpointing = True
                block._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        self.body = body.train()  # from_pretrained gives evaluation mode, in which Lightning would leave it
        for parameter_name, parameter in self.body.named_parameters():
            if any(part in parameter_name for part in frozen_parts):
                parameter.requires_grad_(False)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Maps (b, channels, ceil(h / stride), ceil(w / stride)) of normalised images."""
        if not self.half_precision:
            return list(self.body(images).feature_maps)
        with torch.autocast(images.device.type, torch.bfloat16):
            maps = self.body(images).feature_maps
        return [feature.float() for feature in maps]


def _drop_output(drop_path: nn.Module, _module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    return drop_path(output)
