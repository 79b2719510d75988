"""Numbers of parameters of the published variants, from their configurations, on the meta device."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlipv2.checkpoints import build_detector
from rlipv2.checkpoints.folder import without_downloads

CONF = Path(__file__).parents[2] / "conf"
PARSEDA, PARSED, TAGGER = "rlipv2_parseda", "rlipv2_parsed", "rlipv2_tagger"
LATE = [
    "fusion=late",
    "model.detector.relation_decoder.query=vanilla",
    "++model.detector.queries.relation_position=false",
]

# Counted on the official models with 200 queries: model, backbone, parameters, those of them with requires_grad.
# The official box heads of the relation decoder count as trainable but never get a gradient; here they are fixed.
PUBLISHED = {
    "parseda-resnet50": (PARSEDA, "resnet50", 213_700_624, 213_478_224),
    "parseda-swin_tiny": (PARSEDA, "swin_tiny", 214_243_658, 214_194_416),
    "parseda-swin_large": (PARSEDA, "swin_large", 383_834_468, 383_650_448),
    "parsed-resnet50": (PARSED, "resnet50", 206_816_500, 206_594_100),
    "parsed-swin_tiny": (PARSED, "swin_tiny", 213_663_278, 213_614_036),
    "parsed-swin_large": (PARSED, "swin_large", 383_254_088, 383_070_068),
    "tagger-resnet50": (TAGGER, "resnet50", 206_642_164, 206_419_764),
    "tagger-swin_tiny": (TAGGER, "swin_tiny", 213_715_758, 213_666_516),
    "tagger-swin_large": (TAGGER, "swin_large", 383_306_568, 383_122_548),
}
UNUSED_TABLE = 200 * 768  # of a tagger: its learned queries, which nothing reads and which are not built here


def built(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=["num_pairs=100", *overrides])
    tree = without_downloads(OmegaConf.to_container(config.model.detector, resolve=True))
    with torch.device("meta"):
        return build_detector(tree)


def counts(detector):
    total = sum(value.numel() for value in detector.parameters())
    heads = (detector.relation_decoder.subject_box_heads, detector.relation_decoder.object_box_heads)
    never_trained = sum(value.numel() for head in heads for value in head.parameters())
    assert not any(value.requires_grad for head in heads for value in head.parameters())
    return total, sum(value.numel() for value in detector.parameters() if value.requires_grad) + never_trained


@pytest.mark.parametrize("variant", PUBLISHED)
def test_parameters_are_as_many_as_in_the_official_model(variant):
    model, backbone, total, trainable = PUBLISHED[variant]
    unused = UNUSED_TABLE if model == TAGGER else 0
    assert counts(built(f"model={model}", f"backbone={backbone}")) == (total - unused, trainable - unused)


def test_the_late_fusion_baseline_has_as_many_as_rlip_parsed():
    assert counts(built(f"model={PARSED}", *LATE)) == (171_154_420, 170_932_020)
