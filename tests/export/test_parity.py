"""Exported networks of every kind against the networks themselves."""

import pytest
import torch
from omegaconf import OmegaConf

from rlipv2 import RelationPredictor
from rlipv2.checkpoints import build_detector
from rlipv2.export import OnnxRelationPredictor, export_onnx
from rlipv2.export.__main__ import main
from rlipv2.structures import LabelSpace
from tests import test_config
from tests.export import small
from tests.models import tiny

pytestmark = pytest.mark.slow
MORE_WORDS = LabelSpace(objects=["person", "cat", "dog", "kite", "chair", "boat"], relations=["ride", "pull"])
NETWORKS = {
    "parseda": lambda: small.ready(tiny.detector()),
    "parsed": lambda: small.ready(tiny.parsed()),
    "parseda_swin": lambda: small.with_swin(tiny.detector),
    "parsed_swin": lambda: small.with_swin(tiny.parsed),
}


def exported(detector, path, space=tiny.LABELS, **options) -> OnnxRelationPredictor:
    export_onnx(detector, path, space, **options)
    return OnnxRelationPredictor(path, threads=1)


@pytest.mark.parametrize("name", ["parseda", "parsed"])
def test_any_size(tmp_path, name) -> None:
    torch.manual_seed(0)
    detector = NETWORKS[name]()
    runtime = exported(detector, tmp_path / "model.onnx", MORE_WORDS)
    for size in ((1, 64, 96), (2, 131, 90), (4, 65, 257)):
        images, mask = tiny.images(*size)
        assert small.largest_difference(runtime, detector, MORE_WORDS, images, mask) < 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_one_size(tmp_path, name) -> None:
    torch.manual_seed(0)
    detector = NETWORKS[name]()
    runtime = exported(detector, tmp_path / "model.onnx", size=(80, 104), batch=2)
    images, mask = tiny.images(2, 80, 104)
    assert small.largest_difference(runtime, detector, tiny.LABELS, images, mask) < 1e-4
    pictures = [image[:, :60, :96].permute(1, 2, 0).numpy() for image in images]
    assert runtime.run(pictures[:1])["relation_scores"].shape == (1, 5, 4)
    with pytest.raises(ValueError, match="2 of at most 104 x 80"):
        runtime.run([*pictures, pictures[0]])
    assert runtime(pictures[0])["width"] == 96


def test_sampling_by_indexing(tmp_path) -> None:
    torch.manual_seed(0)
    detector = small.smallest()
    runtime = exported(detector, tmp_path / "model.onnx", sampling="take", size=(70, 96), batch=2)
    import onnx

    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert not kinds & {"GridSample", "Loop"}
    images, mask = tiny.images(2, 70, 96)
    assert small.largest_difference(runtime, detector, tiny.LABELS, images, mask) < 1e-4


def test_removed_pairs_are_left_out(tmp_path) -> None:
    torch.manual_seed(0)
    detector = small.smallest(subject_filter=True)
    runtime = exported(detector, tmp_path / "model.onnx", size=(64, 96))
    images, _ = tiny.images(1)
    pictures = images[0].permute(1, 2, 0).numpy()
    expected = RelationPredictor(detector, device="cpu")(pictures, top=1000)
    assert len(runtime(pictures, top=1000)["triplets"]) == len(expected)


def test_the_network_of_the_quickstart_by_the_command(tmp_path, capsys) -> None:
    config = test_config.composed("experiment=quickstart")
    detector = build_detector(OmegaConf.to_container(config.model.detector, resolve=True))
    small.ready(detector, mode="hoi", short_side=128, max_size=160).save_pretrained(tmp_path / "weights")
    path = tmp_path / "model.onnx"
    words = ["--objects", "person, dog,kite", "--relations", "hold,ride"]
    assert main(["--weights", str(tmp_path / "weights"), "--out", str(path), *words, "--dynamic"]) == 0
    assert "3 objects, 2 relations; images of any size" in capsys.readouterr().out
    detector.backbone.half_precision = False
    space = LabelSpace(objects=["person", "dog", "kite"], relations=["hold", "ride"])
    for size in ((2, 128, 160), (1, 229, 333)):
        images, mask = tiny.images(*size)
        runtime = OnnxRelationPredictor(path, threads=1)
        assert small.largest_difference(runtime, detector, space, images, mask) < 1e-4
