"""What all datasets ask of their records: which images relations belong to, what is missing, the first boxes."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.structures import RelationRecords

logger = logging.getLogger(__name__)


def relation_images(records: RelationRecords) -> Int[np.ndarray, " h"]:
    """The position in the split of the image that each relation belongs to."""
    return np.repeat(np.arange(len(records)), np.diff(records.relation_ptr))


def out_of_range(records: RelationRecords) -> Bool[np.ndarray, " h"]:
    """True for relations that refer to a box their image does not have."""
    counts = np.diff(records.box_ptr)[relation_images(records)]
    return (records.relations[:, :2] >= counts[:, None]).any(axis=1)


def first_boxes(records: RelationRecords, count: int) -> RelationRecords:
    """The records with the first `count` boxes of each image and the relations among them.

    Relations without object only need their subject. Official: HICODetection and VCOCO, which cut the
    annotations of a record at the number of queries.
    """
    if count < 1:
        raise ValueError(f"max_boxes={count}: expected at least 1, or None for all")
    lengths = np.diff(records.box_ptr)
    if not len(lengths) or lengths.max() <= count:
        return records
    position = np.arange(len(records.boxes)) - np.repeat(records.box_ptr[:-1], lengths)
    kept = position < count
    box_ptr = np.concatenate([[0], np.cumsum(np.minimum(lengths, count))]).astype(np.int64)
    records = records.keep_relations(np.asarray((records.relations[:, :2] < count).all(axis=1)))
    return dataclasses.replace(records, boxes=records.boxes[kept], labels=records.labels[kept], box_ptr=box_ptr)


def missing_images(folder: Path, file_names: Sequence[str]) -> list[str]:
    """Those of the files that are not in the folder, in order; one listing instead of a look at each."""
    present = set(os.listdir(folder))
    return [name for name in dict.fromkeys(file_names) if name not in present and not (folder / name).is_file()]


def require_images(
    folder: Path, file_names: Sequence[str], *, readme: str, check: str, todo: str = "unpack the image archive fully"
) -> None:
    """Checks that every image is there, so that training does not stop at the first that is not.

    Args:
        folder: what the file names are relative to.
        file_names: of all images of a split.
        readme: file that shows the layout.
        check: command that finds everything else that is wrong.
        todo: how missing images get there.

    Raises:
        DatasetNotFoundError: the folder or images are missing; names the first of them.
    """
    if not folder.is_dir():
        raise DatasetNotFoundError.missing("image folder", folder, f"see {readme} for the layout")
    missing = missing_images(folder, file_names)
    if missing:
        raise DatasetNotFoundError(
            f"{folder}: {len(missing):,} of {len(file_names):,} images are missing ({', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}); {todo}, then run `{check}`"
        )


def drop_broken(
    records: RelationRecords, path: Path, *, training: bool, max_skip_rate: int | float, field: str
) -> RelationRecords:
    """The records without images that have a relation to a box that does not exist.

    Official: the readers of the HOIA formats, which leave such images out of training. Too many, or any in
    evaluation, are an error.

    Args:
        records: of one split, in the order of the file.
        path: the annotation file.
        training: images may be left out.
        max_skip_rate: share of the images that may.
        field: what the file calls its relations.

    Raises:
        AnnotationError: names the first record.
    """
    broken = out_of_range(records)
    if not broken.any():
        return records
    images = np.unique(relation_images(records)[broken])
    if training and len(images) <= max_skip_rate * len(records):
        what = "%s: %d images are skipped, a relation of theirs refers to a box they do not have; the first is %s"
        logger.warning(what, path, len(images), records.file_names[images[0]])
        return records.select(np.setdiff1d(np.arange(len(records)), images))
    image, row = int(images[0]), int(np.flatnonzero(broken)[0])
    todo = "rows count from 0; evaluation cannot leave images out, so correct the record"
    if training:
        todo = (
            f"{len(images):,} of {len(records):,} images have such relations, more than training may leave out "
            f"(max_skip_rate={max_skip_rate}): correct the records, or raise max_skip_rate to train without them"
        )
    raise AnnotationError.in_record(
        path,
        image,
        records.file_names[image],
        field=field,
        value=records.relations[row, :2].tolist(),
        wrong=f"the image has {int(np.diff(records.box_ptr)[image])} boxes",
        todo=todo,
        more=int(broken.sum()) - 1,
    )
