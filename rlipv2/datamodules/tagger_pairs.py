"""The pairs that the Relation Tagger is given in training and evaluation: related ones, then unrelated ones."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from rlipv2.datamodules.collate import build_target
from rlipv2.ops.boxes import xyxy_to_cxcywh
from rlipv2.structures import RelationTarget, Sample

STREAM = 1
"""Keeps the draws apart from those of the labels, which are seeded with the same number."""


def tagger_target(sample: Sample, size: tuple[int, int], *, num_pairs: int) -> RelationTarget:
    """Up to `num_pairs` ordered pairs of boxes: the related ones first, then others with a row of zeros.

    All related pairs and, in the places left, all others or a random sample of them; where more pairs are related
    than there are places, a random sample of those. Others join two different boxes; a box related to itself (noise of
    Visual Genome) is a related pair. Official: datasets/vg.py, VGRelTagger, whose `pos_neg_ratio` has no effect.

    Args:
        sample: after augmentation; boxes without area are left out, with their relations.
        size: (height, width) of the image that the boxes are measured in, pixels.
        num_pairs: pairs that the model takes.
    """
    if num_pairs < 1:
        raise ValueError(f"num_pairs={num_pairs}: expected at least 1")
    generator = np.random.default_rng([sample.draw, STREAM])
    annotation = sample.annotation.clipped(*size)
    related = build_target(annotation, size, num_relations=len(sample.label_space.relations))
    if len(related) > num_pairs:
        related = _take(related, _some(len(related), num_pairs, generator))
    others = unrelated_pairs(annotation.relations, len(annotation.labels))
    subjects, objects = others[_some(len(others), num_pairs - len(related), generator)].unbind(1)
    height, width = size
    boxes = xyxy_to_cxcywh(annotation.boxes_xyxy) / torch.tensor([width, height, width, height])
    unrelated = RelationTarget(
        subject_boxes=boxes[subjects],
        object_boxes=boxes[objects],
        subject_labels=annotation.labels[subjects],
        object_labels=annotation.labels[objects],
        relations=related.relations.new_zeros(len(subjects), related.relations.shape[1]),
    )
    parts = (vars(related), vars(unrelated))
    return RelationTarget(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _some(size: int, count: int, generator: np.random.Generator) -> Int[Tensor, " k"]:
    """`count` of `size` rows at random, or all of them in order."""
    rows = np.arange(size) if size <= count else generator.choice(size, count, replace=False)
    return torch.from_numpy(rows)


def _take(target: RelationTarget, rows: Int[Tensor, " k"]) -> RelationTarget:
    return RelationTarget(**{name: tensor[rows] for name, tensor in vars(target).items()})


def unrelated_pairs(relations: Int[Tensor, "h 3"], num_boxes: int) -> Int[Tensor, "k 2"]:
    """Rows (subject, object) of two different boxes that no relation joins, in order of subject and object."""
    free = ~torch.eye(num_boxes, dtype=torch.bool)
    free[relations[:, 0], relations[:, 1]] = False
    return free.nonzero()
