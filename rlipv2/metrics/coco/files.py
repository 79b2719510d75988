"""Detections in COCO's results format: a JSON list of {"image_id", "category_id", "bbox": [x, y, w, h], "score"}."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from rlipv2.metrics.checks import fail
from rlipv2.metrics.coco.protocol import BoxDetections
from rlipv2.metrics.files import EvaluationFileError

FIELDS = ("image_id", "category_id", "bbox", "score")


def read_results(path: Path, image_ids: Int[np.ndarray, " i"]) -> BoxDetections:
    """The detections of a file, in file order, on images that are among `image_ids`.

    Images without detections need no record.

    Raises:
        EvaluationFileError: the file, or a record of it, cannot be used; names the record.
    """
    records = _read_list(path)
    rows = {int(number): row for row, number in enumerate(image_ids)}
    for number, record in enumerate(records):
        _check_record(path, number, record, rows)
    if not records:
        none = np.zeros(0, np.int64)
        return BoxDetections(none, np.zeros((0, 4)), none, np.zeros(0))
    return BoxDetections(
        images=np.array([rows[record["image_id"]] for record in records], np.int64),
        boxes=np.array([record["bbox"] for record in records], np.float64),
        category_ids=np.array([record["category_id"] for record in records], np.int64),
        scores=np.array([record["score"] for record in records], np.float64),
    )


def without_unknown_classes(
    detections: BoxDetections, category_ids: Sequence[int]
) -> tuple[BoxDetections, Bool[np.ndarray, " d"]]:
    """The detections of known classes, and which of all those are; others could not count in any figure."""
    known = np.isin(detections.category_ids, category_ids)
    kept = BoxDetections(*(values[known] for values in vars(detections).values()))
    return kept, known


def _read_list(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise EvaluationFileError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise EvaluationFileError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise EvaluationFileError(
            f"{path}: not valid JSON ({error}); write a list of records with {', '.join(FIELDS)}"
        ) from None
    if not isinstance(content, list):
        raise EvaluationFileError(
            f"{path}: holds a {type(content).__name__}; expected a list of records with {', '.join(FIELDS)}"
        )
    return content


def _check_record(path: Path, number: int, record: Any, rows: dict[int, int]) -> None:
    image = record.get("image_id", -1) if isinstance(record, dict) else -1
    missing = [field for field in FIELDS if not isinstance(record, dict) or field not in record]
    if missing:
        fail(path, number, image, missing[0], None, "missing", f"every record needs {', '.join(FIELDS)}")
    for field in ("image_id", "category_id"):
        if type(record[field]) is not int:
            fail(path, number, image, field, record[field], "no integer", "write the ids of the annotation file")
    if image not in rows:
        problem, advice = "no such image in the ground truth", "evaluate with the ground truth of this split"
        fail(path, number, image, "image_id", image, problem, advice)
    box, score = record["bbox"], record["score"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_finite, box)):
        fail(path, number, image, "bbox", box, "not four finite numbers", "write [x, y, width, height] in pixels")
    if box[2] < 0 or box[3] < 0:
        problem = "negative width or height"
        fail(path, number, image, "bbox", box, problem, "is this x1, y1, x2, y2? write [x, y, width, height]")
    if not _is_finite(score):
        fail(path, number, image, "score", score, "not a finite number", "write one number")


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < float("inf")
