"""Networks as the configuration composes them, in the sizes of `backbone=tiny`: built, trained for a step, stored."""

import pytest
import torch
from omegaconf import OmegaConf

from rlipv2.checkpoints import build_detector
from rlipv2.models import RelationDetector, RelationTagger
from tests import test_config
from tests.models import tiny


def configured(model, *overrides):
    data = ["data=vg_tagger", "regime=tagger"] if model == "rlipv2_tagger" else ["data=hico"]
    config = test_config.composed(f"model={model}", "backbone=tiny", "num_pairs=6", *data, *overrides)
    return build_detector(OmegaConf.to_container(config.model.detector, resolve=True))


@pytest.mark.parametrize("model", ["rlipv2_parseda", "rlipv2_parsed", "rlipv2_tagger"])
@pytest.mark.parametrize(
    "overrides",
    [
        ("fusion=alif", "fusion.gating=sdfoxacln"),
        ("fusion=alif", "fusion.gating=mbf", "model.detector.relation_decoder.query=mbf"),
        ("fusion=late", "model.detector.relation_decoder.query=vanilla"),
        ("fusion=none",),
    ],
    ids=lambda overrides: overrides[-1],
)
def test_combinations_train_and_are_stored(model, overrides, tmp_path):
    network = configured(model, *overrides)
    inputs, targets = tiny.images(), [tiny.target(3), tiny.target(0)]
    output = network.train()(*inputs, tiny.LABELS, targets)
    fields = ("object_logits", "subject_logits", "relation_logits", "subject_boxes", "object_boxes")
    sum(getattr(output, field).square().sum() for field in fields).backward()
    without = {name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None}
    # in every checkpoint, but not used by these gates and by queries without learned contents
    assert {name.split(".")[-1] for name in without} <= {"vector", "relation_content"}
    for stage in network.encoder.fusion_layers:
        assert f"fusion.gating={stage.image_gate.gating}" in overrides
    network.eval().save_pretrained(tmp_path)
    again = type(network).from_pretrained(tmp_path)
    with torch.no_grad():
        first, second = (part(*inputs, tiny.LABELS, targets) for part in (network, again))
    assert all(torch.equal(getattr(first, field), getattr(second, field)) for field in fields)


@pytest.mark.parametrize("model", ["rlipv2_parsed", "rlipv2_tagger"])
@pytest.mark.parametrize(("query", "learned"), [("vanilla", False), ("mbf", True), ("vanilla_mbf", True)])
def test_relation_positions_follow_the_start_of_the_relation_queries(model, query, learned):
    config = test_config.composed(f"model={model}", f"model.detector.relation_decoder.query={query}")
    assert config.model.detector.queries.relation_position is learned


def test_a_gating_on_the_command_line_reaches_every_model():
    for model in ("rlipv2_parseda", "rlipv2_parsed", "rlipv2_tagger"):
        assert test_config.composed(f"model={model}", "fusion.gating=etanh").model.detector.encoder.gating == "etanh"
    published = {
        (model, backbone): test_config.composed(f"model={model}", f"backbone={backbone}").model.detector.encoder.gating
        for model in ("rlipv2_parsed", "rlipv2_tagger")
        for backbone in ("resnet50", "swin_tiny")
    }
    assert {key for key, gating in published.items() if gating == "glip"} == {("rlipv2_tagger", "resnet50")}


def test_a_detector_is_not_read_as_a_tagger(tmp_path):
    configured("rlipv2_parsed", "fusion=none").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a RelationDetector, not a RelationTagger"):
        RelationTagger.from_pretrained(tmp_path)
    assert type(RelationDetector.from_pretrained(tmp_path)) is RelationDetector
