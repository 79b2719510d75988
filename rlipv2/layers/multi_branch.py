"""Fusion of two features through products in many narrow branches."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class MultiBranchFusion(nn.Module):
    """Fuses two features, such as subject and object into a relation, in many narrow branches.

    `relu(sum_n W3_n relu((W1_n a) * (W2_n b)))`: the branches are stacked into three matrices; the
    output biases stay one per branch, as the optimiser sees them in the official code.
    Official: models/ParSetransformer.py, MultiBranchFusion.

    Args:
        dim: width.
        branches: number of branches.
        weights: start of the matrices of every branch: `linear` the default of linear layers (official for
            relation queries), `xavier` Xavier uniform (official for gates).
    """

    def __init__(self, dim: int, *, branches: int = 16, weights: Literal["linear", "xavier"] = "linear") -> None:
        super().__init__()
        if dim % branches:
            raise ValueError(f"dim={dim} is not divisible by branches={branches}")
        if weights not in ("linear", "xavier"):
            raise ValueError(f"weights={weights!r}: expected linear or xavier")
        self.branches = branches
        self.first, self.second = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.output_weight = nn.Parameter(torch.empty(dim, dim))
        self.output_bias = nn.Parameter(torch.empty(branches, dim))
        # Linear default of one branch, whose input is dim / branches wide.
        bound = 1 / math.sqrt(dim / branches)
        nn.init.uniform_(self.output_weight, -bound, bound)
        nn.init.uniform_(self.output_bias, -bound, bound)
        if weights == "xavier":
            # Of one branch: dim to dim / branches, and back.
            bound = math.sqrt(6 / (dim + dim / branches))
            for matrix in (self.first.weight, self.second.weight, self.output_weight):
                nn.init.uniform_(matrix, -bound, bound)

    def forward(self, first: Float[Tensor, "... d"], second: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """Same shape as the inputs."""
        hidden = F.relu(self.first(first) * self.second(second))
        return F.relu(F.linear(hidden, self.output_weight, self.output_bias.sum(0)))
