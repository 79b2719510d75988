"""What the decoders start from: pairs of anchors and contents, and the fusion into relation queries."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class PairQueries:
    """Queries for pairs: pair i is (subject i, object i).

    Attributes:
        subject_boxes: first references, cx cy w h, 0-1.
        object_boxes: first references, cx cy w h, 0-1.
        content: subjects, then objects.
        relation_content: learned part of the relation queries.
    """

    subject_boxes: Float[Tensor, "b q 4"]
    object_boxes: Float[Tensor, "b q 4"]
    content: Float[Tensor, "b 2*q d"]
    relation_content: Float[Tensor, "b q d"]


class AnchorQueries(nn.Module):
    """Learned contents and learned anchor boxes for pairs (ParSeDA).

    Rows 0 .. num_pairs-1 of every table are subjects, the rest objects. The relation query starts from the
    sum of both rows of its own table. Official: models/hoi.py, RLIP_ParSeDA
    (`tgt_embed`, `verb_tgt_embed`, `refpoint_embed`).

    Args:
        num_pairs: pairs; the official `num_queries` is twice that.
        dim: width.
        anchors: start of the anchor boxes. `normal` draws logits from N(0, 1) (official); `grid` puts
            the pairs on a grid with both boxes of a pair near each other (not in the paper: learns
            faster where training is very short).
    """

    def __init__(self, num_pairs: int = 100, dim: int = 256, *, anchors: str = "normal") -> None:
        super().__init__()
        if anchors not in ("normal", "grid"):
            raise ValueError(f"anchors={anchors!r}: expected normal or grid")
        self.num_pairs = num_pairs
        self.content = nn.Parameter(torch.randn(2 * num_pairs, dim))
        self.relation_content = nn.Parameter(torch.randn(2 * num_pairs, dim))
        self.anchors = nn.Parameter(torch.randn(2 * num_pairs, 4))
        if anchors == "grid":
            self._reset_to_grid()

    def _reset_to_grid(self) -> None:
        """Pairs side by side over the image, both boxes of a pair 0.2 to 0.35 wide, contents half shared."""
        columns = math.ceil(math.sqrt(self.num_pairs))
        rows = math.ceil(self.num_pairs / columns)
        index = torch.arange(self.num_pairs)
        centers = torch.stack([(index % columns + 0.5) / columns, (index // columns + 0.5) / rows], -1)
        subjects = torch.cat([centers, torch.empty(self.num_pairs, 2).uniform_(0.2, 0.35)], -1)
        objects = torch.cat(
            [
                (centers + 0.03 * torch.randn_like(centers)).clamp(0.02, 0.98),
                torch.empty(self.num_pairs, 2).uniform_(0.2, 0.35),
            ],
            -1,
        )
        with torch.no_grad():
            self.anchors.copy_(torch.logit(torch.cat([subjects, objects])))
            shared = torch.randn(self.num_pairs, self.content.shape[1]).repeat(2, 1)
            self.content.copy_((self.content + shared) / math.sqrt(2))

    def forward(self, batch_size: int) -> PairQueries:
        """The same queries for every image."""
        boxes = self.anchors.sigmoid().expand(batch_size, -1, -1)
        relation = self.relation_content[: self.num_pairs] + self.relation_content[self.num_pairs :]
        return PairQueries(
            subject_boxes=boxes[:, : self.num_pairs],
            object_boxes=boxes[:, self.num_pairs :],
            content=self.content.expand(batch_size, -1, -1),
            relation_content=relation.expand(batch_size, -1, -1),
        )


class MultiBranchFusion(nn.Module):
    """Fuses subject and object features into a relation feature through products in many narrow branches.

    `relu(sum_n W3_n relu((W1_n a) * (W2_n b)))`: the branches are stacked into three matrices; the
    output biases stay one per branch, as the optimiser sees them in the official code.
    Official: models/ParSetransformer.py, MultiBranchFusion.
    """

    def __init__(self, dim: int, *, branches: int = 16) -> None:
        super().__init__()
        if dim % branches:
            raise ValueError(f"dim={dim} is not divisible by branches={branches}")
        self.branches = branches
        self.first, self.second = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.output_weight = nn.Parameter(torch.empty(dim, dim))
        self.output_bias = nn.Parameter(torch.empty(branches, dim))
        # Linear default of one branch, whose input is dim / branches wide.
        bound = 1 / math.sqrt(dim / branches)
        nn.init.uniform_(self.output_weight, -bound, bound)
        nn.init.uniform_(self.output_bias, -bound, bound)

    def forward(self, first: Float[Tensor, "... d"], second: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """Same shape as the inputs."""
        hidden = F.relu(self.first(first) * self.second(second))
        return F.relu(F.linear(hidden, self.output_weight, self.output_bias.sum(0)))
