"""Convolutional backbones from timm that return the maps of strides 8, 16 and 32."""

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn


class TimmBackbone(nn.Module):
    """A timm network that returns its feature maps of strides 8, 16 and 32.

    With the defaults it is the official ResNet-50 (models/DDETR_backbone.py): torchvision's version 1
    layout and weights, all batch norms frozen, stem and first stage not trained.

    Args:
        name: timm model; `resnet50.tv_in1k` holds the weights the official code starts from.
        pretrained: load those weights (needs the network or timm's cache on first use); leave off
            where other weights are loaded afterwards.
        frozen_batch_norm: batch norms use stored statistics and are not trained.
        frozen_parts: parameters whose name starts with one of these are not trained.
        half_precision: compute in bfloat16, return float32. Halves the time of this part on processors with
            bfloat16 arithmetic. Official: float32.
        options: further arguments of the timm network, e.g. narrower `channels`.

    Attributes:
        channels: width of each returned map.
        strides: pixels of the image per token of each returned map.
        position_offset: what `image_position_encoding` subtracts for this family (docs/parity.md, Q3).
    """

    position_offset = 0.0

    def __init__(
        self,
        name: str = "resnet50.tv_in1k",
        *,
        pretrained: bool = False,
        frozen_batch_norm: bool = True,
        frozen_parts: Sequence[str] = ("conv1", "bn1", "layer1"),
        half_precision: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.half_precision = half_precision
        body: Any = timm.create_model(
            name, pretrained=pretrained, features_only=True, out_indices=(2, 3, 4), **dict(options or {})
        )
        self.channels: tuple[int, ...] = tuple(body.feature_info.channels())
        self.strides: tuple[int, ...] = tuple(body.feature_info.reduction())
        body = freeze_batch_norm_2d(body) if frozen_batch_norm else body
        # Channels last: the same numbers up to rounding, about 1.3 times faster on CPUs and GPUs.
        self.body = body.to(memory_format=torch.channels_last)
        for parameter_name, parameter in self.body.named_parameters():
            if parameter_name.startswith(tuple(frozen_parts)):
                parameter.requires_grad_(False)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Maps (b, channels, ceil(h / stride), ceil(w / stride)) of normalised images."""
        images = images.contiguous(memory_format=torch.channels_last)
        if not self.half_precision:
            return list(self.body(images))
        with torch.autocast(images.device.type, torch.bfloat16):
            maps = self.body(images)
        return [feature.float() for feature in maps]
