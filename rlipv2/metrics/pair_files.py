"""Prediction files of pairs: the layout that HICO-DET and scene-graph metrics share, checked while it is read.

Arrays (.npz), n images with q pairs each, boxes x1 y1 x2 y2 in pixels of the stored image:

    image_id     (n,)        whole numbers, as in the ground truth, every image once
    boxes        (n, m, 4)   floats
    labels       (n, m)      object class of each box
    sub_ids      (n, q)      row of `boxes` with the subject of each pair
    obj_ids      (n, q)      row of `boxes` with the object of each pair
    verb_scores  (n, q, r)   floats, final scores before any mask
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
from jaxtyping import Float, Int

from rlipv2.metrics.checks import (
    INVERTED,
    check_layout,
    fail,
    find_images,
    first_inverted,
    first_not_finite,
    largest_coordinate,
)
from rlipv2.metrics.files import ArrayFile, EvaluationFileError
from rlipv2.metrics.pairs import MAX_LABEL, PairArrays

BOX_SLACK = 1e-3
"""Pixels by which a predicted box may end before it starts: rounding."""

File = TypeVar("File", bound="PairPredictionFile")


class PairPredictionFile:
    """The predictions of all images of a ground truth, in the layout of this module; a context manager.

    Args:
        path: the file.
        image_ids: numbers of all images of the ground truth.
        truth_path: the ground-truth file, named in errors.
        num_objects: object classes a label may name.
        num_relations: columns the scores must have, None for any number.

    Attributes:
        image_ids: numbers of the images in file order.
        positions: their positions in the ground truth.
        num_relations: columns of the scores.
        largest_coordinate: of all boxes read so far, 0 before there are any.

    Raises:
        EvaluationFileError: a missing or misshapen array, images that are unknown, repeated or missing.
    """

    def __init__(
        self,
        path: str | Path,
        image_ids: Int[np.ndarray, " i"],
        truth_path: Path,
        *,
        num_objects: int = MAX_LABEL + 1,
        num_relations: int | None = None,
    ) -> None:
        self._file = ArrayFile(path)
        self.path = self._file.path
        self.num_objects = num_objects
        self.largest_coordinate = 0.0
        try:
            self.num_relations = self._check_shapes(num_relations)
            self.image_ids = self._file.array("image_id").astype(np.int64)
            self.positions = find_images(self.path, self.image_ids, image_ids, truth_path)
        except EvaluationFileError:
            self._file.close()
            raise

    def __enter__(self: File) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def compressed(self) -> list[str]:
        """Arrays that cannot be memory-mapped."""
        return self._file.compressed

    def pairs(self, step: int) -> Iterator[tuple[PairArrays, Float[np.ndarray, "i q r"]]]:
        """Pairs and scores of `step` images after the other, in file order.

        Raises:
            EvaluationFileError: values that are not finite, inverted boxes, class or box numbers out of range.
        """
        names = ["boxes", "labels", "sub_ids", "obj_ids", "verb_scores"]
        for run, rows in enumerate(self._file.rows(names, step)):
            if len(rows["labels"]):
                self._check_values(rows, run * step)
                self.largest_coordinate = max(self.largest_coordinate, largest_coordinate(rows["boxes"]))
                yield _pair_arrays(rows), rows["verb_scores"].astype(np.float32, copy=False)

    def _check_shapes(self, num_relations: int | None) -> int:
        shapes = check_layout(
            self._file,
            {
                "image_id": ("iu", ("n",)),
                "boxes": ("fiu", ("n", "m", 4)),
                "labels": ("iu", ("n", "m")),
                "sub_ids": ("iu", ("n", "q")),
                "obj_ids": ("iu", ("n", "q")),
                "verb_scores": ("f", ("n", "q", "r")),
            },
        )
        if num_relations is not None and shapes["r"] != num_relations:
            raise EvaluationFileError(
                f"{self.path}: verb_scores has {shapes['r']} columns, the class table {num_relations} relations; "
                "write one score per relation, in the order of the dataset"
            )
        return shapes["r"]

    def _check_values(self, rows: dict[str, np.ndarray], start: int) -> None:
        limits = {
            "labels": self.num_objects,
            "sub_ids": rows["labels"].shape[1],
            "obj_ids": rows["labels"].shape[1],
        }
        for field, limit in limits.items():
            values = rows[field]
            if values.size and (values.min() < 0 or values.max() >= limit):
                at = np.argwhere((values < 0) | (values >= limit))[0]
                self._fail_at(start, field, at, values, f"expected 0 to {limit - 1}", "correct it")
        for field in ("verb_scores", "boxes"):
            values = rows[field]
            at = first_not_finite(values)
            if at is not None:
                self._fail_at(start, field, at, values, "expected a finite number", "write 0 for what is not predicted")
        at = first_inverted(rows["boxes"], BOX_SLACK)
        if at is not None:
            self._fail_at(start, "boxes", at, rows["boxes"], *INVERTED)

    def _fail_at(
        self, start: int, field: str, at: Int[np.ndarray, " d"], values: np.ndarray, problem: str, advice: str
    ) -> NoReturn:
        place = f"{field}[{', '.join(str(index) for index in at[1:])}]"
        record = start + int(at[0])
        fail(self.path, record, int(self.image_ids[record]), place, values[tuple(at)].tolist(), problem, advice)


def _pair_arrays(rows: dict[str, np.ndarray]) -> PairArrays:
    subjects, objects = rows["sub_ids"].astype(np.int64), rows["obj_ids"].astype(np.int64)
    return PairArrays(
        subject_boxes=np.take_along_axis(rows["boxes"], subjects[..., None], axis=1).astype(np.float32, copy=False),
        object_boxes=np.take_along_axis(rows["boxes"], objects[..., None], axis=1).astype(np.float32, copy=False),
        subject_labels=np.take_along_axis(rows["labels"], subjects, axis=1).astype(np.int64),
        object_labels=np.take_along_axis(rows["labels"], objects, axis=1).astype(np.int64),
    )
