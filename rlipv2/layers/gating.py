"""The gates of the fusion: how much of what one modality reads from the other is taken over.

All gatings that the paper compares, one row of a table each.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rlipv2.layers.multi_branch import MultiBranchFusion

Gating = Literal[
    "glip",
    "vxac",
    "xgating",
    "vtanh",
    "etanh",
    "stanh",
    "sxac",
    "sxacln",
    "sdftanh",
    "sdfxac",
    "sdfxacln",
    "sftanh",
    "sotanh",
    "sdfoxacln",
    "mbf",
]


@dataclass(frozen=True)
class _Rule:
    """How a gating makes its gate.

    Attributes:
        source: what the gate is computed from: the learned `vector`, its `first` element, the `update`
            (what is read from the other modality) or the layer-normed `input`.
        tanh: squash the gate.
        narrow: width of a bottleneck (down, ReLU, up), as a divisor of the width; 0 for none.
        scalar: the bottleneck ends in one number instead of a vector.
        norm: layer norm inside the bottleneck.
    """

    source: Literal["vector", "first", "update", "input"]
    tanh: bool = False
    narrow: int = 0
    scalar: bool = False
    norm: bool = False


_RULES: dict[str, _Rule] = {
    "glip": _Rule("vector"),
    "vxac": _Rule("first"),
    "etanh": _Rule("vector", tanh=True),
    "vtanh": _Rule("first", tanh=True),
    "stanh": _Rule("vector", tanh=True, narrow=4),
    "sxac": _Rule("vector", narrow=4),
    "sxacln": _Rule("vector", narrow=4, norm=True),
    "sdftanh": _Rule("update", tanh=True, narrow=4),
    "sdfxac": _Rule("update", narrow=4),
    "sdfxacln": _Rule("update", narrow=4, norm=True),
    "sftanh": _Rule("input", tanh=True, narrow=4),
    "sotanh": _Rule("vector", tanh=True, narrow=2, scalar=True),
    "sdfoxacln": _Rule("update", narrow=2, scalar=True, norm=True),
}


class Gate(nn.Module):
    """Adds an update to the tokens of one modality, scaled as the gating says.

    GLIP (CVPR 2022) and RLIPv2 (ICCV 2023), section 3.2. Official: models/fuse_helper.py.

    Args:
        dim: width of the tokens.
        gating: `vxac` (published RLIPv2) scales by the first element of the learned vector (the others
            exist and do nothing; docs/parity.md, Q11), `glip` by the vector, `xgating` not at all; names
            with `tanh` squash; names with `s` compute the gate in a bottleneck, from the vector or, with
            `df` / `f`, from the update / the tokens; `o` ends in one number; `ln` normalises inside;
            `mbf` replaces the sum by a multi-branch fusion.
        initial: start value of the vector.
    """

    def __init__(self, dim: int, gating: Gating, *, initial: float = 0.25) -> None:
        super().__init__()
        if gating not in get_args(Gating):
            raise ValueError(f"gating={gating!r}: expected one of {get_args(Gating)}")
        self.gating = gating
        self.rule = _RULES.get(gating)
        # In every checkpoint, whatever the gating uses of it.
        self.vector = nn.Parameter(torch.full((dim,), initial))
        if gating == "mbf":
            self.fusion = MultiBranchFusion(dim, branches=16, weights="xavier")
        if self.rule is not None and self.rule.narrow:
            width = dim // self.rule.narrow
            self.down, self.up = nn.Linear(dim, width), nn.Linear(width, 1 if self.rule.scalar else dim)
            self.norm = nn.LayerNorm(width) if self.rule.norm else nn.Identity()
            for layer in (self.down, self.up):
                nn.init.xavier_uniform_(layer.weight)

    def forward(self, tokens: Float[Tensor, "b n d"], update: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """`tokens` (layer-normed) with the gated `update`."""
        if self.gating == "mbf":
            fused: Tensor = self.fusion(tokens, update)
            return fused
        if self.rule is None:
            return tokens + update
        source = {"vector": self.vector, "first": self.vector[0], "update": update, "input": tokens}[self.rule.source]
        if self.rule.narrow:
            source = self.up(self.norm(self.down(source)).relu())
        return tokens + (source.tanh() if self.rule.tanh else source) * update
