"""The label space of Open Images v6 (scene graphs), read from its files."""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.open_images.files import (
    ALL_SPLITS,
    CATEGORIES,
    OCCURRING_CATEGORIES,
    Annotations,
    Categories,
    find_kind,
    find_root,
    read_categories,
)
from rlipv2.datasets.open_images.reader import read
from rlipv2.structures import LabelSpace, RelationRecords

Objects = Literal["occurring", "all"]
Spelling = Literal["raw", "words"]


def read_label_space(
    root: str | Path, *, annotations: Annotations = "auto", objects: Objects = "occurring", spelling: Spelling = "raw"
) -> LabelSpace:
    """The words that labels count in, read from the files.

    Args:
        root: folder `open_image_v6`, or the one that holds it.
        annotations: as for `OpenImagesSGG`.
        objects: "occurring" for the classes of any box in train, val and test, in the order of `categories_dict.json`
            (official: 288; read from `OI_SGG_trainval_test_categories_dict.json` if that is there, else counted, for
            which the annotations of all splits must be there); "all" for all 601.
        spelling: "raw" for names as in the file, which published models are trained with ("Man", "inside_of"); "words"
            for lower case and blanks, as in the texts of pre-training ("man", "inside of").

    Raises:
        DatasetNotFoundError: a file is not there.
        AnnotationError: a file cannot be used.
        ValueError: options that do not exist.
    """
    if objects not in ("occurring", "all") or spelling not in ("raw", "words"):
        raise ValueError(
            f"objects={objects!r}, spelling={spelling!r}: expected 'occurring' or 'all', and 'raw' or 'words'"
        )
    root = find_root(root)
    categories = read_categories(root / CATEGORIES)
    names = categories.objects if objects == "all" else _occurring(root, categories, annotations)
    if spelling == "words":
        return LabelSpace(tuple(map(in_words, names)), tuple(map(in_words, categories.relations)))
    return LabelSpace(names, categories.relations)


def in_words(name: str) -> str:
    """A class name as a text in lower case.

    >>> in_words("Inside_of")
    'inside of'
    """
    return name.lower().replace("_", " ")


def _occurring(root: Path, categories: Categories, annotations: Annotations) -> tuple[str, ...]:
    listed = root / OCCURRING_CATEGORIES
    if listed.is_file():
        names = read_categories(listed).objects
        unknown = sorted(set(names) - set(categories.objects))
        if unknown:
            wrong = f"{unknown[0]!r} is not in {categories.path.name}"
            raise AnnotationError.in_file(listed, wrong, "both files must be of the same package")
        return names
    kind = find_kind(root, "test", annotations)
    labels = [np.unique(read(root / name, categories).labels) for name in ALL_SPLITS[kind]]
    return tuple(categories.objects[row] for row in np.unique(np.concatenate(labels)))


def relabel(records: RelationRecords, categories: Categories, label_space: LabelSpace, path: Path) -> RelationRecords:
    """The records with labels that count in `label_space` instead of in `categories`.

    Raises:
        AnnotationError: a class that the label space lacks; names the record.
    """
    spellings = {name: row for row, name in enumerate(label_space.objects)}
    rows = np.array([spellings.get(name, spellings.get(in_words(name), -1)) for name in categories.objects], np.int64)
    labels = rows[records.labels]
    if (labels < 0).any():
        row = int(np.flatnonzero(labels < 0)[0])
        image = int(np.searchsorted(records.box_ptr, row, side="right")) - 1
        raise AnnotationError.in_record(
            path,
            image,
            records.file_names[image],
            field=f"label of box {row - int(records.box_ptr[image])}",
            value=categories.objects[records.labels[row]],
            wrong=f"not one of the {len(label_space.objects)} objects of the label space",
            todo=f"{OCCURRING_CATEGORIES} belongs to other annotations: remove it",
            more=int((labels < 0).sum()) - 1,
        )
    return dataclasses.replace(records, labels=labels)
