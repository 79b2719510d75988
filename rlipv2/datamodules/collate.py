"""Samples of many sizes -> one `RelationBatch`: padded images, masks, one target row per pair."""

from collections.abc import Sequence
from typing import Literal

import torch

from rlipv2.ops.boxes import xyxy_to_cxcywh
from rlipv2.ops.padding import pad_images
from rlipv2.structures import Annotation, LabelSpace, RelationBatch, RelationTarget, Sample
from rlipv2.transforms import clip_annotation


def build_target(
    annotation: Annotation, size: tuple[int, int], *, num_relations: int, subject_label: int | None = None
) -> RelationTarget:
    """One row per distinct (subject box, object box), in order of first occurrence in the record.

    Pairs are merged by box *index*, not by overlap; the relations of a pair become one multi-hot row.
    Boxes are clipped to the image; pairs with a box left without area are dropped (evaluation records
    are not cleaned before).

    Args:
        annotation: boxes x1 y1 x2 y2 in pixels.
        size: (height, width) of the image those pixels belong to.
        num_relations: width of the multi-hot rows.
        subject_label: label given to every subject instead of its own (None: its own). Official HICO-DET
            and V-COCO fine-tuning uses 1 ("bicycle") for persons; see docs/parity.md.
    """
    height, width = size
    annotation = clip_annotation(annotation, height, width)
    rows: dict[tuple[int, int], int] = {}
    triplets = [tuple(row) for row in annotation.relations.tolist()]
    for subject, object_, _ in triplets:
        rows.setdefault((subject, object_), len(rows))
    relations = torch.zeros(len(rows), num_relations)
    for subject, object_, relation in triplets:
        relations[rows[subject, object_], relation] = 1.0
    pairs = torch.tensor(list(rows), dtype=torch.int64).reshape(-1, 2)
    boxes = xyxy_to_cxcywh(annotation.boxes_xyxy) / torch.tensor([width, height, width, height])
    subject_labels = annotation.labels[pairs[:, 0]]
    if subject_label is not None:
        subject_labels = torch.full_like(subject_labels, subject_label)
    return RelationTarget(
        subject_boxes=boxes[pairs[:, 0]],
        object_boxes=boxes[pairs[:, 1]],
        subject_labels=subject_labels,
        object_labels=annotation.labels[pairs[:, 1]],
        relations=relations,
    )


def _common_label_space(samples: Sequence[Sample]) -> LabelSpace:
    spaces = {sample.label_space for sample in samples}
    if len(spaces) != 1:
        raise ValueError(
            f"a batch of {len(samples)} samples has {len(spaces)} different label spaces; expected samples of one "
            "dataset, whose labels count in the same names"
        )
    return spaces.pop()


def collate(
    items: Sequence[tuple[int, Sample]],
    *,
    boxes_in: Literal["image", "original"] = "image",
    subject_label: int | None = None,
) -> RelationBatch:
    """A batch of (position in the dataset, sample) items.

    Args:
        items: at least one; all of one label space.
        boxes_in: what the boxes of the annotations are measured in: pixels of the transformed image
            (training: such annotations do not reach the batch, whose metrics want original pixels) or
            pixels of the stored image (evaluation).
        subject_label: see `build_target`.

    Raises:
        ValueError: samples with different label spaces.
    """
    samples = [sample for _, sample in items]
    label_space = _common_label_space(samples)
    images, padding_mask = pad_images([sample.image for sample in samples])
    original = boxes_in == "original"
    targets = [
        build_target(
            sample.annotation,
            sample.original_size if original else (sample.image.shape[1], sample.image.shape[2]),
            num_relations=len(label_space.relations),
            subject_label=subject_label,
        )
        for sample in samples
    ]
    return RelationBatch(
        images=images,
        padding_mask=padding_mask,
        label_space=label_space,
        targets=targets,
        annotations=[sample.annotation for sample in samples] if original else [],
        original_sizes=torch.tensor([sample.original_size for sample in samples], dtype=torch.int64),
        indices=torch.tensor([index for index, _ in items], dtype=torch.int64),
    )
