"""The ALIF encoder: deformable image layers with early, gated fusion of image and label texts."""

from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rlipv2.layers.deformable import DeformableEncoderLayer
from rlipv2.layers.fusion import GatedFusion, Gating
from rlipv2.layers.text_encoder import LanguageLayer
from rlipv2.models.pyramid import FeaturePyramid


class TextResizer(nn.Module):
    """Linear, layer norm, dropout: fused texts to the width of the decoders (norm eps 1e-12; docs/parity.md, Q15)."""

    def __init__(self, text_dim: int, dim: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.linear = nn.Linear(text_dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, texts: Tensor) -> Tensor:
        """Texts of width `dim`."""
        return self.dropout(self.norm(self.linear(texts)))


class ALIFEncoder(nn.Module):
    """Deformable encoder in which image and texts attend to each other every `fusion_interval` layers.

    Asymmetric Language-Image Fusion of RLIPv2 (ICCV 2023), section 3.2. Each fusion is followed by a
    language layer over the labels. Official: models/deformable_transformer.py,
    RLIPv2_DeformableTransformerEncoder.

    Args:
        dim: width of the image tokens.
        text_dim: width of the texts.
        num_layers: deformable layers.
        fusion_interval: a fusion comes before every `fusion_interval`-th layer, the first included.
        early_fusion: false leaves all fusions out: image and texts stay apart (RLIPv1, and the baseline
            without any fusion).
        fusion_levels: `last`: only the coarsest level is fused (published), `all`: every token.
        feedforward_dim: hidden width of the image layers.
        num_levels: feature levels.
        num_heads: heads of the deformable attention.
        num_points: sampling points per head and level.
        dropout: of the image layers.
        text_heads: heads of the language layers.
        text_feedforward_dim: hidden width of the language layers.
        text_dropout: of the language layers, the fusion's attention and the resizer.
        fusion_dim: width of all heads of a fusion together.
        fusion_heads: heads of a fusion.
        gating: see `GatedFusion`.
        fusion_padding_mask: see `GatedFusion`.
        backend: sampling function of the deformable attention.
        checkpoint_activations: in training, compute the image layers again in the backward pass instead of
            keeping what is inside them: less memory for a third more time, the same gradients.
    """

    def __init__(
        self,
        *,
        dim: int = 256,
        text_dim: int = 768,
        num_layers: int = 6,
        fusion_interval: int = 2,
        early_fusion: bool = True,
        fusion_levels: Literal["last", "all"] = "last",
        feedforward_dim: int = 2048,
        num_levels: int = 4,
        num_heads: int = 8,
        num_points: int = 4,
        dropout: float = 0.0,
        text_heads: int = 12,
        text_feedforward_dim: int = 3072,
        text_dropout: float = 0.1,
        fusion_dim: int = 2048,
        fusion_heads: int = 8,
        gating: Gating = "vxac",
        fusion_padding_mask: Literal["official", "exact"] = "official",
        backend: str = "auto",
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        if num_layers % fusion_interval:
            raise ValueError(f"num_layers={num_layers} is not a multiple of fusion_interval={fusion_interval}")
        if fusion_levels not in ("last", "all"):
            raise ValueError(f"fusion_levels={fusion_levels!r}: expected last or all")
        self.dim, self.text_dim = dim, text_dim
        self.fusion_interval, self.fusion_levels = fusion_interval, fusion_levels
        self.checkpoint_activations = checkpoint_activations
        num_fusions = num_layers // fusion_interval if early_fusion else 0
        self.image_layers = nn.ModuleList(
            DeformableEncoderLayer(
                dim,
                feedforward_dim=feedforward_dim,
                num_levels=num_levels,
                num_heads=num_heads,
                num_points=num_points,
                dropout=dropout,
                backend=backend,
            )
            for _ in range(num_layers)
        )
        self.fusion_layers = nn.ModuleList(
            GatedFusion(
                dim,
                text_dim,
                attention_dim=fusion_dim,
                num_heads=fusion_heads,
                dropout=text_dropout,
                gating=gating,
                initial_gate=1 / num_levels,
                padding_mask=fusion_padding_mask,
            )
            for _ in range(num_fusions)
        )
        self.text_layers = nn.ModuleList(
            LanguageLayer(text_dim, num_heads=text_heads, feedforward_dim=text_feedforward_dim, dropout=text_dropout)
            for _ in range(num_fusions)
        )
        self.text_resizer = TextResizer(text_dim, dim, text_dropout)

    @property
    def num_fusions(self) -> int:
        """Fusion stages, each of which yields text features."""
        return len(self.fusion_layers)

    def forward(
        self,
        pyramid: FeaturePyramid,
        texts: Float[Tensor, "*b t c"],
        text_padding: Bool[Tensor, " t"] | None,
        absent_texts: Bool[Tensor, "b t"] | None = None,
    ) -> tuple[Float[Tensor, "b s d"], Float[Tensor, "f b t d"]]:
        """Image memory and the texts after every fusion stage (without fusion: once), in the width of the image.

        Args:
            pyramid: image tokens.
            texts: pooled label features, the same for all images or of each image.
            text_padding: True on texts that the language layers must not attend to.
            absent_texts: True on rows of an image that are no texts but fill the batch: nothing reads them.
        """
        batch = len(pyramid.tokens)
        tokens, text = pyramid.tokens, texts.expand(batch, -1, -1)
        reference = pyramid.centers()[:, :, None] * pyramid.valid_ratios[:, None]
        fused = slice(-pyramid.level_sizes[-1], None) if self.fusion_levels == "last" else slice(None)
        # Without a masked text the mask is left out: attention without a mask has faster kernels.
        masked = None if text_padding is None or not bool(text_padding.any()) else text_padding.expand(batch, -1)
        unread = absent_texts if masked is None else masked if absent_texts is None else masked | absent_texts
        stages = []
        for index, layer in enumerate(self.image_layers):
            if self.num_fusions and index % self.fusion_interval == 0:
                stage = index // self.fusion_interval
                part, text = self.fusion_layers[stage](
                    tokens[:, fused],
                    text,
                    pyramid.positions[:, fused],
                    image_padding=pyramid.padding_mask[:, fused],
                    text_padding=masked,
                    absent_texts=absent_texts,
                )
                tokens = torch.cat([tokens[:, : tokens.shape[1] - part.shape[1]], part], dim=1)
                text = self.text_layers[stage](text, unread)
                stages.append(text)
            run = partial(layer, shapes=pyramid.shapes, padding_mask=pyramid.padding_mask)
            if self.training and self.checkpoint_activations:
                tokens = checkpoint(run, tokens, pyramid.positions, reference, use_reentrant=False)
            else:
                tokens = run(tokens, pyramid.positions, reference)
        return tokens, self.text_resizer(torch.stack(stages or [text]))
