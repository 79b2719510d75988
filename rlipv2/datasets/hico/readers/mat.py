"""Reader of the original release, `anno_bbox.mat`.

`bbox_train` and `bbox_test` are struct arrays: `filename`; `size` (width, height, depth); `hoi`, each with
`id` (1 to 600), `bboxhuman` and `bboxobject` (x1, x2, y1, y2; 1-based, inclusive), `connection` (rows of
the two, from 1) and `invis` (1: not visible, without boxes).
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy.io import loadmat

from rlipv2.datasets import numbers
from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.hico.readers.pairs import PairContent
from rlipv2.datasets.numbers import Locator
from rlipv2.vocabularies import HICOVocabulary


def read(path: Path, split: Literal["train", "test"], vocabulary: HICOVocabulary) -> PairContent:
    """The pairs of one split; interactions marked as invisible have no boxes and are skipped.

    Raises:
        AnnotationError: no such split in the file, ids that do not exist, or connections to boxes
            that do not exist.
    """
    name = f"bbox_{split}"
    try:
        # only the wanted half is parsed: MATLAB files are slow to read
        content = loadmat(str(path), variable_names=[name], squeeze_me=True, struct_as_record=False)
    except Exception as error:  # scipy raises many kinds on damaged files
        wrong = f"not a readable MATLAB file ({error})"
        raise AnnotationError.in_file(path, wrong, "download the original release again") from error
    if name not in content:
        wrong = f"no variable {name}"
        raise AnnotationError.in_file(path, wrong, "expected anno_bbox.mat of the release hico_20160224_det")
    images = np.atleast_1d(content[name])
    try:
        return _flatten(images, path, vocabulary)
    except AttributeError as error:
        wrong = f"{name} is not built as expected ({error})"
        raise AnnotationError.in_file(path, wrong, "expected anno_bbox.mat of the release hico_20160224_det") from error


def _flatten(images: np.ndarray, path: Path, vocabulary: HICOVocabulary) -> PairContent:
    file_names = tuple(str(image.filename) for image in images)
    sizes = np.array([(int(image.size.height), int(image.size.width)) for image in images], np.int64)
    hois: list[int] = []
    boxes: list[Float[np.ndarray, "k 2 4"]] = [np.zeros((0, 2, 4))]
    lengths = []
    for number, image in enumerate(images):
        before = len(hois)
        for hoi in np.atleast_1d(image.hoi):
            if int(hoi.invis):
                continue
            pairs = _connected(hoi, path, number, file_names[number])
            boxes.append(pairs)
            hois.extend([int(hoi.id) - 1] * len(pairs))
        lengths.append(len(hois) - before)
    where = Locator(path, file_names, numbers.pointers(lengths))
    ids, pair_boxes = np.array(hois, np.int64), np.concatenate(boxes)
    where.check(
        (ids < 0) | (ids >= len(vocabulary.hois)),
        ids + 1,
        field="hoi.id",
        wrong="unknown interaction id",
        todo=f"expected 1..{len(vocabulary.hois)}",
    )
    bad = ~np.isfinite(pair_boxes).all(axis=(1, 2))
    where.check(bad, pair_boxes, field="hoi.bbox", wrong="not finite", todo="correct or remove this box")
    return PairContent(file_names, sizes, ids, pair_boxes[:, 0], pair_boxes[:, 1], where.ptr)


def _connected(hoi: Any, path: Path, number: int, image: str) -> Float[np.ndarray, "k 2 4"]:
    """The (human box, object box) of every connection of one interaction."""
    humans, objects = _boxes(hoi.bboxhuman), _boxes(hoi.bboxobject)
    # squeezing turns a single connection into a flat pair of numbers
    connections = np.asarray(hoi.connection, np.int64).reshape(-1, 2)
    limits = np.array([len(humans), len(objects)])
    if ((connections < 1) | (connections > limits)).any():
        raise AnnotationError.in_record(
            path,
            number,
            image,
            field="hoi.connection",
            value=connections.tolist(),
            wrong=f"refers to a box that does not exist ({len(humans)} human, {len(objects)} object boxes)",
            todo="rows count from 1; download the original release again",
        )
    return np.stack([humans[connections[:, 0] - 1], objects[connections[:, 1] - 1]], axis=1)


def _boxes(structs: Any) -> Float[np.ndarray, "n 4"]:
    rows = [[float(box.x1), float(box.y1), float(box.x2), float(box.y2)] for box in np.atleast_1d(structs)]
    return np.array(rows, np.float64).reshape(-1, 4)
