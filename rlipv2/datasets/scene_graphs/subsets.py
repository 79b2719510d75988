"""Which relations and images of a file of scene graphs count."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json
from rlipv2.datasets.records import relation_images
from rlipv2.datasets.scene_graphs.reader import SceneGraphContent


def first_of_each(content: SceneGraphContent) -> Bool[np.ndarray, " h"]:
    """True for the most confident of equal (image, subject, object, name), the first of them on a tie."""
    keys = np.concatenate([relation_images(content.records)[:, None], content.records.relations], axis=1)
    order = np.argsort(-content.confidences, kind="stable")
    _, first = np.unique(keys[order], axis=0, return_index=True)
    keep = np.zeros(len(keys), bool)
    keep[order[first]] = True
    return keep


def first_relations(content: SceneGraphContent, count: int, *, order: str = "file") -> Bool[np.ndarray, " h"]:
    """True for the first `count` relations of each image, in order of the file or of falling confidence."""
    images = relation_images(content.records)
    keys = -content.confidences if order == "confidence" else np.zeros(len(images))
    ranking = np.lexsort((keys, images))  # stable: ties in file order
    position = np.arange(len(images)) - content.records.relation_ptr[images]
    keep = np.zeros(len(images), bool)
    keep[ranking] = position < count
    return keep


def overlapping(content: SceneGraphContent) -> Bool[np.ndarray, " h"]:
    """True for relations between two boxes that share some area.

    Official: datasets/mixed_dataset.py, check_overlap; `overlap` of a relation, which some files tell, is not read.
    """
    records = content.records
    first = records.box_ptr[:-1][relation_images(records)]
    subjects, objects = (records.boxes[first + records.relations[:, end]].astype(np.float64) for end in (0, 1))
    starts, ends = np.maximum(subjects[:, :2], objects[:, :2]), np.minimum(subjects[:, 2:], objects[:, 2:])
    return np.asarray((starts < ends).all(axis=1))


def excluded_images(content: SceneGraphContent, ids: Sequence[int | str]) -> Bool[np.ndarray, " i"]:
    """True for the images of these ids: numbers as in the file, or names of image files ("HICO_..._00000001.jpg").

    Raises:
        ValueError: numbers, where the file has names as ids.
    """
    check_excluded(ids, numbered=content.numbered)
    numbers = [value for value in ids if isinstance(value, int)]
    names = {value for value in ids if isinstance(value, str)}
    files = [name.rpartition("/")[2] in names for name in content.records.file_names] if names else False
    return np.asarray(np.isin(content.records.image_ids, np.array(numbers, np.int64)) | np.array(files))


def check_excluded(ids: Sequence[int | str], *, numbered: bool) -> None:
    """Refuses numbers where a file has names as ids.

    Raises:
        ValueError: there are some.
    """
    numbers = [value for value in ids if isinstance(value, int)]
    if numbers and not numbered:
        raise ValueError(f"exclude_ids holds {numbers[0]}, but image ids are names in this corpus; give file names")


def read_ids(path: Path) -> list[int | str]:
    """A JSON list of image ids.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: another content.
    """
    ids = read_json(path)
    if not isinstance(ids, list) or not {type(value) for value in ids} <= {int, str}:
        raise AnnotationError.in_file(path, "not a list of image ids", "expected numbers or file names, as [1, 2]")
    return ids
