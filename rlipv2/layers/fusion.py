"""Two-way cross-attention between image tokens and label texts with a gate: the fusion of ALIF."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rlipv2.layers.gating import Gate, Gating


class GatedFusion(nn.Module):
    """Image tokens and texts read each other from one shared score matrix; gates scale what they take.

    GLIP (CVPR 2022), section 3.2, with the gates of RLIPv2 (ICCV 2023), section 3.2.
    Official: models/fuse_helper.py, BiAttentionBlockForCheckpoint.

    Args:
        image_dim: width of the image tokens.
        text_dim: width of the texts.
        attention_dim: width of all heads together.
        num_heads: heads.
        dropout: on the attention probabilities.
        gating: how the updates are scaled, see `Gate`.
        initial_gate: start value of both gate vectors.
        padding_mask: `official` ignores padding on both sides (the official code fills a boolean
            mask, which leaves it all true; docs/parity.md, Q6), `exact` hides padded tokens and texts.
    """

    def __init__(
        self,
        image_dim: int = 256,
        text_dim: int = 768,
        *,
        attention_dim: int = 2048,
        num_heads: int = 8,
        dropout: float = 0.1,
        gating: Gating = "vxac",
        initial_gate: float = 0.25,
        padding_mask: Literal["official", "exact"] = "official",
    ) -> None:
        super().__init__()
        if padding_mask not in ("official", "exact"):
            raise ValueError(f"padding_mask={padding_mask!r}: expected official or exact")
        self.num_heads, self.dropout, self.padding_mask = num_heads, dropout, padding_mask
        self.image_norm, self.text_norm = nn.LayerNorm(image_dim), nn.LayerNorm(text_dim)
        self.image_query = nn.Linear(image_dim, attention_dim)
        self.text_key = nn.Linear(text_dim, attention_dim)
        self.image_value = nn.Linear(image_dim, attention_dim)
        self.text_value = nn.Linear(text_dim, attention_dim)
        self.image_output = nn.Linear(attention_dim, image_dim)
        self.text_output = nn.Linear(attention_dim, text_dim)
        self.image_gate = Gate(image_dim, gating, initial=initial_gate)
        self.text_gate = Gate(text_dim, gating, initial=initial_gate)
        for module in self.children():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(
        self,
        image: Float[Tensor, "b s d"],
        text: Float[Tensor, "b t c"],
        position: Float[Tensor, "b s d"],
        *,
        image_padding: Bool[Tensor, "b s"] | None = None,
        text_padding: Bool[Tensor, "b t"] | None = None,
        absent_texts: Bool[Tensor, "b t"] | None = None,
    ) -> tuple[Float[Tensor, "b s d"], Float[Tensor, "b t c"]]:
        """Fused image tokens and texts.

        The residuals start from the layer-normed inputs, not from the inputs (docs/parity.md, Q5).
        The padding masks (True on padding) count with `padding_mask="exact"` only. `absent_texts` is True on rows
        that are no texts but fill a batch: nothing ever reads them.
        """
        image, text = self.image_norm(image), self.text_norm(text)
        query = self._heads(self.image_query(image + position))
        scores = (query * query.shape[-1] ** -0.5) @ self._heads(self.text_key(text)).transpose(-1, -2)
        to_image, to_text = scores, scores.transpose(-1, -2)
        if self.padding_mask == "exact":
            lowest = torch.finfo(scores.dtype).min
            if text_padding is not None:
                to_image = to_image.masked_fill(text_padding[:, None, None], lowest)
            if image_padding is not None:
                to_text = to_text.masked_fill(image_padding[:, None, None], lowest)
        if absent_texts is not None:
            to_image = to_image.masked_fill(absent_texts[:, None, None], torch.finfo(scores.dtype).min)
        image_update = self._attend(to_image, self.text_value(text))
        text_update = self._attend(to_text, self.image_value(image))
        return (
            self.image_gate(image, self.image_output(image_update)),
            self.text_gate(text, self.text_output(text_update)),
        )

    def _attend(self, scores: Tensor, values: Tensor) -> Tensor:
        probabilities = F.dropout(scores.softmax(-1), self.dropout, self.training)
        return (probabilities @ self._heads(values)).transpose(1, 2).flatten(2)
