"""Query denoising: noisy copies of the labelled pairs as extra training queries (not in the paper).

DN-DETR (CVPR 2022) applied to pairs, with the noise that RLIPv2's Relation Tagger uses. Off in every
published recipe; it makes very short trainings converge.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rlipv2.models.queries import PairQueries
from rlipv2.structures import RelationTarget


@dataclass(frozen=True)
class DenoisingBatch:
    """Extra queries and which of them are real; `groups` tells the copy a row belongs to, -1 for padding."""

    queries: PairQueries
    groups: Tensor

    def attention_mask(self, num_pairs: int) -> Bool[Tensor, "b n n"]:
        """True where a pair (row) must not see another: ordinary pairs see each other, copies see their own."""
        batch, count = self.groups.shape
        ordinary = torch.full((batch, num_pairs), -2, device=self.groups.device)
        groups = torch.cat([ordinary, self.groups], dim=1)
        hidden = groups[:, :, None] != groups[:, None, :]
        padding = groups == -1
        hidden = hidden | padding[:, None, :]
        # A row sees at least itself, as attention over nothing is not defined.
        return hidden & ~torch.eye(num_pairs + count, dtype=torch.bool, device=hidden.device)


class DenoisingQueries(nn.Module):
    """Makes queries from the labelled pairs of a batch with shifted boxes and replaced labels.

    Args:
        dim: width.
        copies: noisy copies of every pair.
        box_noise: centres move by up to this part of half the size, sizes change by up to this part.
        label_noise: probability that a label is replaced by a random object.
    """

    def __init__(self, dim: int = 256, *, copies: int = 3, box_noise: float = 0.4, label_noise: float = 0.2) -> None:
        super().__init__()
        self.copies, self.box_noise, self.label_noise = copies, box_noise, label_noise
        self.label_projection = nn.Linear(dim, dim)
        self.role = nn.Parameter(torch.zeros(2, dim))
        self.relation_content = nn.Parameter(torch.zeros(dim))

    def forward(self, targets: list[RelationTarget], texts: Float[Tensor, "b t d"], num_objects: int) -> DenoisingBatch:
        """Queries for `copies` of every target, copy by copy; `num_objects` includes the background text.

        Row k of image b belongs to target k % len(targets[b]). There is at least one row, so that the
        parameters take part in every step.
        """
        rows = max(1, *(self.copies * len(target) for target in targets))
        device = texts.device
        groups = torch.full((len(targets), rows), -1, device=device)
        boxes = torch.full((2, len(targets), rows, 4), 0.5, device=device)
        labels = torch.zeros((2, len(targets), rows), dtype=torch.long, device=device)
        for image, target in enumerate(targets):
            count = self.copies * len(target)
            groups[image, :count] = torch.arange(self.copies, device=device).repeat_interleave(len(target))
            boxes[0, image, :count] = target.subject_boxes.repeat(self.copies, 1)
            boxes[1, image, :count] = target.object_boxes.repeat(self.copies, 1)
            labels[0, image, :count] = target.subject_labels.repeat(self.copies)
            labels[1, image, :count] = target.object_labels.repeat(self.copies)
        boxes, labels = self._shift(boxes), self._replace(labels, num_objects - 1)
        images = torch.arange(len(targets), device=device)[:, None]
        content = [self.label_projection(texts.detach()[images, labels[side]]) + self.role[side] for side in range(2)]
        return DenoisingBatch(
            queries=PairQueries(
                subject_references=boxes[0],
                object_references=boxes[1],
                content=torch.cat(content, dim=1),
                relation_content=self.relation_content.expand(len(targets), rows, -1),
            ),
            groups=groups,
        )

    def _shift(self, boxes: Tensor) -> Tensor:
        """Noise relative to each clean box, clamped to the image."""
        reach = torch.cat([boxes[..., 2:] / 2, boxes[..., 2:]], dim=-1) * self.box_noise
        return (boxes + (2 * torch.rand_like(boxes) - 1) * reach).clamp(0, 1)

    def _replace(self, labels: Tensor, num_labels: int) -> Tensor:
        replace = torch.rand(labels.shape, device=labels.device) < self.label_noise
        return torch.where(replace, torch.randint_like(labels, num_labels), labels)


def join_queries(first: PairQueries, extra: DenoisingBatch) -> PairQueries:
    """Both sets of pairs, those of `first` first, with masks that hide them from each other."""
    second = extra.queries
    (first_subjects, first_objects), (second_subjects, second_objects) = (
        queries.content.chunk(2, dim=1) for queries in (first, second)
    )
    mask = extra.attention_mask(first.num_pairs)
    return PairQueries(
        subject_references=torch.cat([first.subject_references, second.subject_references], dim=1),
        object_references=torch.cat([first.object_references, second.object_references], dim=1),
        content=torch.cat([first_subjects, second_subjects, first_objects, second_objects], dim=1),
        relation_content=torch.cat([first.relation_content, second.relation_content], dim=1),
        entity_mask=mask.repeat(1, 2, 2),
        relation_mask=mask,
    )
