"""`compile_network`: the same numbers, names and errors that help."""

import copy

import pytest
import torch
from torch import nn

from rlipv2.models.compilation import compile_network, compiled_parts
from tests.models import tiny


def test_parts_are_backbone_and_layers() -> None:
    detector = tiny.detector()
    parts = list(compiled_parts(detector))
    assert parts[0] is detector.backbone
    assert len(parts) == 1 + len(detector.encoder.image_layers) + 2 * len(detector.entity_decoder.layers)


def test_networks_without_such_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="Linear: has no backbone"):
        compile_network(nn.Linear(2, 2))


def test_a_missing_compiler_is_named(monkeypatch) -> None:
    from torch._inductor import cpp_builder, exc

    def none() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    with pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler.*install g\+\+"):
        compile_network(tiny.detector())


@pytest.mark.slow
@pytest.mark.parametrize("build", [tiny.detector, tiny.parsed])
def test_compiled_numbers_are_the_eager_ones(build) -> None:
    eager = build().eval()
    for weight in eager.parameters():
        if weight.dim() > 1 and not weight.any():
            nn.init.normal_(weight, std=0.3)
    compiled = compile_network(copy.deepcopy(eager))
    assert list(compiled.state_dict()) == list(eager.state_dict())
    for size in ((2, 64, 96), (1, 70, 51), (3, 128, 96)):
        images, mask = tiny.images(*size)
        with torch.inference_mode():
            expected, found = eager(images, mask, tiny.LABELS), compiled(images, mask, tiny.LABELS)
        for name in ("object_logits", "relation_logits", "subject_boxes", "object_boxes"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-4, rtol=0)
