"""The label space of a user's own data: which names there are, in which order, and how splits agree on it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from rlipv2.datasets.custom.layout import CustomContent, annotation_path
from rlipv2.datasets.custom.read import read_custom
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.records import relation_images
from rlipv2.structures import LabelSpace, RelationRecords

Choice = Literal["train", "all"]


def read_label_space(root: str | Path, choice: Choice = "train", splits: Sequence[str] = ("train",)) -> LabelSpace:
    """The names that the splits of a dataset count in.

    Args:
        root: folder of the dataset.
        choice: "train" for the names of the first split; "all" for those, followed by the names that only the
            others have, sorted: to evaluate on words that training does not show.
        splits: the training split first; with "all" splits without a file are passed over.

    Raises:
        DatasetNotFoundError: the file of the training split is not there, or with "all" none is.
        AnnotationError: a file cannot be used, or there is no object or no relation in any of them.
        ValueError: another choice.
    """
    if choice not in ("train", "all"):
        raise ValueError(f"label_space={choice!r}: expected 'train' or 'all'")
    paths = [annotation_path(root, split) for split in dict.fromkeys(splits)]
    if choice == "train" and not paths[0].is_file():
        raise DatasetNotFoundError.missing(
            "annotation file of the training split",
            paths[0],
            "the label space is made of its names; to evaluate without it give data.label_space=all",
        )
    found = [path for path in paths if path.is_file()] if choice == "all" else paths[:1]
    if not found:
        todo = "docs/custom_data.md describes what belongs there"
        raise DatasetNotFoundError.missing("annotation file", paths[0], todo)
    return label_space_of([read_custom(path) for path in found])


def label_space_of(contents: Sequence[CustomContent]) -> LabelSpace:
    """The names of the first file in their order, then those that only further files have, sorted.

    Raises:
        AnnotationError: no object, or no relation, in any of them.
    """
    lists: dict[str, tuple[str, ...]] = {}
    for kind in ("objects", "relations"):
        first, *others = (getattr(content, kind) for content in contents)
        lists[kind] = (*first, *sorted({name for names in others for name in names} - set(first)))
        if not lists[kind]:
            wrong = f"no image has any {kind}, so there is nothing to learn"
            raise AnnotationError.in_file(contents[0].path, wrong, "label some, see docs/custom_data.md")
    return LabelSpace(**lists)


def relabel(content: CustomContent, label_space: LabelSpace) -> RelationRecords:
    """The records of a file with labels that count in `label_space`.

    Raises:
        AnnotationError: a name that occurs in the file but not in the label space; names the record.
    """
    records = content.records
    box_images = np.repeat(np.arange(len(records)), np.diff(records.box_ptr))
    labels = _translate(content, "objects", records.labels, label_space.objects, box_images, records.box_ptr)
    relations = records.relations.copy()
    relations[:, 2] = _translate(
        content,
        "relations",
        relations[:, 2],
        label_space.relations,
        relation_images(records),
        records.relation_ptr,
    )
    return replace(records, labels=labels, relations=relations)


def _translate(
    content: CustomContent, kind: str, labels: np.ndarray, known: Sequence[str], images: np.ndarray, ptr: np.ndarray
) -> np.ndarray:
    """Labels that count in the names of the file as labels that count in `known`."""
    names: tuple[str, ...] = getattr(content, kind)
    positions = {name: row for row, name in enumerate(known)}
    rows = np.array([positions.get(name, -1) for name in names], np.int64)
    translated = rows[labels] if len(labels) else labels
    unknown = np.flatnonzero(translated < 0)
    if len(unknown):
        row = int(unknown[0])
        image = int(images[row])
        raise AnnotationError.in_record(
            content.path,
            image,
            content.records.file_names[image],
            field=f"{kind}[{row - int(ptr[image])}].name",
            value=names[labels[row]],
            wrong=f"not among the {len(known)} {kind} that training knows",
            todo="correct the name, or give data.label_space=all to evaluate on words that training does not show",
            more=len(unknown) - 1,
        )
    return translated
