"""Which relations and images of a file of scene graphs count."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

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


def missing_files(root: Path, names: Sequence[str]) -> list[str]:
    """Those of the files that are not there, in order; one listing per folder instead of a look at each file."""
    folders: dict[str, set[str]] = defaultdict(set)
    for folder in {name.rpartition("/")[0] for name in names}:
        if (root / folder).is_dir():
            folders[folder] = set(os.listdir(root / folder))
    return [name for name in dict.fromkeys(names) if name.rpartition("/")[2] not in folders[name.rpartition("/")[0]]]
