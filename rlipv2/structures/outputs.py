"""What networks give: text features, and the predictions of all decoder layers before any scoring."""

import dataclasses
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from rlipv2.structures.mapping import map_tensors


@dataclass(frozen=True)
class TextFeatures:
    """The encoded texts of a label space: objects, background, relations.

    Attributes:
        pooled: pooled output of the text encoder, before any fusion with an image.
        padding_mask: True on texts that the language layers must not attend to; None: on none.
        num_objects: number of object texts including the background text.
    """

    pooled: Float[Tensor, "t c"]
    padding_mask: Bool[Tensor, " t"] | None
    num_objects: int

    @property
    def num_relations(self) -> int:
        """Number of relation texts."""
        return len(self.pooled) - self.num_objects

    def detach(self) -> "TextFeatures":
        """The same features without their graph, for caches."""
        return dataclasses.replace(self, pooled=self.pooled.detach())


@dataclass(frozen=True)
class RelationOutput:
    """Predictions of all decoder layers, the last layer last.

    Logits are before softmax (subject, object: the last column is the background text) and sigmoid
    (relation). Boxes are cx cy w h, 0-1 relative to the image without padding.

    Attributes:
        relation_text: pooled features of the relation texts, read by the pseudo-relation loss.
        denoising: predictions for the noisy copies of the targets, where query denoising is on;
            row k of image b belongs to target k % len(targets[b]) (training only, not in the paper).
        dense: predictions of the auxiliary dense heads, where they are on (not in the paper).
    """

    object_logits: Float[Tensor, "l b q o"]
    relation_logits: Float[Tensor, "l b q r"]
    subject_boxes: Float[Tensor, "l b q 4"]
    object_boxes: Float[Tensor, "l b q 4"]
    subject_logits: Float[Tensor, "l b q o"] | None = None
    relation_text: Float[Tensor, "r c"] | None = None
    denoising: "RelationOutput | None" = None
    dense: "tuple[DenseOutput, ...]" = ()

    def layer(self, index: int) -> "RelationOutput":
        """One decoder layer, with a leading axis of 1."""
        index = range(len(self.object_logits))[index]
        return map_tensors(self, lambda name, tensor: tensor if name == "relation_text" else tensor[index : index + 1])

    def pairs(self, rows: slice) -> "RelationOutput":
        """Some of the pairs."""
        return map_tensors(self, lambda name, tensor: tensor if name == "relation_text" else tensor[:, :, rows])

    def with_extras(
        self, *, denoising: "RelationOutput | None" = None, dense: "tuple[DenseOutput, ...]" = ()
    ) -> "RelationOutput":
        """The same predictions with those of the auxiliary training parts."""
        return dataclasses.replace(self, denoising=denoising, dense=dense)


@dataclass(frozen=True)
class DenseOutput:
    """Per-token object predictions of an auxiliary head (query-free, training only, not in the paper).

    Attributes:
        logits: before sigmoid, one column per object text without the background.
        boxes: cx cy w h, 0-1 relative to the image without padding.
        centers: token centres x y, 0-1 in the same frame, per image.
        strides: 0-1 size (w, h) of each token's cell in the same frame, per image.
        padding_mask: True on tokens of padding.
        levels: pyramid level of each token.
    """

    logits: Float[Tensor, "b s o"]
    boxes: Float[Tensor, "b s 4"]
    centers: Float[Tensor, "b s 2"]
    strides: Float[Tensor, "b s 2"]
    padding_mask: Bool[Tensor, "b s"]
    levels: Int[Tensor, " s"]


@dataclass(frozen=True)
class DetectionOutput:
    """Object predictions of all decoder layers, the last layer last.

    Attributes:
        logits: before sigmoid, one column per object of the label space, no background.
        boxes: cx cy w h, 0-1 relative to the image without padding.
        dense: of the auxiliary dense heads, in training only and where the model has them.
    """

    logits: Float[Tensor, "l b q o"]
    boxes: Float[Tensor, "l b q 4"]
    dense: tuple[DenseOutput, ...] = ()
