"""Every gating against its formula, written out."""

from typing import get_args

import pytest
import torch
from torch import nn

from rlipv2.layers.fusion import GatedFusion
from rlipv2.layers.gating import Gate, Gating
from rlipv2.layers.multi_branch import MultiBranchFusion

DIM = 16


def bottleneck(gate, value):
    return gate.up(torch.relu(gate.down(value)))


def normed_bottleneck(gate, value):
    return gate.up(torch.relu(gate.norm(gate.down(value))))


# x: layer-normed tokens, u: what is read from the other side, g: the learned vector
FORMULAS = {
    "glip": lambda gate, x, u, g: x + g * u,
    "vxac": lambda gate, x, u, g: x + g[0] * u,
    "xgating": lambda gate, x, u, g: x + u,
    "vtanh": lambda gate, x, u, g: x + torch.tanh(g[0]) * u,
    "etanh": lambda gate, x, u, g: x + torch.tanh(g) * u,
    "stanh": lambda gate, x, u, g: x + torch.tanh(bottleneck(gate, g)) * u,
    "sxac": lambda gate, x, u, g: x + bottleneck(gate, g) * u,
    "sxacln": lambda gate, x, u, g: x + normed_bottleneck(gate, g) * u,
    "sdftanh": lambda gate, x, u, g: x + torch.tanh(bottleneck(gate, u)) * u,
    "sdfxac": lambda gate, x, u, g: x + bottleneck(gate, u) * u,
    "sdfxacln": lambda gate, x, u, g: x + normed_bottleneck(gate, u) * u,
    "sftanh": lambda gate, x, u, g: x + torch.tanh(bottleneck(gate, x)) * u,
    "sotanh": lambda gate, x, u, g: x + torch.tanh(bottleneck(gate, g)) * u,
    "sdfoxacln": lambda gate, x, u, g: x + normed_bottleneck(gate, u) * u,
    "mbf": lambda gate, x, u, g: gate.fusion(x, u),
}
# Width inside the bottleneck and of its result.
WIDTHS = {
    **dict.fromkeys(("stanh", "sxac", "sxacln", "sdftanh", "sdfxac", "sdfxacln", "sftanh"), (DIM // 4, DIM)),
    **dict.fromkeys(("sotanh", "sdfoxacln"), (DIM // 2, 1)),
}


def test_every_gating_has_a_formula():
    assert set(FORMULAS) == set(get_args(Gating))


@pytest.mark.parametrize("name", FORMULAS)
def test_gatings_follow_their_formula(name):
    gate = Gate(DIM, name)
    with torch.no_grad():
        gate.vector.copy_(torch.randn(DIM))
        for parameter in gate.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    tokens, update = torch.randn(2, 5, DIM), torch.randn(2, 5, DIM)
    torch.testing.assert_close(gate(tokens, update), FORMULAS[name](gate, tokens, update, gate.vector))


@pytest.mark.parametrize("name", FORMULAS)
def test_bottlenecks_have_the_published_widths(name):
    gate = Gate(DIM, name)
    linears = [module for key, module in gate.named_children() if isinstance(module, nn.Linear)]
    assert tuple(layer.out_features for layer in linears) == WIDTHS.get(name, ())


@pytest.mark.parametrize("name", FORMULAS)
def test_every_gating_trains_in_the_fusion(name):
    fusion = GatedFusion(DIM, 32, attention_dim=16, num_heads=2, gating=name)
    image, text = fusion(torch.randn(1, 4, DIM), torch.randn(1, 3, 32), torch.randn(1, 4, DIM))
    (image.square().sum() + text.square().sum()).backward()
    unused = {key for key, parameter in fusion.named_parameters() if parameter.grad is None}
    # the vector exists in every checkpoint, also where the gate is computed from something else
    from_vector = {"glip", "vxac", "vtanh", "etanh", "stanh", "sxac", "sxacln", "sotanh"}
    assert unused == (set() if name in from_vector else {"image_gate.vector", "text_gate.vector"})


def test_matrices_of_the_multi_branch_gate_start_by_xavier_as_officially():
    gate, relation = Gate(64, "mbf").fusion, MultiBranchFusion(64)
    for matrix in (gate.first.weight, gate.second.weight, gate.output_weight):
        assert 0.95 < matrix.abs().max() / (6 / (64 + 4)) ** 0.5 <= 1
    assert 0.95 < relation.first.weight.abs().max() * 64**0.5 <= 1
    assert 0.95 < relation.output_weight.abs().max() * 4**0.5 <= 1
    with pytest.raises(ValueError, match="weights='normal': expected linear or xavier"):
        MultiBranchFusion(64, weights="normal")
