import json

import pytest
import torch
import yaml

from rlipv2.checkpoints import build_detector, default_settings, load_weights, save_weights
from rlipv2.models import RelationDetector
from rlipv2.structures import InferenceSettings, LabelSpace
from tests.models import tiny


@pytest.fixture
def folder(tmp_path):
    model = build_detector(tiny.CONFIG)
    model.label_space = tiny.LABELS
    model.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def test_a_saved_detector_predicts_the_same_after_loading(tmp_path):
    model = build_detector(tiny.CONFIG).eval()
    model.save_pretrained(tmp_path)
    loaded = RelationDetector.from_pretrained(tmp_path)
    inputs = tiny.images()
    with torch.no_grad():
        first, second = model(*inputs, tiny.LABELS), loaded(*inputs, tiny.LABELS)
    assert torch.equal(first.relation_logits, second.relation_logits)
    assert torch.equal(first.object_boxes, second.object_boxes)


def test_the_label_space_and_the_tokenizer_travel_along(folder):
    loaded = RelationDetector.from_pretrained(folder)
    assert loaded.label_space == tiny.LABELS
    assert (folder / "tokenizer" / "tokenizer.json").exists()
    assert not list(folder.glob(".*"))


def test_arguments_change_the_saved_configuration(folder):
    assert not RelationDetector.from_pretrained(folder, subject_class=False).head.subject_class


def test_downloads_are_switched_off_in_saved_configurations(tmp_path):
    config = tiny.CONFIG | {"backbone": tiny.CONFIG["backbone"] | {"pretrained": True}}
    model = build_detector(tiny.CONFIG)
    model.config = config
    save_weights(model, tmp_path)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["backbone"]["pretrained"] is False


def test_a_detector_composed_by_hand_says_what_it_lacks(tmp_path):
    with pytest.raises(ValueError, match="no configuration to save"):
        save_weights(tiny.detector(), tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_weights(folder)


def test_a_cut_weight_file_is_named(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_weights(folder)


def test_weights_of_another_size_are_refused(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["encoder"]["num_layers"] = 4
    config["encoder"]["fusion_interval"] = 2
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match="missing"):
        load_weights(folder)


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "os.system", "command": "true"},
        {"_target_": "rlipv2.layers.backbones.torch.load", "f": "x.pt", "weights_only": False},
        {"_target_": "rlipv2.layers.backbones.timm.create_model", "model_name": "resnet18"},
        {"_target_": "rlipv2.layers.text_encoder.RobertaModel"},
        {"_target_": "rlipv2.layers.text_encoder.train_tokenizer", "words": ["a"]},
        {"_target_": "rlipv2.layers.nothing.Here"},
        {"_target_": "rlipv2.layers.mlp.MLP", "_args_": [8, 8, 8]},
    ],
)
def test_configurations_cannot_call_anything_but_network_parts(folder, node):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["backbone"] = node
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"only network parts|must be named"):
        load_weights(folder)


def test_a_broken_label_space_is_named(folder):
    (folder / "label_space.json").write_text(json.dumps({"objects": ["a", "a"], "relations": ["b"]}))
    with pytest.raises(ValueError, match=r"label_space\.json"):
        load_weights(folder)


def test_a_path_that_does_not_exist_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="checkpoints convert"):
        RelationDetector.from_pretrained(tmp_path / "nothing")


def test_label_spaces_refuse_blank_doubled_and_bare_names():
    for objects, error in ((["a", " "], ValueError), (["a", "a"], ValueError), ("person", TypeError)):
        with pytest.raises(error):
            LabelSpace(objects=objects, relations=["b"])


def test_settings_of_the_evaluation_travel_along(tmp_path):
    model = build_detector(tiny.CONFIG)
    model.inference = InferenceSettings(short_side=64, possible=(("ride", "dog"),))
    model.save_pretrained(tmp_path)
    assert RelationDetector.from_pretrained(tmp_path).inference == model.inference
    model.inference = None
    model.save_pretrained(tmp_path)
    assert RelationDetector.from_pretrained(tmp_path).inference is None


def test_damaged_settings_are_named(folder):
    (folder / "inference.json").write_text('{"short_side": "large"}')
    with pytest.raises(ValueError, match=r"inference\.json: short_side='large': .* correct it, or remove it"):
        load_weights(folder)
    (folder / "inference.json").write_text("{")
    with pytest.raises(ValueError, match=r"inference\.json"):
        load_weights(folder)


@pytest.mark.parametrize(
    ("flags", "objects", "mode"),
    [
        ({}, ["person", "dog"], "hoi"),
        ({}, ["Man", "person"], "scene_graph"),
        ({}, None, "scene_graph"),
        ({"hoi": True}, None, "hoi"),
        ({"--hoi": True}, ["Man"], "hoi"),
        ({"dataset_file": "vg"}, ["person"], "scene_graph"),
    ],
)
def test_weights_without_settings_are_scored_as_published(flags, objects, mode):
    model = build_detector(tiny.CONFIG)
    model.label_space = None if objects is None else LabelSpace(objects, ["ride"])
    assert default_settings(model, flags) == InferenceSettings(800, 1333, mode)
    model.head.subject_class = False
    assert default_settings(model, flags).mode == "hoi"
