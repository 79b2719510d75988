"""The one export of the default tests: the smallest network at a fixed size, traced in seconds."""

import torch

from rlipv2.export import OnnxRelationPredictor, export_onnx
from rlipv2.models.postprocess import score_pairs
from tests.export import small
from tests.models import tiny


def test_scene_graphs_without_padding_of_float_pixels(tmp_path) -> None:
    torch.manual_seed(0)
    detector = small.smallest(mode="scene_graph")
    export_onnx(detector, tmp_path / "model.onnx", padded=False, pixels="float32", size=(64, 96))
    runtime = OnnxRelationPredictor(tmp_path / "model.onnx", threads=1)
    assert [(value.name, value.type) for value in runtime.session.get_inputs()] == [("images", "tensor(float)")]
    images, mask = tiny.images(1)[0], torch.zeros(1, 64, 96, dtype=torch.bool)
    outputs = runtime.run([images[0].permute(1, 2, 0).numpy()])
    names = [value.name for value in runtime.session.get_outputs()]
    values = runtime.session.run(names, {"images": images.float().numpy()})
    assert (outputs["subject_scores"] == values[names.index("subject_scores")]).all()
    assert outputs["subject_scores"].max() < 1
    found = runtime(images[0].permute(1, 2, 0).numpy()[:50])  # another shape: stretched
    assert (found["height"], found["width"]) == (50, 96)
    with torch.inference_mode():
        expected = score_pairs(detector(images, mask, tiny.LABELS), mode="scene_graph")
    assert abs(expected.relation_scores.numpy() - outputs["relation_scores"]).max() < 1e-4
    assert (expected.subject_labels.numpy() == outputs["subject_labels"]).all()
