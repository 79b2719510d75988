"""A detector of a few thousand parameters and inputs for it."""

import torch

from rlipv2.layers.backbones import TimmBackbone
from rlipv2.layers.text_encoder import TextEncoder
from rlipv2.models import RelationDetector, RelationTagger
from rlipv2.models.alif_encoder import ALIFEncoder
from rlipv2.models.decoders import EntityDecoder, RelationDecoder
from rlipv2.models.queries import AnchorQueries, GivenPairQueries, LearnedQueries
from rlipv2.structures import LabelSpace, RelationTarget

LABELS = LabelSpace(objects=["person", "dog", "kite"], relations=["hold", "ride", "walk", "no interaction"])

BACKBONE = {
    "name": "resnet18",
    "frozen_batch_norm": False,
    "frozen_parts": [],
    "options": {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]},
}
TEXT = {
    "config": {
        "vocab_size": 300,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 24,
    },
    "tokenizer": ["person", "dog", "kite"],
}
ENCODER = {
    "dim": 32,
    "text_dim": 32,
    "num_layers": 2,
    "fusion_interval": 1,
    "feedforward_dim": 32,
    "num_levels": 4,
    "num_heads": 2,
    "text_heads": 2,
    "text_feedforward_dim": 32,
    "fusion_dim": 32,
    "fusion_heads": 2,
}
DECODER = {"dim": 32, "num_layers": 2, "feedforward_dim": 32, "num_levels": 4, "num_heads": 2}

# The same detector as a configuration.
CONFIG = {
    "_target_": "rlipv2.models.RelationDetector",
    "backbone": {"_target_": "rlipv2.layers.backbones.TimmBackbone", **BACKBONE},
    "text_encoder": {"_target_": "rlipv2.layers.text_encoder.TextEncoder", **TEXT},
    "encoder": {"_target_": "rlipv2.models.alif_encoder.ALIFEncoder", **ENCODER},
    "queries": {"_target_": "rlipv2.models.queries.AnchorQueries", "num_pairs": 5, "dim": 32},
    "entity_decoder": {"_target_": "rlipv2.models.decoders.EntityDecoder", **DECODER},
    "relation_decoder": {"_target_": "rlipv2.models.decoders.RelationDecoder", "branches": 4, **DECODER},
}


def detector(*, encoder: dict | None = None, relation_decoder: dict | None = None, **changes) -> RelationDetector:
    """The tiny detector; arguments change its parts."""
    parts = {
        "backbone": TimmBackbone(**BACKBONE),
        "text_encoder": TextEncoder(**TEXT),
        "encoder": ALIFEncoder(**(ENCODER | (encoder or {}))),
        "queries": AnchorQueries(5, 32),
        "entity_decoder": EntityDecoder(**DECODER),
        "relation_decoder": RelationDecoder(branches=4, **(DECODER | (relation_decoder or {}))),
    }
    return RelationDetector(**(parts | changes))


def parsed(*, relation_position: bool = True, query: str = "vanilla_mbf", **changes) -> RelationDetector:
    """The tiny detector with learned positions."""
    return detector(
        **{
            "queries": LearnedQueries(5, 32, relation_position=relation_position),
            "entity_decoder": EntityDecoder(positions="learned", **DECODER),
            "relation_decoder": {"positions": "learned", "query": query},
            **changes,
        }
    )


def tagger(**options) -> RelationTagger:
    """The tiny tagger, for up to 5 pairs; options go to its queries."""
    parts = parsed()
    return RelationTagger(
        queries=GivenPairQueries(5, 32, **options),
        backbone=parts.backbone,
        text_encoder=parts.text_encoder,
        encoder=parts.encoder,
        entity_decoder=parts.entity_decoder,
        relation_decoder=parts.relation_decoder,
    )


def images(batch: int = 2, height: int = 64, width: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """Random pixels, the last image with padding at the right and bottom."""
    pixels = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
    mask = torch.zeros(batch, height, width, dtype=torch.bool)
    mask[-1, 48:], mask[-1, :, 64:] = True, True
    return pixels.masked_fill(mask[:, None], 0), mask


def target(pairs: int) -> RelationTarget:
    """Random pairs."""
    boxes = torch.rand(2, pairs, 4) * 0.4 + 0.3
    return RelationTarget(
        subject_boxes=boxes[0],
        object_boxes=boxes[1],
        subject_labels=torch.zeros(pairs, dtype=torch.long),
        object_labels=torch.randint(3, (pairs,)),
        relations=(torch.rand(pairs, 4) > 0.5).float(),
    )
