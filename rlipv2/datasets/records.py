"""What all datasets ask of their records: which images relations belong to, what is missing, the first boxes."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from rlipv2.structures import RelationRecords


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
