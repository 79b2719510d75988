"""What the export and the files refuse, before any work is done."""

import os
import sys

import pytest

from rlipv2.checkpoints import save_partial_weights
from rlipv2.export import OnnxRelationPredictor, export_onnx
from rlipv2.export.__main__ import main
from rlipv2.export.description import Description
from rlipv2.structures import LabelSpace
from tests.export import small
from tests.models import tiny, tiny_objects

DESCRIPTION = Description(
    objects=("person", "überraschung"),
    relations=("hold",),
    settings={"short_side": 64},
    size=(64, 96),
    batch=None,
    padded=False,
    pixels="uint8",
    versions={"torch": "2"},
)


def test_metadata_holds_everything() -> None:
    assert Description.from_metadata(DESCRIPTION.to_metadata(), "file") == DESCRIPTION


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": "other/1"}, "no relation detector"), ({"objects": "["}, "damaged"), ({"format": None}, "no relation")],
)
def test_other_metadata_is_refused(change, message) -> None:
    metadata = {key: value for key, value in (DESCRIPTION.to_metadata() | change).items() if value is not None}
    with pytest.raises(ValueError, match=rf"model\.onnx: {message}"):
        Description.from_metadata(metadata, "model.onnx")


def test_files_that_are_no_onnx_are_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: no such file"):
        OnnxRelationPredictor(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ValueError, match=r"text\.onnx: onnxruntime cannot read it"):
        OnnxRelationPredictor(tmp_path / "text.onnx")


def test_files_of_others_are_named(tmp_path) -> None:
    from onnx import TensorProto, helper, save

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "graph", [value], [other])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    save(model, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"other\.onnx: no relation detector exported"):
        OnnxRelationPredictor(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (16, 64)}, "height=16"),
        ({"batch": 0}, "batch=0"),
        ({"opset": 12}, "opset=12"),
        ({"label_space": "nothing"}, "nothing"),
        ({"label_space": LabelSpace(["dog"], ["hold"])}, "person"),
        ({"mode": "hoi"}, "only with a weight folder"),
    ],
)
def test_options_that_make_no_sense_are_named(tmp_path, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        export_onnx(small.smallest(), tmp_path / "model.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_sampling_by_indexing_needs_a_size(tmp_path) -> None:
    with pytest.raises(ValueError, match="for one number of images and one size"):
        export_onnx(small.smallest(), tmp_path / "model.onnx", sampling="take")


def test_swin_needs_a_size(tmp_path) -> None:
    with pytest.raises(ValueError, match="--height, --width"):
        export_onnx(small.with_swin(tiny.detector), tmp_path / "model.onnx")


def test_other_networks_are_refused(tmp_path, capsys) -> None:
    with pytest.raises(ValueError, match="Relation Tagger"):
        export_onnx(tiny.tagger(), tmp_path / "model.onnx")
    save_partial_weights(tiny.detector().backbone.state_dict(), tmp_path / "partial", source="x", kind="backbone")
    assert main(["--weights", str(tmp_path / "partial"), "--out", str(tmp_path / "model.onnx")]) == 2
    assert "not a detector" in capsys.readouterr().err


def test_object_detectors_are_refused(tmp_path, capsys) -> None:
    from rlipv2.checkpoints import build_network, save_weights

    save_weights(build_network(tiny_objects.config()), tmp_path / "objects")
    assert main(["--weights", str(tmp_path / "objects"), "--out", str(tmp_path / "model.onnx")]) == 2
    assert "ObjectDetector" in capsys.readouterr().err


def test_places_that_cannot_be_written_are_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    for place, message in (("file/model.onnx", "cannot be written"), ("model.pt", "expected the name of a file")):
        with pytest.raises((OSError, ValueError), match=message):
            export_onnx(small.smallest(), tmp_path / place)
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(OSError, match="a folder"):
        export_onnx(small.smallest(), tmp_path / "folder.onnx")
    if os.geteuid():  # root may write everywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(OSError, match="cannot be written"):
            export_onnx(small.smallest(), tmp_path / "locked" / "model.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_packages_are_named(tmp_path, monkeypatch, package) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}: pip install -e '\.\[export\]'"):
        export_onnx(small.smallest(), tmp_path / "model.onnx")


def test_a_missing_runtime_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"onnxruntime: pip install -e '\.\[export\]'"):
        OnnxRelationPredictor(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--height", "64"], "both --height and --width"),
        (["--height", "64", "--width", "64", "--dynamic"], "--dynamic is for"),
        (["--objects", "person"], "both --objects and --relations"),
        (["--vocabulary", "hico", "--objects", "a", "--relations", "b"], "--vocabulary brings"),
        ([], "no such weight folder"),
    ],
)
def test_the_command_refuses(tmp_path, capsys, options, message) -> None:
    arguments = ["--weights", str(tmp_path / "none"), "--out", str(tmp_path / "model.onnx"), *options]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
