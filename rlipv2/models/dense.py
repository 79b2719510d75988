"""Dense auxiliary heads: every image token predicts an object (training only, not in the paper).

FCOS (ICCV 2019) without centre-ness, with text-matched classes. Off in every published recipe; as a
pre-training of the backbone and as an auxiliary loss it makes very short trainings converge.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rlipv2.models.heads import PRIOR_LOGIT
from rlipv2.models.pyramid import FeaturePyramid
from rlipv2.structures import DenseOutput, TextFeatures


class DenseHead(nn.Module):
    """Class logits against object texts and a box for every token.

    Args:
        dim: width of the tokens.
        text_dim: width of the texts it is given.
    """

    def __init__(self, dim: int, text_dim: int) -> None:
        super().__init__()
        self.class_tower = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        last = nn.Linear(dim, 4)
        self.box_tower = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), last)
        self.text_projection = nn.Linear(text_dim, dim)
        # Boxes start as four cells wide and high.
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, 0.7)

    def forward(
        self, tokens: Float[Tensor, "b s d"], pyramid: FeaturePyramid, texts: Float[Tensor, "*b o c"]
    ) -> DenseOutput:
        """Predictions for tokens laid out as in `pyramid`; `texts` are the objects without the background."""
        words = self.text_projection(F.normalize(texts, dim=-1) * 2)
        logits = self.class_tower(tokens) @ words.transpose(-1, -2) + PRIOR_LOGIT
        centers, cells = pyramid.centers(), pyramid.cell_sizes()
        # Distances to the four sides in cells of the token's level.
        left_top, right_bottom = self.box_tower(tokens).clamp(max=5).exp().chunk(2, dim=-1)
        corners_min, corners_max = centers - left_top * cells, centers + right_bottom * cells
        boxes = torch.cat([(corners_min + corners_max) / 2, corners_max - corners_min], dim=-1)
        return DenseOutput(
            logits=logits,
            boxes=boxes,
            centers=centers,
            strides=cells,
            padding_mask=pyramid.padding_mask,
            levels=pyramid.token_levels,
        )


class DenseHeads(nn.Module):
    """One head on the projected backbone maps (before any fusion), one on the encoder's memory."""

    def __init__(self, dim: int, text_dim: int) -> None:
        super().__init__()
        self.on_backbone = DenseHead(dim, text_dim)
        self.on_memory = DenseHead(dim, dim)

    def forward(
        self,
        pyramid: FeaturePyramid,
        memory: Float[Tensor, "b s d"],
        texts: TextFeatures,
        fused_texts: Float[Tensor, "b t d"],
    ) -> tuple[DenseOutput, DenseOutput]:
        """Predictions on the backbone's tokens and on the encoder's memory."""
        objects = texts.num_objects - 1
        return (
            self.on_backbone(pyramid.tokens, pyramid, texts.pooled[:objects]),
            self.on_memory(memory, pyramid, fused_texts[:, :objects]),
        )
