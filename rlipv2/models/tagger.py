"""`RelationTagger`: relations of given pairs of labelled boxes."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlipv2.models.detector import RelationDetector
from rlipv2.models.queries import GivenPairQueries
from rlipv2.structures import LabelSpace, RelationTarget, TextFeatures


class RelationTagger(RelationDetector):
    """The R-Tagger: the parts of RLIPv2-ParSeD asked about given pairs instead of learned queries.

    `forward` needs `targets`, also in evaluation: their boxes and labels are the question; pair k of image b
    in the output answers row k of `targets[b]`, rows beyond mean nothing. Their `relations` are not read.
    RLIPv2 (ICCV 2023), section 3.3. Official: models/hoi.py and models/verb_tagger_helper.py (`--verb_tagger`).

    Raises:
        TypeError: built with other queries than `GivenPairQueries`.
    """

    def __init__(self, *, queries: GivenPairQueries, **parts: Any) -> None:
        if not isinstance(queries, GivenPairQueries):
            raise TypeError(f"queries={type(queries).__name__}: a RelationTagger needs GivenPairQueries")
        super().__init__(queries=queries, **parts)

    @torch.no_grad()
    def tag(
        self,
        images: Tensor,
        padding_mask: Bool[Tensor, "b h w"],
        label_space: LabelSpace | TextFeatures,
        pairs: Sequence[RelationTarget],
    ) -> list[Float[Tensor, "m r"]]:
        """Probability of every relation for the given pairs of each image (boxes cx cy w h, 0-1).

        Raises:
            ValueError: another number of `pairs` than images, more pairs of an image than the tagger takes, or labels
                that are no objects of the label space.
        """
        output = self(images, padding_mask, label_space, list(pairs))
        scores = output.relation_logits[-1].sigmoid()
        return [scores[image, : len(target)] for image, target in enumerate(pairs)]
