"""The figures of a diagnosis, ready to be shown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.metrics.diagnosis.rules import ANY
from rlipv2.metrics.figures import ClassFigures
from rlipv2.structures.label_space import LabelSpace


@dataclass(frozen=True)
class ClassTable:
    """Figures per class of the metric, or per relation.

    Attributes:
        triplets: rows (subject, relation, object), -1 for any.
        figures: average precision, largest recall, detections, correct ones.
        num_labelled: labels.
        rare: which classes are rare; None where the metric has no such group.
        unseen: which ones training did not show; None likewise.
    """

    triplets: Int[np.ndarray, "c 3"]
    figures: ClassFigures
    num_labelled: Int[np.ndarray, " c"]
    rare: Bool[np.ndarray, " c"] | None = None
    unseen: Bool[np.ndarray, " c"] | None = None

    def __len__(self) -> int:
        return len(self.triplets)

    @property
    def ap(self) -> Float[np.ndarray, " c"]:
        """Average precision, NaN without labels."""
        return self.figures.ap

    def rows(self, label_space: LabelSpace) -> list[dict[str, Any]]:
        """One flat row per class: names (empty for any), figures (None for NaN), group."""
        figures = self.figures
        return [
            {
                "subject": label_space.objects[subject] if subject != ANY else "",
                "relation": label_space.relations[relation],
                "object": label_space.objects[target] if target != ANY else "",
                "ap": _plain(figures.ap[row]),
                "max_recall": _plain(figures.max_recall[row]),
                "labelled": int(self.num_labelled[row]),
                "detections": int(figures.num_detections[row]),
                "correct": int(figures.num_true_positives[row]),
                "group": self._group(row),
            }
            for row, (subject, relation, target) in enumerate(self.triplets.tolist())
        ]

    def _group(self, row: int) -> str:
        names = []
        if self.rare is not None:
            names.append("rare" if self.rare[row] else "non-rare")
        if self.unseen is not None:
            names.append("unseen" if self.unseen[row] else "seen")
        return ", ".join(names)


@dataclass(frozen=True)
class ErrorBreakdown:
    """Errors by kind; see `rlipv2.metrics.diagnosis.evidence.KINDS` for what they mean.

    Attributes:
        kinds: their names, and so the order of everything below.
        all_counts: among all ranked detections.
        top_counts: among the N best detections of every class, where N is the number of its labels.
        multiples: 1 stands for these N; others for so many times N.
        shares: share of each kind among the detections of each multiple; NaN without detections.
        gains: by kind, how much the figure would rise if this kind alone were put right; also of `missed` and of
            all `false positives`.
        num_labelled: labels.
        num_found: those that a detection is correct about.
        num_missed: those that no detection finds or would find with one kind put right.
    """

    kinds: tuple[str, ...]
    all_counts: Int[np.ndarray, " e"]
    top_counts: Int[np.ndarray, " e"]
    multiples: tuple[float, ...]
    shares: Float[np.ndarray, "m e"]
    gains: dict[str, float]
    num_labelled: int
    num_found: int
    num_missed: int

    def rows(self) -> list[dict[str, Any]]:
        """One flat row per kind, then missed labels and false positives together."""
        rows: list[dict[str, Any]] = [
            {"kind": kind, "all": int(every), "top": int(top), "gain": _plain(self.gains.get(kind, float("nan")))}
            for kind, every, top in zip(self.kinds, self.all_counts, self.top_counts, strict=True)
        ]
        wrong = int(self.all_counts[1:].sum()), int(self.top_counts[1:].sum())
        rows.append({"kind": "missed", "all": self.num_missed, "top": None, "gain": _plain(self.gains["missed"])})
        gain = _plain(self.gains["false positives"])
        return [*rows, {"kind": "false positives", "all": wrong[0], "top": wrong[1], "gain": gain}]


@dataclass(frozen=True)
class Confusion:
    """Which relations stand for which.

    Attributes:
        relations: names, one per row.
        counts: labels by (their relation, the surest relation on their pair); the last column is for labels on whose
            pair nothing is detected.
    """

    relations: tuple[str, ...]
    counts: Int[np.ndarray, "r s"]

    def most(self, number: int) -> list[tuple[int, int, int]]:
        """(label, detected instead, count) of the most frequent confusions."""
        wrong = self.counts[:, :-1] * ~np.eye(len(self.counts), dtype=bool)
        rows, columns = np.nonzero(wrong)
        counts = wrong[rows, columns]
        order = np.lexsort((columns, rows, -counts))[:number]
        return list(zip(rows[order].tolist(), columns[order].tolist(), counts[order].tolist(), strict=True))


@dataclass(frozen=True)
class PrecisionRecall:
    """Points of a curve, from the highest score down, thinned out for drawing.

    Attributes:
        recall: share of the labels found so far.
        precision: share of the detections so far that are correct.
        scores: of the detection at each point.
        num_labelled: labels.
        ap: area under the envelope of all points.
    """

    recall: Float[np.ndarray, " n"]
    precision: Float[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    num_labelled: int
    ap: float


@dataclass(frozen=True)
class Curves:
    """Precision and recall of all detections together, and per relation."""

    overall: PrecisionRecall
    by_relation: tuple[PrecisionRecall, ...]

    def relation(self, row: int) -> PrecisionRecall:
        """Of one relation of the label space."""
        return self.by_relation[row]


@dataclass(frozen=True)
class ImageFigures:
    """Figures of single images.

    Attributes:
        indices: place in the dataset.
        image_ids: number of the image.
        num_labelled: labels.
        num_found: those found.
        ap: average precision of the ranked list of the image, all classes together; NaN without labels.
    """

    indices: Int[np.ndarray, " i"]
    image_ids: Int[np.ndarray, " i"]
    num_labelled: Int[np.ndarray, " i"]
    num_found: Int[np.ndarray, " i"]
    ap: Float[np.ndarray, " i"]


@dataclass(frozen=True)
class Diagnosis:
    """What goes wrong in the predictions of a split.

    Attributes:
        label_space: names.
        protocol: whose rules.
        figure: key of the metric that `ap` equals.
        ap: average precision with nothing put right.
        threshold: overlap that both boxes must reach.
        near: overlap from which a box is near a labelled one.
        classes: figures per class of the metric, equal to its own.
        relations: the same per relation, all objects pooled.
        groups: mean average precision of groups of classes.
        errors: by kind.
        confusion: of relations.
        curves: precision over recall.
        images: figures per image.
    """

    label_space: LabelSpace
    protocol: str
    figure: str
    ap: float
    threshold: float
    near: float
    classes: ClassTable
    relations: ClassTable
    groups: dict[str, float]
    errors: ErrorBreakdown
    confusion: Confusion
    curves: Curves
    images: ImageFigures

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without curves and images; NaN becomes None."""
        names = self.label_space.relations
        return {
            "protocol": self.protocol,
            "figure": self.figure,
            "ap": _plain(self.ap),
            "images": len(self.images.indices),
            "labelled": self.errors.num_labelled,
            "found": self.errors.num_found,
            "groups": {name: _plain(value) for name, value in self.groups.items()},
            "errors": self.errors.rows(),
            "classes": self.classes.rows(self.label_space),
            "relations": self.relations.rows(self.label_space),
            "confusions": [
                {"label": names[row], "detected": names[column], "count": count}
                for row, column, count in self.confusion.most(len(names) ** 2)
            ],
        }


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
