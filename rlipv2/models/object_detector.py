"""`ObjectDetector`: images -> boxes with class logits; the detection pre-training that RLIPv2 starts from.

Deformable DETR (ICLR 2021) with iterative box refinement, with anchor boxes as queries (DAB-DETR, ICLR 2022; for
RLIPv2-ParSeDA) or learned ones (for RLIPv2-ParSeD). Not part of the official RLIPv2 repository, which converts
weights of these two projects; the parts and their names are those of `RelationDetector`.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rlipv2.layers.backbones import TimmBackbone
from rlipv2.layers.deformable import DeformableEncoderLayer
from rlipv2.layers.swin import SwinBackbone
from rlipv2.models.dense import DenseHeads
from rlipv2.models.heads import PRIOR_LOGIT
from rlipv2.models.object_decoder import ObjectAnchorQueries, ObjectDecoder, ObjectLearnedQueries
from rlipv2.models.pretrained import Pretrained
from rlipv2.models.pyramid import FeaturePyramid, PyramidProjection
from rlipv2.ops.boxes import cxcywh_to_xyxy
from rlipv2.ops.padding import normalize_images
from rlipv2.structures import BoxPredictions, DenseOutput, DetectionOutput, LabelSpace


class ImageEncoder(nn.Module):
    """Deformable encoder without texts: the image layers of `ALIFEncoder` alone, under the same names.

    Args:
        dim: width of the tokens.
        num_layers: layers.
        checkpoint_activations: in training, compute the layers again in the backward pass: less memory for a
            third more time, the same gradients.
        options: of `DeformableEncoderLayer`.
    """

    def __init__(
        self, *, dim: int = 256, num_layers: int = 6, checkpoint_activations: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self.dim, self.checkpoint_activations = dim, checkpoint_activations
        self.image_layers = nn.ModuleList(DeformableEncoderLayer(dim, **options) for _ in range(num_layers))

    def forward(self, pyramid: FeaturePyramid) -> Float[Tensor, "b s d"]:
        """Image memory."""
        tokens = pyramid.tokens
        reference = pyramid.centers()[:, :, None] * pyramid.valid_ratios[:, None]
        for layer in self.image_layers:
            run = partial(layer, shapes=pyramid.shapes, padding_mask=pyramid.padding_mask)
            if self.training and self.checkpoint_activations:
                tokens = checkpoint(run, tokens, pyramid.positions, reference, use_reentrant=False)
            else:
                tokens = run(tokens, pyramid.positions, reference)
        return tokens


class ObjectDetector(nn.Module, Pretrained, tags=["object-detection"]):
    """Deformable DETR with iterative box refinement, with anchors (DAB) or without.

    Its classes are the objects of `label_space`, which whoever trains or loads it sets: one column of the class
    heads each.

    Args:
        num_classes: classes, without any background.
        backbone: images to maps of several strides, with `channels` and `position_offset`.
        encoder: of the image tokens.
        queries: what the decoder starts from.
        decoder: states and boxes; its `positions` must be those of the queries.
        num_levels: feature levels.
        dense: auxiliary dense heads, used in training only; their texts are the weights of the last class head.

    Raises:
        ValueError: queries and decoder do not fit together.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: TimmBackbone | SwinBackbone,
        encoder: ImageEncoder,
        queries: ObjectAnchorQueries | ObjectLearnedQueries,
        decoder: ObjectDecoder,
        num_levels: int = 4,
        dense: DenseHeads | None = None,
    ) -> None:
        super().__init__()
        if queries.positions != decoder.positions:
            raise ValueError(
                f"{type(queries).__name__} give {queries.positions} positions, but {type(decoder).__name__} takes "
                f"{decoder.positions} ones; set positions={queries.positions}"
            )
        self.num_classes = num_classes
        self.backbone = backbone
        self.pyramid = PyramidProjection(
            backbone.channels, encoder.dim, num_levels=num_levels, position_offset=backbone.position_offset
        )
        self.encoder = encoder
        self.queries = queries
        self.decoder = decoder
        self.class_heads = nn.ModuleList(_class_head(encoder.dim, num_classes) for _ in decoder.layers)
        self.dense = dense

    def forward(
        self,
        images: UInt8[Tensor, "b 3 h w"] | Float[Tensor, "b 3 h w"],
        padding_mask: Bool[Tensor, "b h w"],
        label_space: LabelSpace | None = None,
    ) -> DetectionOutput:
        """Predictions of all decoder layers.

        Args:
            images: `uint8` 0-255, or float already normalised; padded with 0 at the right and bottom.
            padding_mask: True on padding.
            label_space: asks for some of the classes, in this order; None for all.

        Raises:
            ValueError: an object that is none of the classes.
        """
        pyramid = self.image_pyramid(images, padding_mask)
        memory = self.encoder(pyramid)
        states, boxes = self.decoder(self.queries(len(images)), memory, pyramid)
        logits = torch.stack([head(state) for head, state in zip(self.class_heads, states, strict=True)])
        if label_space is not None and label_space != self.label_space:
            logits = logits[..., self.columns(label_space)]
        dense: tuple[DenseOutput, ...] = ()
        if self.training and self.dense is not None:
            words = self._class_weights(label_space)
            heads = ((self.dense.on_backbone, pyramid.tokens), (self.dense.on_memory, memory))
            dense = tuple(head(tokens, pyramid, words) for head, tokens in heads)
        return DetectionOutput(logits=logits, boxes=boxes, dense=dense)

    def image_pyramid(self, images: Tensor, padding_mask: Bool[Tensor, "b h w"]) -> FeaturePyramid:
        """Image tokens before the encoder."""
        if images.dtype == torch.uint8:
            images = normalize_images(images, padding_mask)
        return self.pyramid(self.backbone(images), padding_mask)

    def forward_dense(
        self, images: Tensor, padding_mask: Bool[Tensor, "b h w"], label_space: LabelSpace | None = None
    ) -> tuple[DenseOutput, ...]:
        """Object predictions of the backbone alone, without encoder and decoder (its pre-training).

        Raises:
            ValueError: the detector was built without `dense`.
        """
        if self.dense is None:
            raise ValueError("this detector has no dense heads; build it with dense=DenseHeads(...)")
        pyramid = self.image_pyramid(images, padding_mask)
        return (self.dense.on_backbone(pyramid.tokens, pyramid, self._class_weights(label_space)),)

    def _class_weights(self, label_space: LabelSpace | None) -> Float[Tensor, "o d"]:
        head = self.class_heads[-1]
        assert isinstance(head, nn.Linear)
        if label_space is None or label_space == self.label_space:
            return head.weight
        return head.weight[self.columns(label_space)]

    def columns(self, label_space: LabelSpace) -> list[int]:
        """The column of the class heads for each object of a label space.

        Raises:
            ValueError: an object that is none of the classes, or classes without names.
        """
        known = () if self.label_space is None else self.label_space.objects
        if len(known) != self.num_classes:
            raise ValueError(
                f"the detector has num_classes={self.num_classes}, but its label space names {len(known)} classes; set "
                "detector.label_space to the classes it is trained for, and num_classes to their number"
            )
        rows = {name: row for row, name in enumerate(known)}
        missing = [name for name in label_space.objects if name not in rows]
        if missing:
            raise ValueError(f"{missing[:5]} are none of the {self.num_classes} classes of the detector")
        return [rows[name] for name in label_space.objects]


def detect(output: DetectionOutput, original_sizes: Int[Tensor, "b 2"], *, top_k: int = 100) -> list[BoxPredictions]:
    """The best (query, class) entries of the last layer by sigmoid score, boxes in original pixels, not clipped.

    As in Deformable DETR; a query may give several classes. (`PostProcess` of the official models/detr.py takes one
    class per query by softmax, which detectors trained with a sigmoid focal loss are not scored with.)

    Args:
        output: predictions of a batch.
        original_sizes: (height, width) of the stored images in pixels.
        top_k: entries kept per image.
    """
    scores, boxes = output.logits[-1].sigmoid(), cxcywh_to_xyxy(output.boxes[-1])
    num_classes = scores.shape[-1]
    best, entries = scores.flatten(1).topk(min(top_k, scores[0].numel()), dim=1)
    height, width = original_sizes.to(boxes).unbind(-1)
    boxes = boxes * torch.stack([width, height, width, height], dim=-1)[:, None]
    return [
        BoxPredictions(boxes_xyxy=boxes[image, rows // num_classes], labels=rows % num_classes, scores=best[image])
        for image, rows in enumerate(entries)
    ]


def _class_head(dim: int, num_classes: int) -> nn.Linear:
    head = nn.Linear(dim, num_classes)
    nn.init.constant_(head.bias, PRIOR_LOGIT)
    return head
