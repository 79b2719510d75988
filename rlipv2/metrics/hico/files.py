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
from jaxtyping import Bool, Int, Shaped

from rlipv2.metrics.files import ArrayFile, EvaluationFileError
from rlipv2.metrics.functional import Detections, GroundTruth, TripletTable, ranked_detections
from rlipv2.metrics.hico.protocol import HICOProtocol, HICOResult, Matches, match_images, summarise

_KINDS = {"f": "floats", "iu": "whole numbers", "fiu": "numbers", "b": "booleans"}


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
            shapes = _check_layout(
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
            _check_layout(file, {name: ("b", ("c",)) for name in splits}, shapes)
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
        doubled = _first_repeat(self.image_ids)
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
        _fail(self.path, int(image), int(self.image_ids[image]), field, value, problem, advice)


class PredictionFile:
    """The predictions of all images of a ground truth, in the layout of this module.

    Attributes:
        num_other_subjects: pairs read so far whose subject is no person (0); they have no class.

    Raises:
        EvaluationFileError: a missing or misshapen array, images that are unknown, repeated or missing.
    """

    def __init__(self, path: str | Path, labels: GroundTruthFile) -> None:
        self._file = ArrayFile(path)
        self.path = self._file.path
        self.num_other_subjects = 0
        try:
            self.num_objects, self.num_relations = labels.table.num_objects, labels.table.num_relations
            self._check_shapes()
            self.image_ids = self._file.array("image_id").astype(np.int64)
            self.positions = self._find_images(labels)
        except EvaluationFileError:
            self._file.close()
            raise

    def __enter__(self) -> "PredictionFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def compressed(self) -> list[str]:
        """Arrays that cannot be memory-mapped."""
        return self._file.compressed

    def detections(self, table: TripletTable, top_k: int | None, step: int) -> Iterator[Detections]:
        """The ranked lists of `step` images after the other, in file order; `images` counts within a run.

        Raises:
            EvaluationFileError: values that are not finite, class or box numbers out of range.
        """
        names = ["boxes", "labels", "sub_ids", "obj_ids", "verb_scores"]
        for run, rows in enumerate(self._file.rows(names, step)):
            if len(rows["labels"]):
                self._check_values(rows, run * step)
                subjects = np.take_along_axis(rows["labels"], rows["sub_ids"].astype(np.int64), axis=1)
                self.num_other_subjects += int(np.count_nonzero(subjects))
                yield _rank_rows(rows, subjects, table, top_k)

    def _check_shapes(self) -> None:
        shapes = _check_layout(
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
        if shapes["r"] != self.num_relations:
            raise EvaluationFileError(
                f"{self.path}: verb_scores has {shapes['r']} columns, the class table {self.num_relations} relations; "
                "write one score per relation, in the order of the dataset"
            )

    def _find_images(self, labels: GroundTruthFile) -> Int[np.ndarray, " n"]:
        doubled = _first_repeat(self.image_ids)
        if doubled is not None:
            self._fail(doubled, "image_id", self.image_ids[doubled], "the image comes twice", "write every image once")
        order = np.argsort(labels.image_ids)
        places = np.minimum(np.searchsorted(labels.image_ids[order], self.image_ids), len(order) - 1)
        positions = order[places]
        for row in np.flatnonzero(labels.image_ids[positions] != self.image_ids)[:1]:
            problem = f"no such image among the {len(order)} of {labels.path}"
            self._fail(row, "image_id", self.image_ids[row], problem, "evaluate with the ground truth of this split")
        missing = np.setdiff1d(labels.image_ids, self.image_ids)
        if len(missing):
            raise EvaluationFileError(
                f"{self.path}: no predictions for {len(missing)} of {len(order)} images of {labels.path}, "
                f"the first of them {missing[:5].tolist()}; predict every image (scores of 0 where nothing is found)"
            )
        return positions

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
            # The sum tells in one pass whether to look closer; finite values may still overflow it.
            with np.errstate(over="ignore", invalid="ignore"):
                suspicious = not np.isfinite(values.sum())
            if suspicious and not np.isfinite(values).all():
                at = np.argwhere(~np.isfinite(values))[0]
                self._fail_at(start, field, at, values, "expected a finite number", "write 0 for what is not predicted")

    def _fail_at(
        self, start: int, field: str, at: Int[np.ndarray, " d"], values: np.ndarray, problem: str, advice: str
    ) -> NoReturn:
        place = f"{field}[{', '.join(str(index) for index in at[1:])}]"
        self._fail(start + int(at[0]), place, values[tuple(at)], problem, advice)

    def _fail(self, record: int | np.integer, field: str, value: object, problem: str, advice: str) -> NoReturn:
        _fail(self.path, int(record), int(self.image_ids[record]), field, value, problem, advice)


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


def _rank_rows(
    rows: dict[str, np.ndarray], subject_labels: np.ndarray, table: TripletTable, top_k: int | None
) -> Detections:
    subjects, objects = rows["sub_ids"].astype(np.int64), rows["obj_ids"].astype(np.int64)
    scores = rows["verb_scores"].astype(np.float32, copy=False)
    return ranked_detections(
        scores,
        table,
        top_k,
        subject_labels=subject_labels.astype(np.int64),
        object_labels=np.take_along_axis(rows["labels"], objects, axis=1).astype(np.int64),
        subject_boxes=np.take_along_axis(rows["boxes"], subjects[..., None], axis=1).astype(np.float32, copy=False),
        object_boxes=np.take_along_axis(rows["boxes"], objects[..., None], axis=1).astype(np.float32, copy=False),
    )


def _check_layout(
    file: ArrayFile, expected: dict[str, tuple[str, tuple[str | int, ...]]], sizes: dict[str, int] | None = None
) -> dict[str, int]:
    """Compares names, types and shapes; letters of a shape must agree between arrays and are returned."""
    sizes = dict(sizes or {})
    for name, (kinds, shape) in expected.items():
        if name not in file:
            raise EvaluationFileError(
                f"{file.path}: no array {name!r}; expected {sorted(expected)}, the file holds {file.names}"
            )
        if file.dtype(name).kind not in kinds:
            raise EvaluationFileError(f"{file.path}: {name}: type {file.dtype(name)}; expected {_KINDS[kinds]}")
        found = file.shape(name)
        matches = len(found) == len(shape) and all(
            size == (sizes.setdefault(letter, size) if isinstance(letter, str) else letter)
            for size, letter in zip(found, shape, strict=True)
        )
        if not matches:
            known = {letter: size for letter, size in sizes.items() if letter in shape}
            told = f" with {', '.join(f'{k} = {v}' for k, v in known.items())} from the other arrays" if known else ""
            wanted = ", ".join(str(letter) for letter in shape)
            raise EvaluationFileError(f"{file.path}: {name}: shape {found}; expected ({wanted}){told}")
    return sizes


def _first_repeat(values: Shaped[np.ndarray, " n"]) -> int | None:
    order = np.argsort(values, kind="stable")
    repeats = order[1:][values[order][1:] == values[order][:-1]]
    return int(repeats.min()) if len(repeats) else None


def _fail(path: Path, record: int, image: int, field: str, value: object, problem: str, advice: str) -> NoReturn:
    raise EvaluationFileError(f"{path}: record {record} (image {image}): {field}={value}: {problem}; {advice}")
