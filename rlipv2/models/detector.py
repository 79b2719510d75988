"""`RelationDetector`: images and label texts -> pairs of boxes with object and relation logits."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from rlipv2.layers.backbones import TimmBackbone
from rlipv2.layers.swin import SwinBackbone
from rlipv2.layers.text_encoder import TextEncoder
from rlipv2.models.alif_encoder import ALIFEncoder
from rlipv2.models.decoders import EntityDecoder, RelationDecoder
from rlipv2.models.denoising import DenoisingBatch, DenoisingQueries, join_queries
from rlipv2.models.dense import DenseHeads
from rlipv2.models.heads import TextMatchingHead
from rlipv2.models.late_fusion import LateFusion
from rlipv2.models.pretrained import Pretrained
from rlipv2.models.pyramid import FeaturePyramid, PyramidProjection
from rlipv2.models.queries import AnchorQueries, GivenPairQueries, LearnedQueries
from rlipv2.ops.padding import normalize_images
from rlipv2.structures import DenseOutput, LabelSpace, RelationOutput, RelationTarget, TextFeatures


class RelationDetector(nn.Module, Pretrained, tags=["relation-detection"]):
    """RLIPv2-ParSeDA or -ParSeD, as the queries and decoders say, composed from built parts; any label words.

    RLIPv2 (ICCV 2023), section 3. Official: models/hoi.py, RLIP_ParSeDA and RLIP_ParSeD.

    Args:
        backbone: images to maps of several strides, with `channels` and `position_offset`.
        text_encoder: label texts to pooled features.
        encoder: image tokens and texts, fused.
        queries: what the decoders start from.
        entity_decoder: subjects and objects with boxes.
        relation_decoder: relations of the pairs.
        num_levels: feature levels.
        subject_class: also predict the class of subjects.
        text_padding_mask: `official` hides, in training only, the labels whose pooled features sum to
            0 or less from the language layers (meant to find padding; docs/parity.md, Q4); `none` hides none.
        text_per_layer: decoder layer k is classified with the texts of fusion stage k (official
            `lang_aux_loss`, on in all recipes); false: all layers with the texts of the last stage. With more
            stages than layers only the first, third, ... stage counts (official: `fusion_interval` 1).
        text_scale: see `TextMatchingHead`.
        late_fusion: fusion of decoded queries with the texts (RLIPv1), or null (published RLIPv2).
        denoising: extra queries in training, or null (published).
        dense: auxiliary heads on image tokens in training, or null (published).

    Attributes:
        config: the constructor tree as plain values, which `save_pretrained` writes; set by whoever
            builds the detector from a configuration.
        label_space: the words it was trained for, saved along; any other can be asked for.
    """

    def __init__(
        self,
        *,
        backbone: TimmBackbone | SwinBackbone,
        text_encoder: TextEncoder,
        encoder: ALIFEncoder,
        queries: AnchorQueries | LearnedQueries | GivenPairQueries,
        entity_decoder: EntityDecoder,
        relation_decoder: RelationDecoder,
        num_levels: int = 4,
        subject_class: bool = True,
        text_padding_mask: Literal["official", "none"] = "official",
        text_per_layer: bool = True,
        text_scale: float = 0.5,
        late_fusion: LateFusion | None = None,
        denoising: DenoisingQueries | None = None,
        dense: DenseHeads | None = None,
    ) -> None:
        super().__init__()
        if encoder.text_dim != text_encoder.dim:
            raise ValueError(f"encoder.text_dim={encoder.text_dim}, but the text encoder gives {text_encoder.dim}")
        if text_per_layer and encoder.num_fusions % len(entity_decoder.layers):
            raise ValueError(
                f"{encoder.num_fusions} fusion stages but {len(entity_decoder.layers)} decoder layers: with "
                "text_per_layer layer k is classified with the texts of stage k, so both numbers must agree (or the "
                "first be a multiple of the second, of which every second, third, ... stage is taken)"
            )
        if len(entity_decoder.layers) != len(relation_decoder.layers):
            raise ValueError(
                f"{len(entity_decoder.layers)} entity but {len(relation_decoder.layers)} relation decoder layers: "
                "losses are taken layer by layer, so both numbers must agree"
            )
        for decoder in (entity_decoder, relation_decoder):
            if decoder.positions != queries.positions:
                raise ValueError(
                    f"{type(queries).__name__} give {queries.positions} positions, but {type(decoder).__name__} takes "
                    f"{decoder.positions} ones; set positions={queries.positions}"
                )
        if denoising is not None and queries.positions != "anchor":
            raise ValueError(f"query denoising needs anchors, but {type(queries).__name__} give learned positions")
        if late_fusion is not None and late_fusion.num_layers != len(entity_decoder.layers):
            raise ValueError(
                f"{late_fusion.num_layers} late fusion layers but {len(entity_decoder.layers)} decoder layers: the "
                "heads of layer k read fusion layer k, so both numbers must agree"
            )
        if text_padding_mask not in ("official", "none"):
            raise ValueError(f"text_padding_mask={text_padding_mask!r}: expected official or none")
        self.backbone = backbone
        self.pyramid = PyramidProjection(
            backbone.channels, encoder.dim, num_levels=num_levels, position_offset=backbone.position_offset
        )
        self.text_encoder = text_encoder
        self.encoder = encoder
        self.queries = queries
        self.entity_decoder = entity_decoder
        self.relation_decoder = relation_decoder
        self.head = TextMatchingHead(encoder.dim, subject_class=subject_class, text_scale=text_scale)
        self.late_fusion = late_fusion
        self.denoising, self.dense = denoising, dense
        self.text_padding_mask, self.text_per_layer = text_padding_mask, text_per_layer
        self._text_cache: dict[LabelSpace, tuple[tuple[int, ...], TextFeatures]] = {}

    @property
    def num_pairs(self) -> int:
        """Pairs predicted per image."""
        return self.queries.num_pairs

    def encode_texts(self, label_space: LabelSpace) -> TextFeatures:
        """Features of a label space; in evaluation without gradients they are computed once and kept.

        Kept features are dropped in training mode and when weights of the text encoder move or change.
        """
        num_objects = len(label_space.objects) + 1
        if self.training:
            self._text_cache = {}  # Lightning restores the mode without calling `train`
        if self.training or torch.is_grad_enabled():
            return self.text_features(self.text_encoder.encode(label_space.texts), num_objects)
        state = tuple(
            value for weight in self.text_encoder.parameters() for value in (weight.data_ptr(), weight._version)
        )
        cached = self._text_cache.get(label_space)
        if cached is None or cached[0] != state:
            cached = (state, self.text_features(self.text_encoder.encode(label_space.texts), num_objects))
            self._text_cache = {label_space: cached}
        return cached[1]

    def train(self, mode: bool = True) -> "RelationDetector":
        """Switches the mode; training forgets kept text features, as fused optimisers change weights unnoticed."""
        if mode:
            self._text_cache = {}
        return super().train(mode)

    def text_features(
        self, pooled: Float[Tensor, "t c"], num_objects: int, *, training: bool | None = None
    ) -> TextFeatures:
        """Wraps pooled features (objects, background, relations); `num_objects` includes the background.

        `training` decides whether the official mask of the training path is made; by default the mode does.
        """
        padding = torch.zeros(len(pooled), dtype=torch.bool, device=pooled.device)
        if (self.training if training is None else training) and self.text_padding_mask == "official":
            padding = pooled.sum(-1) <= 0
        return TextFeatures(pooled=pooled, padding_mask=padding, num_objects=num_objects)

    def forward(
        self,
        images: UInt8[Tensor, "b 3 h w"] | Float[Tensor, "b 3 h w"],
        padding_mask: Bool[Tensor, "b h w"],
        label_space: LabelSpace | TextFeatures,
        targets: list[RelationTarget] | None = None,
    ) -> RelationOutput:
        """Predictions of all decoder layers.

        Args:
            images: `uint8` 0-255, or float already normalised; padded with 0 at the right and bottom.
            padding_mask: True on padding.
            label_space: words, or their features.
            targets: read by query denoising in training only, and by queries for given pairs always.
        """
        texts = self.encode_texts(label_space) if isinstance(label_space, LabelSpace) else label_space
        pyramid = self.image_pyramid(images, padding_mask)
        memory, fused_texts = self.encoder(pyramid, texts.pooled, texts.padding_mask)
        if self.text_per_layer:
            fused_texts = fused_texts[self._text_stages(len(fused_texts))]
        queries = self.queries(fused_texts[-1], texts.num_objects, targets)
        extra: DenoisingBatch | None = None
        if self.training and self.denoising is not None and targets is not None:
            extra = self.denoising(targets, fused_texts[-1], texts.num_objects)
            queries = join_queries(queries, extra)
        entities = self.entity_decoder(queries, memory, pyramid)
        relations = self.relation_decoder(queries, entities, memory, pyramid)
        if self.late_fusion is not None:
            entities, relations, fused_texts = self.late_fusion(
                entities, relations, fused_texts[-1], texts, self.entity_decoder, queries
            )
        subject_logits, object_logits, relation_logits = self.head(
            entities.subjects,
            entities.objects,
            relations,
            fused_texts if self.text_per_layer or self.late_fusion is not None else fused_texts[-1:],
            texts.num_objects,
        )
        output = RelationOutput(
            object_logits=object_logits,
            relation_logits=relation_logits,
            subject_boxes=entities.subject_boxes,
            object_boxes=entities.object_boxes,
            subject_logits=subject_logits,
            relation_text=texts.pooled[texts.num_objects :],
        )
        return self._with_training_parts(output, extra, pyramid, memory, texts, fused_texts)

    def _text_stages(self, num_stages: int) -> slice:
        """The fusion stages whose texts the decoder layers are classified with."""
        return slice(None, None, max(1, num_stages // len(self.entity_decoder.layers)))

    def image_pyramid(self, images: Tensor, padding_mask: Bool[Tensor, "b h w"]) -> FeaturePyramid:
        """Image tokens before the encoder."""
        if images.dtype == torch.uint8:
            images = normalize_images(images, padding_mask)
        return self.pyramid(self.backbone(images), padding_mask)

    def forward_dense(
        self, images: Tensor, padding_mask: Bool[Tensor, "b h w"], label_space: LabelSpace | TextFeatures
    ) -> tuple[DenseOutput, ...]:
        """Object predictions of the backbone alone, without encoder and decoders (its pre-training).

        Raises:
            ValueError: the detector was built without `dense`.
        """
        if self.dense is None:
            raise ValueError("this detector has no dense heads; build it with dense=DenseHeads(...)")
        texts = self.encode_texts(label_space) if isinstance(label_space, LabelSpace) else label_space
        pyramid = self.image_pyramid(images, padding_mask)
        return (self.dense.on_backbone(pyramid.tokens, pyramid, texts.pooled[: texts.num_objects - 1]),)

    def _with_training_parts(
        self,
        output: RelationOutput,
        extra: DenoisingBatch | None,
        pyramid: FeaturePyramid,
        memory: Tensor,
        texts: TextFeatures,
        fused_texts: Tensor,
    ) -> RelationOutput:
        """Splits off the denoising queries and adds the dense predictions."""
        denoising = None
        if extra is not None:
            denoising = output.pairs(slice(self.num_pairs, None))
            output = output.pairs(slice(self.num_pairs))
        dense: tuple[DenseOutput, ...] = ()
        if self.training and self.dense is not None:
            dense = self.dense(pyramid, memory, texts, fused_texts[-1])
        return output.with_extras(denoising=denoising, dense=dense)
