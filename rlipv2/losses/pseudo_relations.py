"""Relation Pseudo-Labels (RPL): near synonyms of the labelled relations as soft positives.

RLIP (NeurIPS 2022), kept in RLIPv2. Official: models/hoi.py, SetCriterionHOI, `pseudo_verb`.
"""

import torch
from jaxtyping import Float
from torch import Tensor


class PseudoRelations:
    """Scores every relation text of the label space by its closeness to the labelled relations of a pair.

    Closeness of text u to the labelled text v is max_w d(v, w) - d(v, u), with d the Euclidean distance of the
    pooled text features; it is summed over the labelled relations and divided by its largest value.

    Args:
        threshold: scores up to this value become 0.
        detach: False lets the gradient of the relation loss reach the text encoder through the soft labels, as
            the official code does.
    """

    def __init__(self, *, threshold: float = 0.3, detach: bool = False) -> None:
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold={threshold}: scores lie between 0 and 1, choose a value from [0, 1)")
        self.threshold = threshold
        self.detach = detach

    def __call__(
        self, relation_text: Float[Tensor, "r c"] | None, relations: Float[Tensor, "t r"]
    ) -> Float[Tensor, "t r"]:
        """Scores in [0, 1], 0 at labelled relations and in rows without any (official code: NaN there).

        Args:
            relation_text: pooled features of the relation texts (`RelationOutput.relation_text`).
            relations: multi-hot rows of all targets of the batch.

        Raises:
            ValueError: no text features.
        """
        if relation_text is None:
            raise ValueError("pseudo relations need output.relation_text, but the model gives none")
        text = relation_text.detach().float() if self.detach else relation_text.float()
        # + 1e-6: torch's pairwise_distance, which the official code uses; the exact mode of cdist, since the
        # distance of a text to itself decides where the gradient of the root is cut off.
        distance = torch.cdist(text + 1e-6, text, compute_mode="donot_use_mm_for_euclid_dist")
        closeness = distance.amax(1, keepdim=True) - distance
        scores = relations @ closeness
        best = scores.amax(1, keepdim=True)
        scores = scores / torch.where(best > 0, best, 1.0)
        return scores * (1 - relations) * (scores > self.threshold)
