import argparse
import json
from pathlib import Path

import pytest
import torch

from rlipv2.checkpoints import build_detector
from rlipv2.checkpoints.__main__ import main
from rlipv2.checkpoints.official import convert_checkpoint, infer_config, official_view, read_official
from rlipv2.models import RelationDetector

KEYS = Path(__file__).parents[1] / "fixtures" / "parity" / "parseda_r50_hico" / "state_dict_keys.json"
FLAGS = {"gating_mechanism": "VXAc", "subject_class": True, "dropout": 0.0, "verb_query_tgt_type": "vanilla_MBF"}


@pytest.fixture(scope="module")
def source() -> RelationDetector:
    """A ParSeDA with the official ResNet-50 and layer counts, everything else narrow."""
    text = {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 64, "vocab_size": 300}
    narrow = {"dim": 32, "feedforward_dim": 32}
    return build_detector(
        {
            "_target_": "rlipv2.models.RelationDetector",
            "backbone": {"_target_": "rlipv2.layers.backbones.TimmBackbone"},
            "text_encoder": {
                "_target_": "rlipv2.layers.text_encoder.TextEncoder",
                "config": text | {"num_hidden_layers": 12, "max_position_embeddings": 30},
            },
            "encoder": {
                "_target_": "rlipv2.models.alif_encoder.ALIFEncoder",
                "text_dim": 64,
                "text_heads": 1,
                "text_feedforward_dim": 64,
                "fusion_dim": 32,
                **narrow,
            },
            "queries": {"_target_": "rlipv2.models.queries.AnchorQueries", "num_pairs": 7, "dim": 32},
            "entity_decoder": {"_target_": "rlipv2.models.decoders.EntityDecoder", **narrow},
            "relation_decoder": {"_target_": "rlipv2.models.decoders.RelationDecoder", **narrow},
        }
    )


@pytest.fixture
def official(source) -> dict[str, torch.Tensor]:
    """Its weights under the official keys, aliases included."""
    own = source.state_dict()
    return {key: official_view(own, key) for key in json.loads(KEYS.read_text())}


def test_every_official_key_has_a_place_and_back(source, official):
    assert all(value is not None for value in official.values())
    converted, report = convert_checkpoint(official, FLAGS)
    assert len(report.renamed) + len(report.aliases) == len(official) == 1078
    own = source.state_dict()
    for name, tensor in converted.state_dict().items():
        assert torch.equal(tensor, own[name]), name


def test_sizes_are_read_from_the_tensors_and_options_from_the_flags(official):
    config = infer_config(official, FLAGS | {"gating_mechanism": "GLIP", "subject_class": False})
    assert config["queries"]["num_pairs"] == 7
    assert config["encoder"]["feedforward_dim"] == 32
    assert config["encoder"]["num_layers"] == 6
    assert config["encoder"]["fusion_interval"] == 2
    assert config["encoder"]["gating"] == "glip"
    assert config["subject_class"] is False
    assert infer_config(official)["subject_class"] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("projection_text.weight"), "missing: head.projection.weight"),
        (
            lambda state: state.update({"transformer.new_part.weight": torch.zeros(1)}),
            "unexpected: transformer.new_part",
        ),
        (lambda state: state.update({"bias_obj_a": torch.zeros(5)}), "head.entity_bias"),
        (lambda state: state.update({"sub_bbox_embed.6.layers.0.bias": torch.zeros(32)}), "unexpected: sub_bbox_emb"),
        (
            lambda state: state.update({"transformer.verb_tgt_generator.fc_4.0.bias": torch.zeros(2)}),
            "unexpected.*fc_4",
        ),
        (
            lambda state: state.update({"transformer.ho_decoder.sub_bbox_embed.0.layers.0.bias": torch.ones(32)}),
            "differs from sub_bbox_embed.0.layers.0.bias",
        ),
        (lambda state: state.pop("refpoint_embed.weight"), "not a RLIPv2 checkpoint of a known family"),
        (lambda state: state.pop("backbone.0.body.layer1.0.conv3.weight"), "neither a Swin .* nor a ResNet-50"),
        (lambda state: state.pop("transformer.ho_decoder.layers.0.linear1.weight"), "found other keys"),
        (lambda state: state.pop("transformer.encoder.layers.0.linear1.weight"), "not the deformable encoder"),
    ],
)
def test_any_surprise_stops_the_conversion(official, change, message):
    change(official)
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(official, FLAGS)


def test_entries_of_older_libraries_are_recomputed(official):
    official["transformer.text_encoder.embeddings.position_ids"] = torch.arange(30)[None]
    _, report = convert_checkpoint(official, FLAGS)
    assert report.ignored == ["transformer.text_encoder.embeddings.position_ids"]


def test_the_command_converts_a_file_with_its_namespace(tmp_path, official, source, capsys):
    path = tmp_path / "checkpoint0019.pth"
    flags = argparse.Namespace(**FLAGS, output_dir="somewhere", lr=1e-4)
    content = {"model": {f"module.{key}": value for key, value in official.items()}, "epoch": 19, "args": flags}
    torch.save(content, path)
    assert main(["convert", str(path), str(tmp_path / "weights"), "--label-space", "hico"]) == 0
    assert "loaded                        1006" in capsys.readouterr().out
    loaded = RelationDetector.from_pretrained(tmp_path / "weights")
    assert torch.equal(loaded.queries.anchors, source.queries.anchors)
    assert len(loaded.label_space.relations) == 117
    assert (loaded.inference.short_side, loaded.inference.max_size) == (800, 1333)
    assert loaded.inference.mode == "scene_graph"  # these flags name no --hoi


class Harmful:
    """An object that would run code when it is unpickled carelessly."""

    def __reduce__(self):
        return (print, ("executed",))


def test_files_with_other_objects_are_refused_unread(tmp_path, capsys):
    path = tmp_path / "harmful.pth"
    torch.save({"model": {"a": torch.zeros(1)}, "args": Harmful()}, path)
    with pytest.raises(ValueError, match="not readable as a checkpoint"):
        read_official(path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [{"epoch": 3}, {"model": {}}, [1, 2]])
def test_files_without_weights_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="expected a dictionary with the entry 'model'"):
        read_official(tmp_path / "other.pth")


def test_cut_and_missing_files_are_named(tmp_path, capsys):
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 and then nothing")
    assert main(["convert", str(tmp_path / "cut.pth"), str(tmp_path / "out")]) == 2
    assert main(["convert", str(tmp_path / "none.pth"), str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err
    assert "is the download complete?" in errors
    assert "no such file" in errors
    assert not (tmp_path / "out").exists()
