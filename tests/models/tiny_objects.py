"""An object detector of a few thousand parameters."""

from rlipv2.checkpoints import build_network
from rlipv2.models.object_detector import ObjectDetector
from rlipv2.structures import LabelSpace
from tests.models.tiny import BACKBONE, DECODER

CLASSES = LabelSpace(objects=["person", "dog", "kite"], relations=[])
ENCODER = {"dim": 32, "num_layers": 2, "feedforward_dim": 32, "num_levels": 4, "num_heads": 2}
QUERIES = {"anchor": "ObjectAnchorQueries", "learned": "ObjectLearnedQueries"}


def config(positions: str = "anchor", *, num_layers: int = 4, num_queries: int = 12) -> dict:
    """The constructor tree; with 4 decoder layers it fits the tiny relation detector, which has 2 + 2."""
    return {
        "_target_": "rlipv2.models.object_detector.ObjectDetector",
        "num_classes": 3,
        "backbone": {"_target_": "rlipv2.layers.backbones.TimmBackbone", **BACKBONE},
        "encoder": {"_target_": "rlipv2.models.object_detector.ImageEncoder", **ENCODER},
        "queries": {
            "_target_": f"rlipv2.models.object_decoder.{QUERIES[positions]}",
            "num_queries": num_queries,
            "dim": 32,
        },
        "decoder": {
            "_target_": "rlipv2.models.object_decoder.ObjectDecoder",
            "positions": positions,
            **(DECODER | {"num_layers": num_layers}),
        },
    }


def object_detector(positions: str = "anchor", **options: int) -> ObjectDetector:
    """The detector with fresh weights and named classes."""
    network = build_network(config(positions, **options))
    assert isinstance(network, ObjectDetector)
    network.label_space = CLASSES
    return network
