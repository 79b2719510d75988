"""Classification by matching query states with label texts."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rlipv2.layers.mlp import at_least_float32

# Probability 0.01 for every label at the start; a constant of the code, not in checkpoints (docs/parity.md, Q12).
PRIOR_LOGIT = -math.log((1 - 0.01) / 0.01)


class TextMatchingHead(nn.Module):
    """Logits of subjects, objects and relations as products with projected label texts.

    Layer k is matched with the texts of fusion stage k (docs/parity.md, Q14); texts are normalised, halved and
    projected (Q13). Official: models/hoi.py, RLIP_ParSeDA.

    Args:
        dim: width of states and texts.
        subject_class: also classify subjects (off in the published few-shot recipe; no parameters differ).
        text_scale: length of the texts before their projection. Official: 0.5; a larger one spreads the
            logits of untrained weights more.
    """

    def __init__(self, dim: int = 256, *, subject_class: bool = True, text_scale: float = 0.5) -> None:
        super().__init__()
        self.subject_class, self.text_scale = subject_class, text_scale
        self.projection = nn.Linear(dim, dim)
        self.entity_bias = nn.Parameter(torch.zeros(dim))
        self.relation_bias = nn.Parameter(torch.zeros(dim))

    def forward(
        self,
        subjects: Float[Tensor, "l b q d"],
        objects: Float[Tensor, "l b q d"],
        relations: Float[Tensor, "l b q d"],
        texts: Float[Tensor, "#l b t d"],
        num_objects: int,
    ) -> tuple[Float[Tensor, "l b q o"] | None, Float[Tensor, "l b q o"], Float[Tensor, "l b q r"]]:
        """Logits of subjects (or None), objects (`num_objects` texts, background last) and relations.

        They are at least float32, as the losses need.
        """
        projected = self.projection(F.normalize(texts, dim=-1) * self.text_scale).transpose(-1, -2)
        object_texts, relation_texts = projected[..., :num_objects], projected[..., num_objects:]
        subject_logits = None
        if self.subject_class:
            subject_logits = _match(subjects + self.entity_bias, object_texts)
        object_logits = _match(objects + self.entity_bias, object_texts)
        return subject_logits, object_logits, _match(relations + self.relation_bias, relation_texts)

    def relation_logits(
        self, relations: Float[Tensor, "*l b q d"], relation_texts: Float[Tensor, "*l b r d"]
    ) -> Float[Tensor, "*l b q r"]:
        """Logits of relations alone, for the given relation texts, at least float32."""
        projected = self.projection(F.normalize(relation_texts, dim=-1) * self.text_scale)
        return _match(relations + self.relation_bias, projected.transpose(-1, -2))


def _match(states: Tensor, texts: Tensor) -> Tensor:
    return at_least_float32(states @ texts) + PRIOR_LOGIT
