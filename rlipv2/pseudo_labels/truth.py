"""How right pseudo-labels are, where the whole scene graph of every image is known (the micro-world).

A scored relation (pair of boxes, text) is right if the pair has a relation that the text may name: "on" names `ride` as
well as `stand_on`. Relations that are true but that nobody has to say ("next to" of a person and the bicycle it pushes)
are neither right nor wrong, and are not missed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.json_stream import Watch, iterate_members
from rlipv2.pseudo_labels.by_image import RecordsByImage
from rlipv2.pseudo_labels.records import Tags

STEPS = 1000
"""Scores are counted in steps of 1 / STEPS, so that memory does not grow with the images."""
THRESHOLDS: Float[np.ndarray, " k"] = (np.arange(STEPS + 1) / STEPS).astype(np.float32)


Verdict = Literal["right", "wrong", "implied"]
Rows = Int[np.ndarray, "k 3"]


class TrueRelations:
    """What is true in one image.

    Args:
        truth: that the rows belong to.
        num_boxes: kept boxes.
        rows: (subject, object, relation) with rows of the kept boxes and of `Truth.names`.
        implied: the same for what is true and need not be said.
    """

    def __init__(self, truth: "Truth", num_boxes: int, rows: Rows, implied: Rows) -> None:
        self.num_boxes, self.rows, self.implied = num_boxes, rows, implied
        self._truth = truth
        self._by_pair, self._implied_by_pair = _by_pair(rows), _by_pair(implied)

    def named(self, subject: int, target: int, text: str) -> frozenset[int]:
        """The true relations of a pair that a text names."""
        return self._truth.relations_named(text) & self._by_pair.get((subject, target), frozenset())

    def verdict(self, subject: int, target: int, text: str) -> Verdict:
        """Whether a text is right for a pair; "implied" is neither right nor wrong."""
        if self.named(subject, target, text):
            return "right"
        implied = self._implied_by_pair.get((subject, target), frozenset())
        return "implied" if self._truth.relations_named(text) & implied else "wrong"


class Truth:
    """The relations of all images, read from an index when they are asked for.

    Args:
        path: `{"texts": {relation: [text, ...]}, "images": [record, ...]}`; `texts` comes first. A record has
            `image_id`, `names` (one per kept box), `relations` and `implied`, each a list of [subject, object,
            relation]. The micro-world writes it as `truth/scene_graphs.json`.
        index: folder for the index of the file, by default `.rlipv2-index` beside it.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: not such a file; names the record.
    """

    def __init__(self, path: Path, *, index: Path | None = None) -> None:
        self.path = path
        texts = _texts(path, iterate_members(path))
        self.names = tuple(texts)
        self.texts: dict[str, frozenset[int]] = {}
        for row, some in enumerate(texts.values()):
            for text in some:
                self.texts[text] = self.texts.get(text, frozenset()) | {row}
        self._images = RecordsByImage(path, _records, kind="truth", index=index)
        self._last: tuple[int, TrueRelations] | None = None

    def __contains__(self, image_id: int) -> bool:
        return bool(self._images.one(image_id))

    def relations_of(self, image_id: int) -> TrueRelations:
        """What is true in an image.

        Raises:
            KeyError: the file does not list it.
        """
        if self._last is None or self._last[0] != image_id:
            found = self._images.one(image_id)
            if not found:
                raise KeyError(image_id)
            num_boxes, *rows = found[-1]
            relations, implied = (np.array(some, np.int64).reshape(-1, 3) for some in rows)
            self._last = image_id, TrueRelations(self, num_boxes, relations, implied)
        return self._last[1]

    def relations_named(self, text: str) -> frozenset[int]:
        """The relations that a text may name; capitals do not matter."""
        return self.texts.get(text.lower().strip(), frozenset())


def _texts(path: Path, members: Iterator[tuple[str, int, Any]]) -> dict[str, list[str]]:
    key, _, texts = next(members, ("", -1, None))
    if key != "texts" or not isinstance(texts, dict) or not all(isinstance(some, list) for some in texts.values()):
        raise AnnotationError.in_file(path, "does not begin with the texts of its relations", "see `Truth`")
    return texts


def _records(path: Path, watch: Watch) -> Iterator[tuple[int, Any]]:
    members = iterate_members(path, watch=watch)
    names = {name: row for row, name in enumerate(_texts(path, members))}
    for key, number, record in members:
        if key == "images" and number >= 0:
            image, *content = _checked(path, number, record, names)
            yield image, content


def _checked(path: Path, number: int, record: Any, names: Mapping[str, int]) -> tuple[int, int, list[Any], list[Any]]:
    image = record.get("image_id") if isinstance(record, dict) else None
    if type(image) is not int or not isinstance(record.get("names"), list):
        raise AnnotationError.in_record(
            path, number, image, field="record", value=record, wrong="no image_id or no names", todo="see `Truth`"
        )
    count, parts = len(record["names"]), []
    for field in ("relations", "implied"):
        rows = []
        for row in record.get(field, []):
            if not (isinstance(row, list) and len(row) == 3 and row[2] in names):
                wrong = "not [subject, object, relation] with a relation that `texts` lists"
            elif not all(type(end) is int and 0 <= end < count for end in row[:2]):
                wrong = f"its boxes are no rows of the {count} boxes"
            else:
                rows.append((row[0], row[1], names[row[2]]))
                continue
            raise AnnotationError.in_record(
                path, number, image, field=field, value=row, wrong=wrong, todo="write the truth again"
            )
        parts.append(rows)
    return image, count, parts[0], parts[1]


@dataclass(frozen=True)
class Curve:
    """Figures of the relations scored at least `thresholds[k]`, for every k.

    Attributes:
        thresholds: 0 to 1 in steps of 1 / `STEPS`.
        right: scored relations that are right.
        wrong: scored relations that are wrong.
        found: true relations that one of them names.
        total: true relations.
    """

    thresholds: Float[np.ndarray, " k"]
    right: Int[np.ndarray, " k"]
    wrong: Int[np.ndarray, " k"]
    found: Int[np.ndarray, " k"]
    total: int

    @cached_property
    def precision(self) -> Float[np.ndarray, " k"]:
        """Share of right ones; NaN where nothing is scored so high."""
        kept = self.right + self.wrong
        return np.where(kept > 0, self.right / np.maximum(kept, 1), np.nan)

    @cached_property
    def recall(self) -> Float[np.ndarray, " k"]:
        """Share of the true relations that are found; NaN where there are none."""
        return self.found / self.total if self.total else np.full(len(self.found), np.nan)

    @cached_property
    def f1(self) -> Float[np.ndarray, " k"]:
        """Harmonic mean of both; 0 where both are 0 or nothing is kept."""
        both = np.nan_to_num(self.precision) + self.recall
        return np.where(both > 0, 2 * np.nan_to_num(self.precision) * self.recall / np.where(both > 0, both, 1), 0.0)

    @property
    def average_precision(self) -> float:
        """Area under precision over recall: each step of recall times the precision there, from the highest score."""
        steps = np.diff(self.recall[::-1], prepend=0.0)
        return float(np.sum(steps * np.nan_to_num(self.precision[::-1])))

    def at(self, threshold: float) -> dict[str, float]:
        """Precision, recall and F1 of the relations scored at least `threshold`, which is rounded to a step."""
        k = round(threshold * STEPS)
        return {name: float(getattr(self, name)[k]) for name in ("precision", "recall", "f1")}

    @property
    def best(self) -> tuple[float, float]:
        """The highest threshold with the best F1, and that F1."""
        k = STEPS - int(self.f1[::-1].argmax())
        return float(self.thresholds[k]), float(self.f1[k])


class TruthScores:
    """Counts of right, wrong and found relations by score, added up image by image.

    Args:
        truth: what is true.
    """

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self._right = np.zeros(STEPS + 1, np.int64)
        self._wrong = np.zeros(STEPS + 1, np.int64)
        self._found = np.zeros((len(truth.names), STEPS + 1), np.int64)
        self._total = np.zeros(len(truth.names), np.int64)

    def add(self, image_id: int, tags: Tags) -> None:
        """Adds an image; one without any scored relation has to be added too, else nothing of it is missed.

        A pair and text that is there several times counts once, with its best score.

        Raises:
            KeyError: the truth does not list the image.
        """
        true = self.truth.relations_of(image_id)
        self._total += np.bincount(true.rows[:, 2], minlength=len(self._total))
        scores: dict[tuple[int, int, str], float] = {}
        for (subject, target), text, score in zip(tags.pairs.tolist(), tags.texts, tags.scores.tolist(), strict=True):
            key = (subject, target, text)
            scores[key] = max(score, scores.get(key, -1.0))
        best: dict[tuple[int, int, int], float] = {}
        judged: dict[Verdict, list[float]] = {"right": [], "wrong": [], "implied": []}
        for (subject, target, text), score in scores.items():
            judged[true.verdict(subject, target, text)].append(score)
            for name in true.named(subject, target, text):
                best[subject, target, name] = max(score, best.get((subject, target, name), -1.0))
        np.add.at(self._right, _steps(judged["right"]), 1)
        np.add.at(self._wrong, _steps(judged["wrong"]), 1)
        rows = [name for _, _, name in best]
        np.add.at(self._found, (np.array(rows, np.int64), _steps(list(best.values()))), 1)

    @property
    def curve(self) -> Curve:
        """Of all relations."""
        return self._curve(self._found.sum(axis=0), int(self._total.sum()))

    def relation_recalls(self, threshold: float) -> dict[str, tuple[float, int]]:
        """Recall at a threshold and number of true ones, of every relation that occurs."""
        found = self._found[:, round(threshold * STEPS) :].sum(axis=1)
        return {
            name: (float(found[row] / self._total[row]), int(self._total[row]))
            for row, name in enumerate(self.truth.names)
            if self._total[row]
        }

    def _curve(self, found: Int[np.ndarray, " k"], total: int) -> Curve:
        right, wrong, found = (np.cumsum(counts[::-1])[::-1] for counts in (self._right, self._wrong, found))
        return Curve(THRESHOLDS, right, wrong, found, total)


def _by_pair(rows: Rows) -> dict[tuple[int, int], frozenset[int]]:
    pairs: dict[tuple[int, int], frozenset[int]] = {}
    for subject, target, name in rows.tolist():
        pairs[subject, target] = pairs.get((subject, target), frozenset()) | {name}
    return pairs


def _steps(scores: list[float]) -> Int[np.ndarray, " k"]:
    """The highest threshold that each score reaches."""
    values = np.clip(np.nan_to_num(np.array(scores, np.float32)), 0, 1)
    return np.searchsorted(THRESHOLDS, values, side="right") - 1
