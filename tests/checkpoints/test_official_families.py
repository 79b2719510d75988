import pytest
import torch

from rlipv2.checkpoints.official import convert_checkpoint, infer_config, official_view, read_official
from rlipv2.checkpoints.official.infer import infer
from tests.checkpoints.families import PAIRS, SWIN, narrow, official_state

FLAGS = {"gating_mechanism": "VXAc", "subject_class": True, "dropout": 0.0, "verb_query_tgt_type": "vanilla_MBF"}


@pytest.mark.parametrize(
    ("family", "options", "flags"),
    [
        ("parseda", {}, {}),
        ("parseda", {"fusion": "late"}, {}),
        ("parsed", {}, {}),
        ("parsed", {"backbone": "resnet50", "gating": "xgating"}, {"gating_mechanism": "XGating"}),
        ("parsed", {"query": "vanilla", "fusion": "late"}, {"verb_query_tgt_type": "vanilla"}),
        ("tagger", {}, {}),
        (
            "tagger",
            {"query": "vanilla", "gating": "glip"},
            {"gating_mechanism": "GLIP", "verb_query_tgt_type": "vanilla"},
        ),
        *(
            ("parseda", {"gating": name.lower()}, {"gating_mechanism": name})
            for name in ("Stanh", "SXAcLN", "SDFOXAcLN", "MBF")
        ),
    ],
)
def test_every_tensor_of_every_family_arrives(family, options, flags):
    source = narrow(family, **options)
    converted, report = convert_checkpoint(official_state(source, family), FLAGS | flags)
    assert type(converted) is type(source)
    assert report.surprises == []
    own, result = source.state_dict(), converted.state_dict()
    assert own.keys() == result.keys()
    for name, value in own.items():
        assert torch.equal(result[name], value), name
    for part in ("fusion", "gating"):
        assert getattr(converted.encoder, part, None) == getattr(source.encoder, part, None)


def test_a_vanilla_parseda_has_a_pair_fusion_that_nothing_reads():
    state = official_state(narrow("parseda"), "parseda")
    converted, report = convert_checkpoint(state, FLAGS | {"verb_query_tgt_type": "vanilla"})
    assert converted.relation_decoder.pair_fusion is None
    assert {key.rsplit(".", 3)[0] for key in report.unused} == {"transformer.verb_tgt_generator"}


@pytest.mark.parametrize("part", ["fc_1.1.weight", "fc_3.1.bias"])
@pytest.mark.parametrize("damage", [lambda tensor: tensor.flatten()[0], lambda tensor: torch.cat([tensor, tensor])])
def test_blocks_that_do_not_join_are_refused(part, damage):
    official = official_state(narrow("parseda"), "parseda")
    key = f"transformer.verb_tgt_generator.{part}"
    official[key] = damage(official[key])
    with pytest.raises(ValueError, match=r"mismatched: relation_decoder.pair_fusion\.\w+.*blocks have the shapes"):
        convert_checkpoint(official, FLAGS)


def test_a_flag_without_a_value_is_as_good_as_none():
    official = official_state(narrow("parsed"), "parsed")
    inferred = infer(official, FLAGS | {"dropout": None})
    assert inferred.config["encoder"]["dropout"] == 0.1
    assert "dropout=0.1 (the official default; the flags in the file do not give it)" in inferred.assumed


def test_nonsense_in_tensors_and_flags_is_refused(tmp_path):
    official = official_state(narrow("parseda"), "parseda")
    with pytest.raises(ValueError, match="tensors or flags of no RLIPv2 checkpoint"):
        infer(official, {"nheads": 0})
    official["transformer.level_embed"] = torch.tensor(1.0)
    with pytest.raises(ValueError, match="tensors or flags of no RLIPv2 checkpoint"):
        infer(official)
    torch.save({"model": official, "args": ["--nheads", "8"]}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"odd.pth: args=\['--nheads', '8'\]: expected the flags"):
        read_official(tmp_path / "odd.pth")


def test_the_query_table_of_a_tagger_is_reported_as_unused():
    source = narrow("tagger")
    _, report = convert_checkpoint(official_state(source, "tagger"), FLAGS)
    assert report.unused == ["query_embed.weight"]
    assert "unused: query_embed.weight" in str(report)


def test_columns_of_the_query_table_are_position_content_and_relation_content():
    source = narrow("parsed")
    table = official_state(source, "parsed")["query_embed.weight"]
    for block, name in zip(table.chunk(3, 1), ("position", "content", "relation_content"), strict=True):
        assert torch.equal(block, getattr(source.queries, name))


def test_rows_of_a_swin_qkv_are_query_key_and_value():
    source = narrow("parseda")
    attention = source.backbone.body.swin.encoder.layers[0].blocks[1].attention
    rows = official_view(source.state_dict(), "backbone.0.body.layers.0.blocks.1.attn.qkv.weight").chunk(3)
    for block, name in zip(rows, ("q_proj", "k_proj", "v_proj"), strict=True):
        assert torch.equal(block, getattr(attention, name).weight)


def test_views_of_parts_without_gradient_are_none():
    gradients = {"queries.position": torch.zeros(2, 3), "queries.content": torch.zeros(2, 3)}
    assert official_view(gradients, "query_embed.weight") is None
    assert official_view(gradients, "no.such.key") is None


# model.md of the official scripts: gating, relation query and dropout leave no trace in tensors
@pytest.mark.parametrize(
    ("family", "backbone", "query", "expected"),
    [
        ("parseda", "swin", "vanilla_mbf", ("vxac", "vanilla_mbf", 0.0)),
        ("parsed", "swin", "vanilla_mbf", ("vxac", "vanilla_mbf", 0.1)),
        ("parsed", "resnet50", "vanilla_mbf", ("vxac", "vanilla_mbf", 0.1)),
        ("tagger", "resnet50", "vanilla", ("glip", "vanilla", 0.1)),
        ("tagger", "swin", "vanilla_mbf", ("vxac", "vanilla_mbf", 0.0)),
    ],
)
def test_without_flags_the_published_recipe_is_assumed_and_said(family, backbone, query, expected):
    state = official_state(narrow(family, backbone, query=query), family)
    inferred = infer(state)
    config = inferred.config
    found = config["encoder"]["gating"], config["relation_decoder"]["query"], config["encoder"]["dropout"]
    assert found == expected
    assert config["subject_class"] is True
    assumed = "\n".join(inferred.assumed)
    assert f"gating_mechanism={'GLIP' if expected[0] == 'glip' else 'VXAc'} (as published" in assumed
    assert ("VG alone used XGating" in assumed) == (family == "parsed" and backbone == "resnet50")
    told = infer(state, FLAGS | {"fusion_last_vis": True, "lang_aux_loss": True} | _told(expected))
    assert told.assumed == []


def test_assumptions_stand_in_the_report():
    _, report = convert_checkpoint(official_state(narrow("parseda"), "parseda"))
    assert "  assumed: gating_mechanism=VXAc (as published; the file holds no flags)" in str(report)


def _told(expected):
    names = {"glip": "GLIP", "vxac": "VXAc", "vanilla": "vanilla", "vanilla_mbf": "vanilla_MBF"}
    return {"gating_mechanism": names[expected[0]], "verb_query_tgt_type": names[expected[1]]}


def test_flags_of_a_script_leave_the_official_defaults():
    state = official_state(narrow("tagger", "resnet50", query="vanilla"), "tagger")
    config = infer_config(state, {"--backbone": "resnet50", "--lang_aux_loss": True, "--fusion_last_vis": True})
    assert config["encoder"]["gating"] == "glip"
    assert config["subject_class"] is False
    assert config["queries"]["num_pairs"] == PAIRS


def test_the_size_of_a_swin_is_read_from_its_tensors():
    state = official_state(narrow("parseda"), "parseda")
    assert infer_config(state, FLAGS | {"drop_path_rate": "0.2"})["backbone"] == {
        "_target_": "rlipv2.layers.swin.SwinBackbone",
        "name": "swin_tiny",
        "options": SWIN,
        "drop_path_rate": 0.2,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("transformer.coord_proj.bias"), "missing: queries.box_projection.bias"),
        (lambda state: state.pop("transformer.verb_tgt.weight"), "transformer.verb_tgt.weight is missing"),
        (
            lambda state: state.update({"backbone.0.body.layers.0.blocks.0.attn.qkv.bias": torch.zeros(25)}),
            r"qkv.bias: \(25,\) does not split into",
        ),
        (
            lambda state: state.pop("transformer.text_encoder.embeddings.word_embeddings.weight"),
            "not a complete RLIPv2 checkpoint",
        ),
    ],
)
def test_damaged_files_are_refused(change, message):
    state = official_state(narrow("tagger"), "tagger")
    change(state)
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(state, FLAGS)
