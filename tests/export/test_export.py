"""One small network as an ONNX file: numbers, metadata, and the predictor without torch."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from rlipv2 import RelationPredictor
from rlipv2.export import OnnxRelationPredictor, export_onnx
from rlipv2.export.description import OUTPUTS
from rlipv2.predict.pixels import ImageError
from tests.export import small
from tests.models import tiny

pytestmark = pytest.mark.slow  # tracing for any size takes half a minute
SIZES = ((2, 64, 96), (1, 70, 51), (3, 96, 128))


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return small.smallest()


@pytest.fixture(scope="module")
def path(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "new" / "model.onnx"
    export_onnx(detector, path)
    return path


@pytest.fixture(scope="module")
def runtime(path):
    return OnnxRelationPredictor(path, threads=1)


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (64, 90, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_outputs_are_those_of_the_network_at_any_size(runtime, detector, size) -> None:
    images, mask = tiny.images(*size)  # the last image is padded
    assert small.largest_difference(runtime, detector, tiny.LABELS, images, mask) < 1e-4


def test_the_mask_matters(runtime) -> None:
    images, mask = (tensor.numpy() for tensor in tiny.images())
    both = [
        runtime.session.run(["relation_scores"], {"images": images, "padding_mask": m})[0] for m in (mask, mask & False)
    ]
    assert abs(both[0][-1] - both[1][-1]).max() > 1e-4


def test_the_file_tells_what_it_is(runtime, path) -> None:
    import onnx

    model = onnx.load(path)
    onnx.checker.check_model(model)
    description = runtime.description
    assert (description.objects, description.relations) == (tiny.LABELS.objects, tiny.LABELS.relations)
    assert description.settings["short_side"] == 64
    assert (description.size, description.batch, description.padded) == (None, None, True)
    assert set(description.versions) == {"rlipv2", "torch", "onnx", "onnxscript"}
    assert [output.name for output in model.graph.output] == list(OUTPUTS)
    assert runtime.session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]


def test_gives_what_the_predictor_gives(runtime, detector, photo) -> None:
    expected = RelationPredictor(detector, device="cpu")(photo, top=1000).to_dict()
    found = runtime(photo, top=1000)
    assert (found["width"], found["height"]) == (90, 64)
    assert len(found["triplets"]) == len(expected["triplets"]) == 5 * 4
    key = lambda triplet: (triplet["relation"], triplet["subject_box"])  # noqa: E731
    for wanted, row in zip(sorted(expected["triplets"], key=key), sorted(found["triplets"], key=key), strict=True):
        assert all(row[name] == wanted[name] for name in ("subject", "relation", "object"))
        assert row["score"] == pytest.approx(wanted["score"], abs=1e-4)
        assert row["object_box"] == pytest.approx(wanted["object_box"], abs=0.02)
    scores = [triplet["score"] for triplet in found["triplets"]]
    assert scores == sorted(scores, reverse=True)


def test_pictures_are_scaled_as_in_the_evaluation(runtime, detector) -> None:
    smooth = np.add.outer(np.arange(200), np.arange(300))[..., None] * np.array([0.5, 0.3, 0.2])
    photo = smooth.astype(np.uint8)
    expected = RelationPredictor(detector, device="cpu")(photo, top=1000).to_dict()
    found = runtime(photo, top=1000)
    assert runtime.scaled(photo).shape == (64, 96, 3)
    wanted = [triplet["score"] for triplet in expected["triplets"]]
    assert [triplet["score"] for triplet in found["triplets"]] == pytest.approx(wanted, abs=2e-3)


def test_lists_limits_and_files(runtime, photo, tmp_path) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    one, two = runtime([tmp_path / "photo.png", photo], top=3)
    assert one == two == runtime(photo, top=3)
    assert len(one["triplets"]) == 3
    best = one["triplets"][0]["score"]
    assert runtime(photo, min_score=best + 1e-3)["triplets"] == []


def test_a_batch_of_several_sizes_is_padded(runtime, photo) -> None:
    outputs = runtime.run([photo, photo[:50, :60]])
    assert outputs["relation_scores"].shape == (2, 5, 4)
    alone = runtime.run([photo])
    assert abs(outputs["relation_scores"][0] - alone["relation_scores"][0]).max() < 1e-4


def test_impossible_combinations_are_left_out(path, photo) -> None:
    runtime = OnnxRelationPredictor(path, threads=1)
    runtime.description.settings["possible"] = {"ride": ["dog"]}
    runtime = runtime_with(runtime)
    assert {(t["relation"], t["object"]) for t in runtime(photo)["triplets"]} <= {("ride", "dog")}
    assert len(runtime(photo, only_possible=False)["triplets"]) == 20


def runtime_with(runtime: OnnxRelationPredictor) -> OnnxRelationPredictor:
    from rlipv2.export.runtime import _valid

    runtime._valid = _valid(runtime.description)
    return runtime


def test_runs_without_torch(path, photo, runtime, tmp_path) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    code = (
        "import sys, json; sys.modules['torch'] = None\n"
        "from rlipv2.export import OnnxRelationPredictor\n"
        f"print(json.dumps(OnnxRelationPredictor({str(path)!r}, threads=1)({str(tmp_path / 'photo.png')!r}, top=5)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == runtime(photo, top=5)


def test_bad_pictures_and_numbers_are_named(runtime, tmp_path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        runtime(tmp_path / "broken.jpg")
    with pytest.raises(ImageError, match="too narrow"):
        runtime(np.zeros((4, 900, 3), np.uint8))
    with pytest.raises(ValueError, match="top=0"):
        runtime(np.zeros((64, 64, 3), np.uint8), top=0)
    with pytest.raises(TypeError, match="dict"):
        runtime({})
