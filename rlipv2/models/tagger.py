"""`RelationTagger`: relations of given pairs of labelled boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlipv2.models.detector import RelationDetector
from rlipv2.models.pyramid import FeaturePyramid
from rlipv2.models.queries import GivenPairQueries
from rlipv2.structures import LabelSpace, RelationTarget, TextFeatures


@dataclass(frozen=True)
class EncodedImages:
    """Images and texts after the encoder: what any number of pairs can be asked of.

    Attributes:
        memory: image tokens.
        pyramid: their layout.
        texts: fused texts in the width of the decoders: objects, background, relations.
        num_objects: object texts with the background.
    """

    memory: Float[Tensor, "i s d"]
    pyramid: FeaturePyramid
    texts: Float[Tensor, "i t d"]
    num_objects: int

    def __len__(self) -> int:
        return len(self.memory)


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

    def encode(
        self,
        images: Tensor,
        padding_mask: Bool[Tensor, "i h w"],
        texts: Float[Tensor, "i t c"],
        num_objects: int,
        *,
        absent_texts: Bool[Tensor, "i t"] | None = None,
    ) -> EncodedImages:
        """Images encoded together with texts of their own, once for all pairs that `relation_logits` is asked about.

        Args:
            images: as for `forward`.
            padding_mask: True on padding.
            texts: pooled features of objects, background and relations of each image; filled up at the end.
            num_objects: object texts with the background, the same for all images.
            absent_texts: True on rows that fill up; None where every image has as many texts.

        Raises:
            ValueError: a tagger with late fusion, where texts depend on the pairs.
        """
        if self.late_fusion is not None:
            raise ValueError("a tagger with late fusion fuses texts with the pairs of each call: use forward or tag")
        pyramid = self.image_pyramid(images, padding_mask)
        memory, fused = self.encoder(pyramid, texts, None, absent_texts)
        if self.text_per_layer:
            fused = fused[self._text_stages(len(fused))]
        return EncodedImages(memory=memory, pyramid=pyramid, texts=fused[-1], num_objects=num_objects)

    def relation_logits(self, encoded: EncodedImages, pairs: Sequence[RelationTarget]) -> Float[Tensor, "g q r"]:
        """Relation logits of the last layer for groups of pairs, the same number of groups of every image.

        Row g answers `pairs[g]`, which belong to image `g // (groups of an image)`: `forward` gives the same for that
        image alone. Pairs of different groups do not see each other. What stands behind the last pair of a group and
        at absent texts means nothing.

        Raises:
            ValueError: as for `tag`; a number of groups that is no multiple of the number of images.
        """
        if not pairs or len(pairs) % len(encoded):
            raise ValueError(f"{len(pairs)} groups of pairs for {len(encoded)} images: pass as many of each image")
        groups = len(pairs) // len(encoded)
        queries = self.queries(encoded.texts.repeat_interleave(groups, dim=0), encoded.num_objects, list(pairs))
        entities = self.entity_decoder(queries, encoded.memory, encoded.pyramid)
        states = self.relation_decoder(queries, entities, encoded.memory, encoded.pyramid)[-1]
        logits = self.head.relation_logits(
            states.reshape(len(encoded), -1, states.shape[-1]), encoded.texts[:, encoded.num_objects :]
        )
        return logits.view(*states.shape[:2], -1)
