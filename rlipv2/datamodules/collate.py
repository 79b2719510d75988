"""Samples of many sizes -> one `RelationBatch`: padded images, masks, one target row per pair."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import get_worker_info

from rlipv2.ops.boxes import xyxy_to_cxcywh
from rlipv2.ops.padding import pad_images
from rlipv2.structures import Annotation, LabelSpace, RelationBatch, RelationTarget, Sample


def build_target(
    annotation: Annotation,
    size: tuple[int, int],
    *,
    num_relations: int,
    subject_label: int | None = None,
    missing_object: int | None = None,
) -> RelationTarget:
    """One row per distinct (subject box, object box), in order of first occurrence in the record.

    Pairs are merged by box *index*, not by overlap; the relations of a pair become one multi-hot row.
    Boxes are clipped to the image; pairs with a box left without area are dropped (evaluation records
    are not cleaned before). All relations of a subject without object (-1) share a row, whose object
    box is exactly zero.

    Args:
        annotation: boxes x1 y1 x2 y2 in pixels.
        size: (height, width) of the image those pixels belong to.
        num_relations: width of the multi-hot rows.
        subject_label: label given to every subject instead of its own (None: its own). Official HICO-DET
            and V-COCO fine-tuning uses 1 ("bicycle") for persons; see docs/parity.md.
        missing_object: label of the object that a relation does not have.

    Raises:
        ValueError: a relation without object and no label for it.
    """
    height, width = size
    annotation = annotation.clipped(height, width)
    # arrays in here: on a few dozen numbers the calls of torch take several times as long
    triplets = annotation.relations.numpy()
    rows: dict[tuple[int, int], int] = {}
    pair_of_each = [rows.setdefault((subject, object_), len(rows)) for subject, object_, _ in triplets.tolist()]
    relations = np.zeros((len(rows), num_relations), np.float32)
    relations[pair_of_each, triplets[:, 2]] = 1.0
    subjects, objects = np.array(list(rows), np.int64).reshape(-1, 2).T
    if missing_object is None and (objects < 0).any():
        raise ValueError(
            f"image {annotation.image_id} ({annotation.file_name}): a relation without object, but the label space "
            f"has no object {LabelSpace.MISSING_OBJECT!r}; add it, or leave such relations out"
        )
    # index -1 finds the last row, of the object of relations without one
    boxes = np.zeros((len(annotation.labels) + 1, 4), np.float32)
    boxes[:-1] = xyxy_to_cxcywh(annotation.boxes_xyxy).numpy() / np.array([width, height, width, height], np.float32)
    labels = np.full(len(boxes), -1 if missing_object is None else missing_object)
    labels[:-1] = annotation.labels.numpy()
    subject_labels = labels[subjects] if subject_label is None else np.full(len(subjects), subject_label)
    return RelationTarget(
        subject_boxes=torch.from_numpy(boxes[subjects]),
        object_boxes=torch.from_numpy(boxes[objects]),
        subject_labels=torch.from_numpy(subject_labels),
        object_labels=torch.from_numpy(labels[objects]),
        relations=torch.from_numpy(relations),
    )


ChooseLabels = Callable[[Sequence[Sample]], LabelSpace]
"""The samples of a batch -> the label space of the batch, which holds at least all their labels."""

MakeTarget = Callable[[Sample, tuple[int, int]], RelationTarget]
"""(sample, size of the image that its boxes are measured in) -> the target of the image."""


def common_labels(samples: Sequence[Sample]) -> LabelSpace:
    """The one label space of all samples.

    Raises:
        ValueError: samples with different label spaces.
    """
    spaces = {sample.label_space for sample in samples}
    if len(spaces) != 1:
        raise ValueError(
            f"a batch of {len(samples)} samples has {len(spaces)} different label spaces; expected samples of one "
            "dataset, whose labels count in the same names, or a rule that merges them (choose_labels)"
        )
    return spaces.pop()


def relabel(sample: Sample, label_space: LabelSpace) -> Sample:
    """The sample with labels that count in another label space, by name.

    Raises:
        KeyError: a label whose name the other label space lacks.
    """
    if sample.label_space == label_space:
        return sample
    annotation = sample.annotation
    relations = annotation.relations.clone()
    relations[:, 2] = _rows(sample.label_space.relations, label_space.relations)[relations[:, 2]]
    labels = _rows(sample.label_space.objects, label_space.objects)[annotation.labels]
    if (labels < 0).any() or (relations[:, 2] < 0).any():
        raise KeyError(
            f"image {annotation.image_id} ({annotation.file_name}): a label is not among the "
            f"{len(label_space.objects)} objects and {len(label_space.relations)} relations asked for"
        )
    annotation = dataclasses.replace(annotation, labels=labels, relations=relations)
    return dataclasses.replace(sample, annotation=annotation, label_space=label_space)


def _rows(names: Sequence[str], among: Sequence[str]) -> Int[Tensor, " n"]:
    """Position of each name in another list, -1 where it is not in it."""
    rows = _row_of_each(tuple(among))
    return torch.tensor([rows.get(name, -1) for name in names], dtype=torch.int64)


@lru_cache(maxsize=4)  # objects and relations of the batch, for each of its samples
def _row_of_each(names: tuple[str, ...]) -> dict[str, int]:
    return {name: row for row, name in enumerate(names)}


def pair_target(sample: Sample, size: tuple[int, int], *, subject_label: int | None = None) -> RelationTarget:
    """The related pairs of a sample, see `build_target`."""
    space = sample.label_space
    return build_target(
        sample.annotation,
        size,
        num_relations=len(space.relations),
        subject_label=subject_label,
        missing_object=space.missing_object,
    )


def collate(
    items: Sequence[tuple[int, Sample]],
    *,
    boxes_in: Literal["image", "original"] = "image",
    subject_label: int | None = None,
    choose_labels: ChooseLabels = common_labels,
    make_target: MakeTarget | None = None,
) -> RelationBatch:
    """A batch of (position in the dataset, sample) items.

    Args:
        items: at least one.
        boxes_in: what the boxes of the annotations are measured in: pixels of the transformed image
            (training: such annotations do not reach the batch, whose metrics want original pixels) or
            pixels of the stored image (evaluation).
        subject_label: see `build_target`.
        choose_labels: gives the label space of the batch; by default that of all samples.
        make_target: gives the target of an image whose labels count in the label space of the batch; by
            default `pair_target` with `subject_label`.

    Raises:
        ValueError: samples with different label spaces, or a `subject_label` for another target.
        KeyError: a label that the chosen label space lacks.
    """
    if make_target is not None and subject_label is not None:
        raise ValueError(f"subject_label={subject_label} belongs to the default target: leave it out")
    make_target = make_target or partial(pair_target, subject_label=subject_label)
    label_space = choose_labels([sample for _, sample in items])
    samples = [relabel(sample, label_space) for _, sample in items]
    images, padding_mask = pad_images([sample.image for sample in samples], shared=get_worker_info() is not None)
    original = boxes_in == "original"
    targets = [
        make_target(sample, sample.original_size if original else (sample.image.shape[1], sample.image.shape[2]))
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
