"""Ground-truth files of scene graphs, which Open Images and a user's own data share; checked record by record.

Arrays (.npz), image i owns `boxes[box_ptr[i]:box_ptr[i + 1]]` and `rels[rel_ptr[i]:rel_ptr[i + 1]]`:

    id       (i,)      unique number of each image
    box_ptr  (i + 1,)  offsets
    boxes    (n, 4)    x1 y1 x2 y2 in pixels of the stored image
    labels   (n,)      object class of each box
    rel_ptr  (i + 1,)  offsets
    rels     (h, 3)    subject box, object box (counted within the image), relation

`size` (i, 2) may be there and is not read. Predictions: `rlipv2.metrics.pair_files`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Float, Int

from rlipv2.metrics.checks import INVERTED, check_layout, fail, first_inverted, first_repeat
from rlipv2.metrics.files import ArrayFile, EvaluationFileError
from rlipv2.metrics.functional import GroundTruth, LabelledPairs
from rlipv2.metrics.pair_files import PairPredictionFile
from rlipv2.metrics.pairs import MAX_LABEL, PairArrays


@dataclass(frozen=True)
class SceneGraphFile:
    """The labels of a split.

    Attributes:
        path: named in errors.
        image_ids: unique number of each image.
        truth: labels of all images.
    """

    path: Path
    image_ids: Int[np.ndarray, " i"]
    truth: GroundTruth

    @classmethod
    def from_npz(cls, path: str | Path) -> "SceneGraphFile":
        """Reads the layout of this module.

        Raises:
            EvaluationFileError: a missing, misshapen or contradictory array; names file and record.
        """
        with ArrayFile(path) as file:
            shapes = check_layout(
                file,
                {
                    "id": ("iu", ("i",)),
                    "box_ptr": ("iu", ("i + 1",)),
                    "boxes": ("fiu", ("n", 4)),
                    "labels": ("iu", ("n",)),
                    "rel_ptr": ("iu", ("i + 1",)),
                    "rels": ("iu", ("h", 3)),
                },
            )
            if shapes["i + 1"] != shapes["i"] + 1:
                raise EvaluationFileError(
                    f"{file.path}: box_ptr and rel_ptr hold {shapes['i + 1']} offsets for {shapes['i']} images; "
                    "expected one more than images"
                )
            truth = GroundTruth(
                boxes=file.array("boxes").astype(np.float32),
                labels=file.array("labels").astype(np.int64),
                box_ptr=file.array("box_ptr").astype(np.int64),
                relations=file.array("rels").astype(np.int64),
                relation_ptr=file.array("rel_ptr").astype(np.int64),
            )
            return cls(file.path, file.array("id").astype(np.int64), truth)._checked()

    def triplets(self) -> Int[np.ndarray, "h 3"]:
        """Row (subject class, relation, object class) of each labelled pair."""
        pairs = LabelledPairs.from_ground_truth(self.truth)
        return np.stack([pairs.subject_labels, pairs.relations, pairs.object_labels], axis=1)

    def check_relations(self, num_relations: int, predictions: Path) -> None:
        """Checks that every labelled relation has a column in the predictions.

        Raises:
            EvaluationFileError: one has not; names the record.
        """
        for row in np.flatnonzero(self.truth.relations[:, 2] >= num_relations)[:1]:
            problem = f"{predictions} scores {num_relations} relations, 0 to {num_relations - 1}"
            self._fail_relation(row, problem, "evaluate predictions of the same relations")

    def _checked(self) -> "SceneGraphFile":
        truth, path = self.truth, self.path
        if len(self.image_ids) == 0:
            raise EvaluationFileError(f"{path}: holds no image")
        doubled = first_repeat(self.image_ids)
        if doubled is not None:
            self._fail(doubled, "id", self.image_ids[doubled], "the image is listed twice", "list it once")
        for name, ptr, rows in (
            ("box_ptr", truth.box_ptr, truth.boxes),
            ("rel_ptr", truth.relation_ptr, truth.relations),
        ):
            if ptr[0] != 0 or ptr[-1] != len(rows) or (np.diff(ptr) < 0).any():
                raise EvaluationFileError(
                    f"{path}: {name}: offsets must ascend from 0 to {len(rows)}, the number of rows"
                )
        images = np.repeat(np.arange(len(truth)), np.diff(truth.box_ptr))
        for row in np.flatnonzero(~np.isfinite(truth.boxes).all(axis=1))[:1]:
            self._fail(images[row], "boxes", truth.boxes[row].tolist(), "not finite", "correct the box")
        inverted = first_inverted(truth.boxes)
        if inverted is not None:
            row = inverted[0]
            self._fail(images[row], "boxes", truth.boxes[row].tolist(), *INVERTED)
        for row in np.flatnonzero((truth.labels < 0) | (truth.labels > MAX_LABEL))[:1]:
            self._fail(images[row], "labels", truth.labels[row], f"expected 0 to {MAX_LABEL}", "correct it")
        self._check_pairs()
        return self

    def _check_pairs(self) -> None:
        truth = self.truth
        images = np.repeat(np.arange(len(truth)), np.diff(truth.relation_ptr))
        counts = np.diff(truth.box_ptr)[images]
        boxes, relations = truth.relations[:, :2], truth.relations[:, 2]
        for row in np.flatnonzero((boxes < 0).any(axis=1) | (boxes >= counts[:, None]).any(axis=1))[:1]:
            problem = f"points at a box the image does not have (it has {counts[row]})"
            self._fail_relation(row, problem, "count boxes within the image")
        for row in np.flatnonzero((relations < 0) | (relations > MAX_LABEL))[:1]:
            self._fail_relation(row, "the relation must not be negative or huge", "count relations from 0")

    def _fail_relation(self, row: int | np.integer, problem: str, advice: str) -> NoReturn:
        image = np.searchsorted(self.truth.relation_ptr, row, side="right") - 1
        self._fail(image, "rels", self.truth.relations[row].tolist(), problem, advice)

    def _fail(self, image: int | np.integer, field: str, value: object, problem: str, advice: str) -> NoReturn:
        fail(self.path, int(image), int(self.image_ids[image]), field, value, problem, advice)


def runs(
    predictions: PairPredictionFile, labels: SceneGraphFile, step: int
) -> Iterator[tuple[PairArrays, Float[np.ndarray, "i q r"], GroundTruth, Int[np.ndarray, " i"]]]:
    """Pairs, scores, labels and positions of `step` images after the other, in the order of the prediction file.

    Raises:
        EvaluationFileError: a labelled relation has no column in the predictions, or their values are wrong.
    """
    labels.check_relations(predictions.num_relations, predictions.path)
    start = 0
    for pairs, scores in predictions.pairs(step):
        positions = predictions.positions[start : start + step]
        yield pairs, scores, labels.truth.select(positions), positions
        start += step
