"""Prediction and ground-truth files of HICO-DET: checked record by record while they are read.

Predictions (.npz), n images with q pairs each, boxes x1 y1 x2 y2 in pixels of the stored image:

    image_id     (n,)        whole numbers, the number in HICO_test2015_%08d.jpg, every image once
    boxes        (n, m, 4)   floats
    labels       (n, m)      object class of each box, 0 to 79 in COCO order
    sub_ids      (n, q)      row of `boxes` with the subject of each pair
    obj_ids      (n, q)      row of `boxes` with the object of each pair
    verb_scores  (n, q, r)   floats, relation score times object score, before any mask

Ground truth (.npz), image i owns `boxes[box_ptr[i]:box_ptr[i + 1]]` and `hois[hoi_ptr[i]:hoi_ptr[i + 1]]`:

    file_id (i,)  boxes (n, 4)  box_labels (n,)  box_ptr (i+1,)  hois (h, 3)  hoi_ptr (i+1,)
    hoi_table (c, 2) rows (object, relation)  rare (c,) bool  unseen_<split> (c,) bool
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

from rlipv2.metrics.checks import INVERTED, check_layout, fail, first_inverted, first_repeat
from rlipv2.metrics.files import ArrayFile, EvaluationFileError
from rlipv2.metrics.functional import Detections, GroundTruth, TripletTable, ranked_detections
from rlipv2.metrics.hico.protocol import HICOProtocol, HICOResult, Matches, match_images, summarise
from rlipv2.metrics.pair_files import PairPredictionFile


@runtime_checkable
class Records(Protocol):
    """What `GroundTruthFile.from_records` reads of `rlipv2.structures.RelationRecords`."""

    @property
    def image_ids(self) -> np.ndarray: ...  # noqa: D102
    @property
    def boxes(self) -> np.ndarray: ...  # noqa: D102
    @property
    def labels(self) -> np.ndarray: ...  # noqa: D102
    @property
    def box_ptr(self) -> np.ndarray: ...  # noqa: D102
    @property
    def relations(self) -> np.ndarray: ...  # noqa: D102
    @property
    def relation_ptr(self) -> np.ndarray: ...  # noqa: D102


@dataclass(frozen=True)
class GroundTruthFile:
    """The labels of a split with the classes they are evaluated in; made by the two class methods.

    Labels that are none of the classes stay here; `match_images` ignores and counts them.

    Attributes:
        path: named in errors.
        image_ids: unique number of each image.
        truth: labels of all images.
        table: the classes.
        rare: classes with fewer than 10 training instances.
        unseen: per zero-shot split, the classes that training did not show.
    """

    path: Path
    image_ids: Int[np.ndarray, " i"]
    truth: GroundTruth
    table: TripletTable
    rare: Bool[np.ndarray, " c"]
    unseen: dict[str, Bool[np.ndarray, " c"]]

    @classmethod
    def from_npz(cls, path: str | Path) -> "GroundTruthFile":
        """Reads the layout of this module.

        Raises:
            EvaluationFileError: a missing, misshapen or contradictory array; names file and record.
        """
        with ArrayFile(path) as file:
            shapes = check_layout(
                file,
                {
                    "file_id": ("iu", ("i",)),
                    "boxes": ("fiu", ("n", 4)),
                    "box_labels": ("iu", ("n",)),
                    "box_ptr": ("iu", ("i + 1",)),
                    "hois": ("iu", ("h", 3)),
                    "hoi_ptr": ("iu", ("i + 1",)),
                    "hoi_table": ("iu", ("c", 2)),
                    "rare": ("b", ("c",)),
                },
            )
            if shapes["i + 1"] != shapes["i"] + 1:
                raise EvaluationFileError(
                    f"{file.path}: box_ptr and hoi_ptr hold {shapes['i + 1']} offsets for {shapes['i']} images; "
                    "expected one more than images"
                )
            splits = [name for name in file.names if name.startswith("unseen_")]
            check_layout(file, {name: ("b", ("c",)) for name in splits}, shapes)
            try:
                table = TripletTable(file.array("hoi_table")[:, ::-1].astype(np.int64))
            except ValueError as error:
                raise EvaluationFileError(f"{file.path}: hoi_table: {error}; rows are (object, relation)") from error
            truth = GroundTruth(
                boxes=file.array("boxes").astype(np.float32),
                labels=file.array("box_labels").astype(np.int64),
                box_ptr=file.array("box_ptr").astype(np.int64),
                relations=file.array("hois").astype(np.int64),
                relation_ptr=file.array("hoi_ptr").astype(np.int64),
            )
            unseen = {name.removeprefix("unseen_"): file.array(name) for name in splits}
            image_ids = file.array("file_id").astype(np.int64)
            return cls(file.path, image_ids, truth, table, file.array("rare"), unseen)._checked()

    @classmethod
    def from_records(
        cls,
        path: str | Path,
        records: Records,
        hois: Int[np.ndarray, "c 2"],
        rare: Bool[np.ndarray, " c"],
        unseen: dict[str, Bool[np.ndarray, " c"]],
    ) -> "GroundTruthFile":
        """Takes what a dataset reader made of `path`; `hois` rows are (relation, object).

        Raises:
            EvaluationFileError: values out of range, no label that is one of the classes, or a repeated image.
        """
        truth = GroundTruth(records.boxes, records.labels, records.box_ptr, records.relations, records.relation_ptr)
        return cls(Path(path), records.image_ids, truth, TripletTable(hois), rare, unseen)._checked()

    def _checked(self) -> "GroundTruthFile":
        truth, path = self.truth, self.path
        if len(self.image_ids) == 0:
            raise EvaluationFileError(f"{path}: holds no image")
        doubled = first_repeat(self.image_ids)
        if doubled is not None:
            self._fail(doubled, "file_id", self.image_ids[doubled], "the image is listed twice", "list it once")
        for name, ptr, rows in (
            ("box_ptr", truth.box_ptr, truth.boxes),
            ("hoi_ptr", truth.relation_ptr, truth.relations),
        ):
            if ptr[0] != 0 or ptr[-1] != len(rows) or (np.diff(ptr) < 0).any():
                raise EvaluationFileError(
                    f"{path}: {name}: offsets must ascend from 0 to {len(rows)}, the number of rows"
                )
        box_images = np.repeat(np.arange(len(truth)), np.diff(truth.box_ptr))
        for row in np.flatnonzero(~np.isfinite(truth.boxes).all(axis=1))[:1]:
            self._fail(box_images[row], "boxes", truth.boxes[row].tolist(), "not finite", "correct the box")
        inverted = first_inverted(truth.boxes)
        if inverted is not None:
            row = inverted[0]
            self._fail(box_images[row], "boxes", truth.boxes[row].tolist(), *INVERTED)
        objects = self.table.num_objects
        for row in np.flatnonzero((truth.labels < 0) | (truth.labels >= objects))[:1]:
            self._fail(box_images[row], "box_labels", truth.labels[row], f"expected 0 to {objects - 1}", "correct it")
        self._check_relations()
        return self

    def _check_relations(self) -> None:
        truth, table = self.truth, self.table
        images = np.repeat(np.arange(len(truth)), np.diff(truth.relation_ptr))
        counts = np.diff(truth.box_ptr)[images]
        pairs, relations = truth.relations[:, :2], truth.relations[:, 2]
        wrong = (pairs < 0).any(axis=1) | (pairs >= counts[:, None]).any(axis=1)
        for row in np.flatnonzero(wrong)[:1]:
            problem = f"points at a box the image does not have (it has {counts[row]})"
            self._fail(images[row], "hois", truth.relations[row].tolist(), problem, "count boxes within the image")
        for row in np.flatnonzero((relations < 0) | (relations >= table.num_relations))[:1]:
            problem = f"the relation must lie in 0 to {table.num_relations - 1}"
            self._fail(images[row], "hois", truth.relations[row].tolist(), problem, "correct it")
        labels = truth.labels[truth.box_ptr[images][:, None] + pairs]
        # A few such labels are ignored and counted; none that counts means ids of another order.
        if len(relations) and ((table.class_ids[relations, labels[:, 1]] < 0) | (labels[:, 0] != 0)).all():
            triplet = f"subject class {labels[0, 0]}, relation {relations[0]}, object class {labels[0, 1]}"
            problem = f"{triplet} is none of the {len(table)} classes, and no other label is one either"
            advice = "subjects must be persons (0) and the combination a row of the class table"
            self._fail(images[0], "hois", truth.relations[0].tolist(), problem, advice)

    def _fail(self, image: int | np.integer, field: str, value: object, problem: str, advice: str) -> NoReturn:
        fail(self.path, int(image), int(self.image_ids[image]), field, value, problem, advice)


class PredictionFile(PairPredictionFile):
    """The predictions of all images of a ground truth, in the layout of this module.

    Attributes:
        num_other_subjects: pairs read so far whose subject is no person (0); they have no class.

    Raises:
        EvaluationFileError: a missing or misshapen array, images that are unknown, repeated or missing.
    """

    def __init__(self, path: str | Path, labels: GroundTruthFile) -> None:
        table = labels.table
        self.num_other_subjects = 0
        super().__init__(
            path, labels.image_ids, labels.path, num_objects=table.num_objects, num_relations=table.num_relations
        )

    def detections(self, table: TripletTable, top_k: int | None, step: int) -> Iterator[Detections]:
        """The ranked lists of `step` images after the other, in file order; `images` counts within a run.

        Raises:
            EvaluationFileError: values that are not finite, class or box numbers out of range.
        """
        for pairs, scores in self.pairs(step):
            self.num_other_subjects += int(np.count_nonzero(pairs.subject_labels))
            yield ranked_detections(scores, table, top_k, **vars(pairs))


def evaluate(
    predictions: PredictionFile, labels: GroundTruthFile, protocol: HICOProtocol, *, step: int = 128
) -> HICOResult:
    """The figures of a prediction file, holding `step` images in memory at a time."""
    truth = labels.truth.select(predictions.positions)
    parts, start = [], 0
    for detections in predictions.detections(labels.table, protocol.top_k, step):
        stop = min(start + step, len(predictions))
        indices = predictions.positions[start:stop]
        parts.append(match_images(detections, truth.slice(start, stop), labels.table, protocol, indices=indices))
        start = stop
    return summarise(Matches.concatenate(parts), len(labels.table), protocol)
