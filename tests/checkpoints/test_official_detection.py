"""Object detectors and backbones as initial weights: from a file of the official layout to a network."""

import json
import logging

import pytest
import torch
from omegaconf import OmegaConf

import train
from rlipv2.checkpoints import load_weights, read_state, save_partial_weights, save_weights
from rlipv2.checkpoints.__main__ import main
from rlipv2.checkpoints.official import convert_backbone, convert_detection, convert_file, family_of
from rlipv2.tasks.initial_weights import initialize
from tests.checkpoints.families import DIM, PAIRS, SWIN, narrow, official_state

ROWS = 12  # queries of the detectors, more than the 2 * PAIRS of the networks
ATTENTION = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")


def detector(kind):
    """The tensors of a narrow detector with 6 + 6 layers; every number is its own."""
    narrow_state = official_state(narrow("parseda"), "parseda")
    shared = ("backbone.", "input_proj.", "transformer.level_embed", "transformer.encoder.layers.")
    state = {key: value for key, value in narrow_state.items() if key.startswith(shared)}
    first = {key: value for key, value in narrow_state.items() if key.startswith("transformer.ho_decoder.layers.0.")}
    for layer in range(6):
        for key, value in first.items():
            state[key.replace("ho_decoder.layers.0", f"decoder.layers.{layer}")] = value.clone()
        for part in range(3):
            for leaf in ("weight", "bias"):
                shape = narrow_state[f"sub_bbox_embed.0.layers.{part}.{leaf}"].shape
                state[f"bbox_embed.{layer}.layers.{part}.{leaf}"] = torch.empty(shape)
        state |= {f"class_embed.{layer}.weight": torch.empty(91, DIM), f"class_embed.{layer}.bias": torch.empty(91)}
    if kind == "dab":
        state |= {"tgt_embed.weight": torch.empty(ROWS, DIM), "refpoint_embed.weight": torch.empty(ROWS, 4)}
        for key, value in narrow_state.items():
            if key.startswith(("transformer.ho_decoder.ref_point_head", "transformer.ho_decoder.query_scale")):
                state[key.replace("ho_decoder", "decoder")] = value
    elif kind == "ddetr":
        state["query_embed.weight"] = torch.empty(ROWS, 2 * DIM)
        state |= {"transformer.reference_points.weight": torch.empty(2, DIM)}
        state |= {"transformer.reference_points.bias": torch.empty(2)}
    else:
        state |= {"query_embed.weight": torch.empty(ROWS, DIM), "transformer.enc_output.weight": torch.empty(DIM, DIM)}
    start = 1
    for key, value in state.items():
        state[key] = torch.arange(start, start + value.numel(), dtype=torch.float32).view(value.shape)
        start += value.numel()
    aliases = {f"transformer.decoder.{key}": value for key, value in state.items() if key.startswith("bbox_embed.")}
    return state | aliases


def officially_converted(state, kind):
    """The same with the entries that the official conversion scripts add."""
    added = {}
    for key, value in state.items():
        if key.startswith("transformer.encoder."):
            added[key.replace(".encoder.", ".ho_encoder.")] = value
        if key.startswith("transformer.decoder.") and "bbox" not in key:
            added |= {key.replace(".decoder.", f".{name}_decoder."): value for name in ("ho", "verb")}
        if key.startswith("bbox_embed."):
            for side in ("sub", "obj"):
                added[f"{side}_{key}"] = value
                added |= {f"transformer.{name}_decoder.{side}_{key}": value for name in ("ho", "verb")}
    if kind == "dab":
        added["verb_tgt_embed.weight"] = state["tgt_embed.weight"]
    else:
        table = state["query_embed.weight"]
        blocks = table.chunk(table.shape[1] // DIM, 1)
        added["query_embed.weight"] = torch.cat([blocks[0], blocks[-1], blocks[-1]], 1)
        for leaf in ("weight", "bias") if kind == "ddetr" else ():
            point = state[f"transformer.reference_points.{leaf}"]
            added |= {f"transformer.reference_points_{side}.{leaf}": point for side in ("sub", "obj")}
    return state | added


def saved(tmp_path, state):
    torch.save({"model": state}, tmp_path / "detector.pth")
    return tmp_path / "detector.pth"


def started(tmp_path, kind, family, *, converted=False, cut="official"):
    """A network before and after it was started from a detector of a kind."""
    source = detector(kind)
    path = saved(tmp_path, officially_converted(source, kind) if converted else source)
    convert_file(path, tmp_path / "weights")
    network = narrow(family)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.neg_()  # no number that the detector has
    before = {name: value.clone() for name, value in network.state_dict().items()}
    initialize(network, tmp_path / "weights", cut_queries=cut)
    return source, before, network.state_dict()


@pytest.mark.parametrize("converted", [False, True])
@pytest.mark.parametrize(("kind", "family"), [("dab", "parseda"), ("ddetr", "parsed"), ("two_stage", "parsed")])
def test_a_detector_starts_both_decoders_as_published(tmp_path, kind, family, converted):
    source, before, after = started(tmp_path, kind, family, converted=converted)
    layer = source["transformer.decoder.layers.2.linear1.weight"]
    for layers in ("entity_decoder", "relation_decoder"):
        assert torch.equal(after[f"{layers}.layers.2.feedforward.linear1.weight"], layer)
        assert torch.equal(
            after[f"{layers}.layers.0.self_attention.in_proj_weight"],
            source["transformer.decoder.layers.0.self_attn.in_proj_weight"],
        )
    for side in ("subject", "object"):
        for index in range(3):
            head = f"{side}_box_heads.{index}.4.bias"
            assert torch.equal(after[f"entity_decoder.{head}"], source[f"bbox_embed.{index}.layers.2.bias"])
            assert torch.equal(after[f"relation_decoder.{head}"], source[f"bbox_embed.{index + 3}.layers.2.bias"])
    assert torch.equal(
        after["encoder.image_layers.5.attention.value_projection.bias"],
        source["transformer.encoder.layers.5.self_attn.value_proj.bias"],
    )
    assert torch.equal(after["pyramid.level_embedding"], source["transformer.level_embed"])
    assert torch.equal(after["backbone.body.hidden_states_norms.stage4.weight"], source["backbone.0.body.norm3.weight"])
    for name in before:
        untouched = ("text_encoder.", "encoder.text_", "encoder.fusion_", "head.", "relation_decoder.pair_fusion.")
        left = name.startswith(untouched) or name == "queries.relation_position"
        left |= kind == "two_stage" and "_reference." in name
        assert torch.equal(before[name], after[name]) == left, name


def test_contents_and_anchors_of_dab_detr_start_both_tables(tmp_path):
    source, _, after = started(tmp_path, "dab", "parseda")
    first = slice(2 * PAIRS)
    assert torch.equal(after["queries.content"], source["tgt_embed.weight"][first])
    assert torch.equal(after["queries.relation_content"], source["tgt_embed.weight"][first])
    assert torch.equal(after["queries.anchors"], source["refpoint_embed.weight"][first])
    assert torch.equal(
        after["relation_decoder.position_scale.2.weight"],
        source["transformer.decoder.query_scale.layers.1.weight"],
    )


def test_queries_of_deformable_detr_are_position_and_content(tmp_path):
    source, _, after = started(tmp_path, "ddetr", "parsed")
    position, content = source["query_embed.weight"][: 2 * PAIRS].chunk(2, 1)
    assert torch.equal(after["queries.position"], position)
    assert torch.equal(after["queries.content"], content)
    assert torch.equal(after["queries.relation_content"], content)
    for side in ("subject", "object"):
        assert torch.equal(after[f"queries.{side}_reference.weight"], source["transformer.reference_points.weight"])


def test_queries_of_a_two_stage_detector_stand_three_times(tmp_path):
    source, _, after = started(tmp_path, "two_stage", "parsed")
    for name in ("position", "content", "relation_content"):
        assert torch.equal(after[f"queries.{name}"], source["query_embed.weight"][: 2 * PAIRS])


def test_halves_of_the_queries_can_be_kept_together(tmp_path):
    source, _, after = started(tmp_path, "dab", "parseda", cut="halves")
    rows = [*range(PAIRS), *range(ROWS // 2, ROWS // 2 + PAIRS)]
    assert torch.equal(after["queries.anchors"], source["refpoint_embed.weight"][rows])


def test_a_tagger_takes_everything_but_the_queries(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        source, before, after = started(tmp_path, "ddetr", "tagger")
    assert torch.equal(before["queries.relation_content"], after["queries.relation_content"])
    assert torch.equal(after["queries.object_reference.weight"], source["transformer.reference_points.weight"])
    assert "this network has given pairs: queries.relation_content" in caplog.text


def test_what_was_and_was_not_loaded_is_said(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        started(tmp_path, "dab", "parseda")
    assert "from detector.pth, DAB-Deformable-DETR" in caplog.text
    assert "queries.content: 12 rows cut to 8 (official)" in caplog.text
    assert "loaded: entity_decoder.layers (66 tensors)" in caplog.text
    assert "not in the file, left as built: encoder.text_layers (48 tensors)" in caplog.text
    assert "not in the file, left as built: text_encoder.model" in caplog.text


def test_the_report_names_what_is_not_used():
    _, report, kind = convert_detection(detector("dab"))
    assert kind == "DAB-Deformable-DETR"
    assert {"class_embed.0.weight", "transformer.decoder.layers.3.norm1.bias"} <= set(report.unused)
    assert not {"bbox_embed.5.layers.0.bias", "tgt_embed.weight"} & set(report.unused)
    assert "class_embed.5 (2)" in str(report)


def test_weights_of_another_backbone_are_refused(tmp_path):
    convert_file(saved(tmp_path, detector("dab")), tmp_path / "weights")
    with pytest.raises(ValueError, match=r"hidden_states_norms.stage2.bias: not in the model"):
        initialize(narrow("parseda", "resnet50"), tmp_path / "weights", cut_queries="official")


def test_a_partial_folder_is_no_detector_and_says_so(tmp_path):
    convert_file(saved(tmp_path, detector("dab")), tmp_path / "weights")
    note = json.loads((tmp_path / "weights" / "partial.json").read_text())
    assert note["parts"] == ["backbone", "encoder", "entity_decoder", "pyramid", "queries", "relation_decoder"]
    assert note["tensors"] == len(read_state(tmp_path / "weights"))
    with pytest.raises(ValueError, match=r"holds initial weights of backbone, .* only.*model\.init="):
        load_weights(tmp_path / "weights")


def test_a_whole_folder_is_not_overwritten_by_a_part(tmp_path, capsys):
    save_weights(narrow("parseda"), tmp_path / "weights")
    assert main(["convert", str(saved(tmp_path, detector("dab"))), str(tmp_path / "weights")]) == 2
    assert "holds a whole detector" in capsys.readouterr().err


def swin_classifier():
    state = official_state(narrow("parseda"), "parseda")
    body = {key.removeprefix("backbone.0.body."): value for key, value in state.items() if "backbone" in key}
    body = {key: value for key, value in body.items() if not key.startswith(("norm1", "norm2", "norm3"))}
    width = 8 * SWIN["embed_dim"]
    body |= {"norm.weight": torch.ones(width), "head.weight": torch.ones(10, width)}
    return body | {"layers.0.blocks.1.attn_mask": torch.ones(4, 49, 49)}


def test_a_swin_classifier_starts_the_backbone_only(tmp_path, capsys):
    path = saved(tmp_path, swin_classifier())
    assert main(["convert", str(path), str(tmp_path / "weights")]) == 0
    assert "unused: head.weight" in capsys.readouterr().out
    network = narrow("parsed")
    expected = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        network.backbone.body.swin.embeddings.patch_embeddings.projection.weight.zero_()
    initialize(network, tmp_path / "weights", cut_queries="official")
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"conv1.weight": torch.ones(1)}, r"of no known family.*found e.g. conv1.weight"),
        ({}, "expected a dictionary"),
    ],
)
def test_other_files_are_refused(tmp_path, state, message):
    with pytest.raises(ValueError, match=message):
        convert_file(saved(tmp_path, state), tmp_path / "weights")


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("refpoint_embed.weight", "neither anchors .* nor queries"),
        ("tgt_embed.weight", "tgt_embed.weight is missing"),
        ("bbox_embed.5.layers.0.weight", "a box head for each of 6 decoder layers"),
        ("transformer.level_embed", "several feature levels"),
    ],
)
def test_incomplete_detectors_are_refused(gone, message):
    state = detector("dab")
    del state[gone]
    with pytest.raises(ValueError, match=message):
        convert_detection(state)


def test_detection_weights_are_no_backbone_and_no_whole_model(tmp_path, capsys):
    path, out = saved(tmp_path, detector("dab")), str(tmp_path / "weights")
    assert main(["convert", str(path), out, "--family", "relation"]) == 2
    assert main(["convert", str(path), out, "--family", "backbone"]) == 2
    assert main(["convert", str(path), out, "--label-space", "hico"]) == 2
    errors = capsys.readouterr().err
    assert "found detection weights" in errors
    assert "not the weights of a Swin" in errors
    assert "initial weights have no label space" in errors


def test_mmdetection_files_are_told_apart(tmp_path):
    torch.save({"state_dict": detector("dab"), "meta": {}}, tmp_path / "mm.pth")
    with pytest.raises(ValueError, match="as mmdetection writes it"):
        convert_file(tmp_path / "mm.pth", tmp_path / "weights")


def test_families_are_told_apart_by_their_tensors():
    assert family_of(official_state(narrow("tagger"), "tagger")) == "relation"
    assert family_of(officially_converted(detector("dab"), "dab")) == "detection"
    assert family_of(swin_classifier()) == "backbone"
    assert convert_backbone(swin_classifier())[2] == "Swin classifier"


def test_parts_that_a_partial_folder_lacks_still_fetch_their_weights(tmp_path):
    save_partial_weights({"backbone.body.x": torch.ones(1)}, tmp_path, source="a.pth", kind="Swin classifier")
    tree = OmegaConf.create(
        {
            "backbone": {"_target_": "rlipv2.layers.swin.SwinBackbone", "pretrained": "some/swin"},
            "text_encoder": {"_target_": "rlipv2.layers.text_encoder.TextEncoder", "pretrained": "roberta-base"},
        }
    )
    started = train.initialized_from(str(tmp_path), tree)
    assert (started["backbone"]["pretrained"], started["text_encoder"]["pretrained"]) == (None, "roberta-base")
    resumed = train.initialized_from(str(tmp_path), tree, resumed=True)
    assert (resumed["backbone"]["pretrained"], resumed["text_encoder"]["pretrained"]) == (None, None)


def test_our_own_object_detector_leaves_the_text_encoder_its_weights(tmp_path):
    (tmp_path / "config.yaml").write_text("_target_: rlipv2.models.object_detector.ObjectDetector\n")
    tree = OmegaConf.create(
        {
            "backbone": {"_target_": "rlipv2.layers.backbones.TimmBackbone", "pretrained": True},
            "text_encoder": {"_target_": "rlipv2.layers.text_encoder.TextEncoder", "pretrained": "roberta-base"},
        }
    )
    started = train.initialized_from(str(tmp_path), tree)
    assert (started["backbone"]["pretrained"], started["text_encoder"]["pretrained"]) == (False, "roberta-base")
