"""bfloat16: boxes, positions in the image and logits stay float32."""

import pytest
import torch

from rlipv2.ops.padding import normalize_images
from tests.models import tiny

FAMILIES = {"parseda": tiny.detector, "parsed": tiny.parsed, "tagger": tiny.tagger}


def close_to(output, expected):
    for name in ("subject_boxes", "object_boxes", "object_logits", "relation_logits"):
        value = getattr(output, name)
        assert value.dtype == torch.float32, name
        torch.testing.assert_close(value, getattr(expected, name), atol=0.06 if "logits" in name else 0.02, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_under_autocast(family):
    model, inputs, targets = FAMILIES[family]().eval(), tiny.images(), [tiny.target(3), tiny.target(2)]
    expected = model(*inputs, tiny.LABELS, targets)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(*inputs, tiny.LABELS, targets)
        pyramid = model.image_pyramid(*inputs)
        assert output.relation_logits.sigmoid().clamp(max=1 - 1e-6).max() < 1
    assert pyramid.valid_ratios.dtype == pyramid.centers().dtype == pyramid.positions.dtype == torch.float32
    close_to(output, expected)
    (output.relation_logits.sum() + output.subject_boxes.sum()).backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("family", FAMILIES)
def test_with_weights_in_half_precision(family):
    model, (pixels, mask), targets = FAMILIES[family]().eval(), tiny.images(), [tiny.target(3), tiny.target(0)]
    with torch.no_grad():
        expected = model(pixels, mask, tiny.LABELS, targets)
        output = model.bfloat16()(normalize_images(pixels, mask).bfloat16(), mask, tiny.LABELS, targets)
    close_to(output, expected)
