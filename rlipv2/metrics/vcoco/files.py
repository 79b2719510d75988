"""Prediction and ground-truth files of V-COCO: checked record by record while they are read.

Predictions (.npz), n images with q pairs each, boxes x1 y1 x2 y2 in pixels of the stored image:

    image_id     (n,)        whole numbers, the COCO number of the image, every image of the split once
    sub_boxes    (n, q, 4)   floats, persons
    obj_boxes    (n, q, 4)   floats; not read where the label is "missing objects", and may be NaN there
    obj_labels   (n, q)      object class, 0 to 79 in COCO order, 80 is "missing objects"
    verb_scores  (n, q, v)   floats, relation score times object score, before any mask

Ground truth (.npz): see `rlipv2.metrics.vcoco.arrays`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Bool, Float, Int

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
from rlipv2.metrics.pair_files import BOX_SLACK
from rlipv2.metrics.vcoco.pairs import Pairs, mask_scores
from rlipv2.metrics.vcoco.protocol import Matches, VCOCOProtocol, match_images
from rlipv2.metrics.vcoco.result import VCOCOResult, summarise
from rlipv2.metrics.vcoco.tables import VerbTable
from rlipv2.metrics.vcoco.truth import VCOCOGroundTruth


@dataclass(frozen=True)
class Labels:
    """What predictions are compared with.

    Attributes:
        path: named in errors.
        truth: labels of all images.
        table: the actions.
        num_objects: object classes with "missing objects", which is the last one.
        validity: mask of (verb, object), see `rlipv2.metrics.vcoco.pairs.validity_matrix`; None for none.
    """

    path: Path
    truth: VCOCOGroundTruth
    table: VerbTable
    num_objects: int
    validity: Float[np.ndarray, "v o"] | None = None


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a ground-truth file.

    Raises:
        EvaluationFileError: the file cannot be read.
    """
    with ArrayFile(path) as file:
        return {name: file.array(name) for name in file.names}


class PredictionFile:
    """The predictions of all images of a split, in the layout of this module.

    Attributes:
        largest_coordinate: of all persons read so far, 0 before there are any.

    Raises:
        EvaluationFileError: a missing or misshapen array, images that are unknown, repeated or missing.
    """

    def __init__(self, path: str | Path, labels: Labels) -> None:
        self._file = ArrayFile(path)
        self.path = self._file.path
        self.labels = labels
        self.largest_coordinate = 0.0
        try:
            self._check_shapes()
            self.image_ids = self._file.array("image_id").astype(np.int64)
            in_split = np.flatnonzero(labels.truth.in_split)
            wanted = labels.truth.image_ids[in_split]
            self.positions = in_split[find_images(self.path, self.image_ids, wanted, labels.path)]
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

    def pairs(self, step: int) -> Iterator[Pairs]:
        """The pairs of `step` images after the other, in file order; `images` counts within a run.

        Raises:
            EvaluationFileError: values that are not finite, inverted boxes, labels out of range.
        """
        for run, rows in enumerate(self._file.rows(["sub_boxes", "obj_boxes", "obj_labels", "verb_scores"], step)):
            labels = rows["obj_labels"]
            missing = labels == self.labels.num_objects - 1
            nothing = missing & np.isnan(rows["obj_boxes"]).all(axis=-1)
            if nothing.any():
                rows["obj_boxes"] = np.where(nothing[..., None], 0, rows["obj_boxes"])
            self._check_values(rows, run * step)
            self._check_boxes(rows, missing, run * step)
            self.largest_coordinate = max(self.largest_coordinate, largest_coordinate(rows["sub_boxes"]))
            num_images, num_pairs = labels.shape
            labels = labels.reshape(-1).astype(np.int64)
            scores = rows["verb_scores"].astype(np.float32, copy=False).reshape(len(labels), -1)
            yield Pairs(
                images=np.repeat(np.arange(num_images), num_pairs),
                subject_boxes=rows["sub_boxes"].astype(np.float32, copy=False).reshape(-1, 4),
                object_boxes=rows["obj_boxes"].astype(np.float32, copy=False).reshape(-1, 4),
                object_labels=labels,
                missing=missing.reshape(-1),
                scores=mask_scores(scores, labels, self.labels.validity),
            )

    def _check_shapes(self) -> None:
        shapes = check_layout(
            self._file,
            {
                "image_id": ("iu", ("n",)),
                "sub_boxes": ("f", ("n", "q", 4)),
                "obj_boxes": ("f", ("n", "q", 4)),
                "obj_labels": ("iu", ("n", "q")),
                "verb_scores": ("f", ("n", "q", "v")),
            },
        )
        verbs = self.labels.table.verbs
        if shapes["v"] != len(verbs):
            raise EvaluationFileError(
                f"{self.path}: verb_scores has {shapes['v']} columns; expected {len(verbs)}, one per verb: "
                f"{', '.join(verbs)}"
            )

    def _check_values(self, rows: dict[str, np.ndarray], start: int) -> None:
        labels, last = rows["obj_labels"], self.labels.num_objects - 1
        if labels.size and (labels.min() < 0 or labels.max() > last):
            at = np.argwhere((labels < 0) | (labels > last))[0]
            problem = f"expected 0 to {last}, the last one for a missing object"
            advice = f"write the object class, or {last} where there is no object"
            self._fail_at(start, "obj_labels", at, labels, problem, advice)
        for field in ("verb_scores", "sub_boxes", "obj_boxes"):
            found = first_not_finite(rows[field])
            if found is not None:
                advice = "write 0 for what is not predicted"
                self._fail_at(start, field, found, rows[field], "expected a finite number", advice)

    def _check_boxes(self, rows: dict[str, np.ndarray], missing: Bool[np.ndarray, "n q"], start: int) -> None:
        """The box of a missing object may be anything."""
        boxes = {"sub_boxes": rows["sub_boxes"], "obj_boxes": np.where(missing[..., None], 0, rows["obj_boxes"])}
        for field, values in boxes.items():
            found = first_inverted(values, BOX_SLACK)
            if found is not None:
                self._fail_at(start, field, found, values, *INVERTED)

    def _fail_at(
        self, start: int, field: str, at: Int[np.ndarray, " d"], values: np.ndarray, problem: str, advice: str
    ) -> NoReturn:
        place, record = ", ".join(str(index) for index in at[1:]), start + int(at[0])
        image, value = int(self.image_ids[record]), values[tuple(at)].tolist()
        fail(self.path, record, image, f"{field}[{place}]", value, problem, advice)


def evaluate(predictions: PredictionFile, protocol: VCOCOProtocol, *, step: int = 64) -> VCOCOResult:
    """The figures of a prediction file, holding the boxes of `step` images in memory at a time."""
    labels, start = predictions.labels, 0
    parts = []
    for pairs in predictions.pairs(step):
        positions = predictions.positions[start : start + step]
        parts.append(match_images(pairs, labels.truth, labels.table, protocol, positions=positions))
        start += step
    return summarise(Matches.concatenate(parts), labels.truth, labels.table, protocol)
