import math

import pytest
import torch
from torch import nn

from rlipv2.tasks.base import group_of, parameter_groups, scaled_lr

RATIOS = {"backbone": 0.1, "text_encoder": 0.5}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        self.text_encoder = nn.Linear(2, 2)
        self.text_layers = nn.Linear(2, 2)
        self.dense = nn.ModuleDict({"on_backbone": nn.Linear(2, 2)})
        self.backbone[0].requires_grad_(False)


@pytest.mark.parametrize(("total", "published"), [(32, 1e-4), (64, 1.41e-4), (128, 2e-4)])
def test_rule_gives_the_published_rates(total, published):
    assert math.isclose(scaled_lr(total), published, rel_tol=0.005)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("backbone.body.conv1.weight", "backbone"),
        ("text_encoder.model.pooler.dense.bias", "text_encoder"),
        ("encoder.text_layers.0.attention.weight", "base"),
        ("dense.on_backbone.class_tower.0.weight", "base"),
    ],
)
def test_groups_go_by_parts_of_the_name(name, group):
    assert group_of(name, RATIOS) == group


def test_every_trainable_parameter_is_in_exactly_one_group():
    network = Network()
    groups = parameter_groups(network, 1e-3, RATIOS)
    members = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(members) == sorted(id(p) for p in network.parameters() if p.requires_grad)


def test_rates_of_the_groups():
    rates = {group["name"]: group["lr"] for group in parameter_groups(Network(), 1e-3, RATIOS)}
    assert rates == pytest.approx({"base": 1e-3, "backbone": 1e-4, "text_encoder": 5e-4})


def test_groups_without_parameters_are_left_out():
    groups = parameter_groups(nn.Linear(1, 1), 1e-3, RATIOS)
    assert [group["name"] for group in groups] == ["base"]
    torch.optim.AdamW(groups)
