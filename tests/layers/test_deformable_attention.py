import pytest
import torch

from rlipv2.layers.deformable import MultiScaleDeformableAttention
from rlipv2.ops.deformable_attention import backends, deformable_sampling, register_backend

SHAPES = [(5, 7), (3, 4), (1, 1)]


def inputs(batch=2, queries=6, dtype=torch.float64):
    tokens = sum(height * width for height, width in SHAPES)
    value = torch.randn(batch, tokens, 2, 4, dtype=dtype)
    locations = torch.rand(batch, queries, 2, 3, 3, 2, dtype=dtype) * 1.6 - 0.3
    weights = torch.rand(batch, queries, 2, 3, 3, dtype=dtype)
    return value, locations, weights


@pytest.mark.parametrize("backend", ["gather", "take"])
def test_indexing_equals_grid_sample_also_outside_and_on_the_edges(backend):
    value, locations, weights = inputs()
    locations[0, 0] = torch.tensor([0.0, 1.0])
    locations[0, 1] = torch.tensor([-0.5, 1.5])
    locations[0, 2] = torch.tensor([1e6, -1e6])
    expected = deformable_sampling(value, SHAPES, locations, weights, backend="grid_sample")
    torch.testing.assert_close(deformable_sampling(value, SHAPES, locations, weights, backend=backend), expected)


@pytest.mark.parametrize("argument", [0, 1, 2])
def test_gradients_of_gather_equal_those_of_grid_sample(argument):
    tensors = inputs()
    gradients = []
    for backend in ("grid_sample", "gather"):
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        result = deformable_sampling(leaves[0], SHAPES, leaves[1], leaves[2], backend=backend)
        result.pow(2).sum().backward()
        gradients.append(leaves[argument].grad)
    torch.testing.assert_close(*gradients)


def test_many_queries_are_sampled_in_slices_with_the_same_result():
    value, locations, weights = inputs(queries=1500)
    with torch.no_grad():
        sliced = deformable_sampling(value, SHAPES, locations, weights, backend="gather")
        expected = deformable_sampling(value, SHAPES, locations, weights, backend="grid_sample")
    torch.testing.assert_close(sliced, expected)


def test_a_registered_backend_is_found_by_name(monkeypatch):
    monkeypatch.setattr("rlipv2.ops.deformable_attention._BACKENDS", {})
    register_backend("zeros")(lambda value, shapes, locations, weights: value.new_zeros(locations.shape[0], 6, 8))
    assert backends() == ("zeros",)
    assert not deformable_sampling(inputs()[0], SHAPES, *inputs()[1:], backend="zeros").any()


def test_unknown_backends_and_wrong_levels_are_refused():
    value, locations, weights = inputs()
    with pytest.raises(ValueError, match="cuda_extension"):
        deformable_sampling(value, SHAPES, locations, weights, backend="cuda_extension")
    with pytest.raises(ValueError, match="do not add up"):
        deformable_sampling(value, SHAPES[:2], locations, weights)


def test_padding_is_never_read():
    module = MultiScaleDeformableAttention(8, num_levels=3, num_heads=2, num_points=3)
    memory = torch.randn(1, 48, 8)
    padding = torch.zeros(1, 48, dtype=torch.bool)
    padding[:, 40:] = True
    changed = memory.clone()
    changed[:, 40:] = 100
    reference = torch.rand(1, 6, 3, 4)
    query = torch.randn(1, 6, 8)
    first, second = (module(query, reference, m, shapes=SHAPES, padding_mask=padding) for m in (memory, changed))
    torch.testing.assert_close(first, second)
