"""Figures of judged images: average precision, what each kind of error costs, curves, confused relations."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.metrics.diagnosis.evidence import CORRECT, KINDS, Evidence
from rlipv2.metrics.diagnosis.result import (
    ClassTable,
    Confusion,
    Curves,
    Diagnosis,
    ErrorBreakdown,
    ImageFigures,
    PrecisionRecall,
)
from rlipv2.metrics.diagnosis.rules import ANY, ClassIndex, Rules
from rlipv2.metrics.figures import ClassFigures, class_figures
from rlipv2.metrics.functional import average_precision
from rlipv2.metrics.pairs import triplets_of
from rlipv2.structures.label_space import LabelSpace

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
CURVE_POINTS = 200


def summarise(evidence: Evidence, rules: Rules, label_space: LabelSpace) -> Diagnosis:
    """The diagnosis of all judged images; images that come again do not count.

    Args:
        evidence: of all images.
        rules: that they were judged by.
        label_space: names of the classes.
    """
    evidence = evidence.unique()
    table = rules.table(evidence.labelled_keys)
    scores = _Scores.of(evidence, rules, table)
    figures = scores.figures()
    classes = ClassTable(
        table.triplets(by_relation=rules.by_relation),
        figures,
        scores.num_labelled,
        rules.groups.get("rare"),
        rules.groups.get("unseen"),
    )
    ap = _figure(figures, scores.num_labelled, rules)
    relations = _relations(evidence, rules, len(label_space.relations), scores.counted)
    groups = {"full": figures.mean_ap()}
    for name, other in (("rare", "non-rare"), ("unseen", "seen")):
        if name in rules.groups:
            groups |= {name: figures.mean_ap(rules.groups[name]), other: figures.mean_ap(~rules.groups[name])}
    return Diagnosis(
        label_space=label_space,
        protocol=rules.protocol,
        figure=rules.figure,
        ap=ap,
        threshold=rules.threshold,
        near=rules.near,
        classes=classes,
        relations=relations,
        groups=groups,
        errors=_errors(evidence, rules, scores, ap),
        confusion=_confusion(evidence, label_space.relations),
        curves=Curves(
            _curve(evidence, scores.counted, len(evidence.labelled_keys)),
            _curves(evidence, scores.counted, len(label_space.relations)),
        ),
        images=_images(evidence),
    )


@dataclasses.dataclass(frozen=True)
class _Scores:
    """What average precision is computed from, and what an oracle changes of it.

    Attributes:
        classes: class of each detection, -1 for none.
        scores: its score.
        correct: whether it is right.
        counted: whether the metric counts it at all.
        labelled: class of each label, -1 for none.
        num_labelled: labels per class.
        levels: see `Rules`.
    """

    classes: Int[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]
    correct: Bool[np.ndarray, " k"]
    counted: Bool[np.ndarray, " k"]
    labelled: Int[np.ndarray, " h"]
    num_labelled: Int[np.ndarray, " c"]
    levels: Float[np.ndarray, " t"] | None

    @classmethod
    def of(cls, evidence: Evidence, rules: Rules, table: ClassIndex) -> "_Scores":
        counted = np.ones(len(evidence.keys), bool)
        if rules.empty_images == "drop":
            counted = np.repeat(evidence.images[:, 4] > 0, evidence.images[:, 1])
        labelled = table.find(evidence.labelled_keys)
        return cls(
            classes=table.find(evidence.keys),
            scores=evidence.scores,
            correct=evidence.kinds == CORRECT,
            counted=counted,
            labelled=labelled,
            num_labelled=np.bincount(labelled[labelled >= 0], minlength=len(table)),
            levels=rules.levels,
        )

    def figures(self) -> ClassFigures:
        """Figures per class."""
        rows = self.counted
        return class_figures(
            self.classes[rows], self.scores[rows], self.correct[rows], self.num_labelled, levels=self.levels
        )

    def put_right(self, wrong: Bool[np.ndarray, " k"], targets: Int[np.ndarray, " k"]) -> "_Scores":
        """With each of `wrong` made correct about its target (row of the labels), or left out if it has none."""
        useful = wrong & (targets >= 0)
        classes = self.classes.copy()
        classes[useful] = self.labelled[targets[useful]]
        return dataclasses.replace(
            self, classes=classes, correct=self.correct | useful, counted=self.counted & (useful | ~wrong)
        )

    def with_labels_found(self, missed: Bool[np.ndarray, " h"]) -> "_Scores":
        """With a correct detection above all others for each of `missed`."""
        extra = self.labelled[missed]
        everywhere = np.ones(len(extra), bool)
        return dataclasses.replace(
            self,
            classes=np.concatenate([extra, self.classes]),
            scores=np.concatenate([np.full(len(extra), np.inf, self.scores.dtype), self.scores]),
            correct=np.concatenate([everywhere, self.correct]),
            counted=np.concatenate([everywhere, self.counted]),
        )

    def ranks(self) -> Float[np.ndarray, " k"]:
        """Place of each counted detection in its class, from 0, over the number of labels; infinity for the others."""
        order = np.lexsort((-self.scores, self.classes, ~self.counted))
        order = order[self.counted[order] & (self.classes[order] >= 0)]
        ranks = np.full(len(self.scores), np.inf)
        classes = self.classes[order]
        places = np.arange(len(order)) - np.searchsorted(classes, classes)
        labels = self.num_labelled[classes]
        ranks[order] = np.divide(places, labels, out=np.full(len(order), np.inf), where=labels > 0)
        return ranks


def _figure(figures: ClassFigures, num_labelled: Int[np.ndarray, " c"], rules: Rules) -> float:
    if not rules.weighted:
        return figures.mean_ap()
    total = num_labelled.sum()
    return float(np.nansum(figures.ap * num_labelled) / total) if total else float("nan")


def _errors(evidence: Evidence, rules: Rules, scores: _Scores, ap: float) -> ErrorBreakdown:
    def gain(fixed: _Scores) -> float:
        return _figure(fixed.figures(), fixed.num_labelled, rules) - ap

    kinds, targets = evidence.kinds, evidence.target_rows()
    reached = np.zeros(len(evidence.labelled_keys), bool)
    reached[targets[targets >= 0]] = True
    gains = {name: gain(scores.put_right(kinds == kind, targets)) for kind, name in enumerate(KINDS) if kind != CORRECT}
    gains["missed"] = gain(scores.with_labels_found(~reached & (scores.labelled >= 0)))
    gains["false positives"] = gain(scores.put_right(kinds != CORRECT, np.full(len(kinds), -1)))
    ranks = scores.ranks()
    within = [np.bincount(kinds[ranks < multiple], minlength=len(KINDS)) for multiple in MULTIPLES]
    shares = np.full((len(MULTIPLES), len(KINDS)), np.nan)
    totals = np.array([counts.sum() for counts in within])[:, None]
    np.divide(np.array(within), totals, out=shares, where=totals > 0)
    return ErrorBreakdown(
        kinds=KINDS,
        all_counts=np.bincount(kinds[scores.counted], minlength=len(KINDS)),
        top_counts=within[MULTIPLES.index(1.0)],
        multiples=MULTIPLES,
        shares=shares,
        gains=gains,
        num_labelled=len(evidence.labelled_keys),
        num_found=int(np.count_nonzero(evidence.found)),
        num_missed=int(np.count_nonzero(~reached)),
    )


def _relations(evidence: Evidence, rules: Rules, num_relations: int, counted: Bool[np.ndarray, " k"]) -> ClassTable:
    relations, labelled = (triplets_of(keys)[:, 1] for keys in (evidence.keys, evidence.labelled_keys))
    num_labelled = np.bincount(labelled, minlength=num_relations)
    figures = class_figures(
        relations[counted],
        evidence.scores[counted],
        evidence.kinds[counted] == CORRECT,
        num_labelled,
        levels=rules.levels,
    )
    triplets = np.full((num_relations, 3), ANY)
    triplets[:, 1] = np.arange(num_relations)
    return ClassTable(triplets, figures, num_labelled)


def _confusion(evidence: Evidence, relations: tuple[str, ...]) -> Confusion:
    num_relations = len(relations)
    labelled = triplets_of(evidence.labelled_keys)[:, 1]
    columns = np.where(evidence.confused >= 0, evidence.confused, num_relations)
    counts = np.zeros((num_relations, num_relations + 1), np.int64)
    np.add.at(counts, (labelled, columns), 1)
    return Confusion(relations, counts)


def _curve(evidence: Evidence, rows: Bool[np.ndarray, " k"], num_labelled: int) -> PrecisionRecall:
    scores = evidence.scores[rows]
    order = np.argsort(-scores, kind="stable")
    correct, scores = (evidence.kinds[rows] == CORRECT)[order], scores[order]
    hits = np.cumsum(correct)
    # between true positives precision only falls: of each run its ends are enough
    edges = correct | np.append(correct[1:], True) if len(correct) else correct
    points = np.flatnonzero(edges)
    if len(points) > CURVE_POINTS:
        points = points[np.unique(np.linspace(0, len(points) - 1, CURVE_POINTS).round().astype(np.int64))]
    return PrecisionRecall(
        recall=hits[points] / max(num_labelled, 1),
        precision=hits[points] / (points + 1),
        scores=scores[points],
        num_labelled=num_labelled,
        ap=average_precision(correct, num_labelled, None) if num_labelled else float("nan"),
    )


def _curves(evidence: Evidence, counted: Bool[np.ndarray, " k"], num_relations: int) -> tuple[PrecisionRecall, ...]:
    relations, labelled = (triplets_of(keys)[:, 1] for keys in (evidence.keys, evidence.labelled_keys))
    num_labelled = np.bincount(labelled, minlength=num_relations)
    order = np.argsort(relations, kind="stable")
    order = order[counted[order]]
    ptr = np.searchsorted(relations[order], np.arange(num_relations + 1))
    curves = []
    for relation in range(num_relations):
        curves.append(_curve(evidence, order[ptr[relation] : ptr[relation + 1]], int(num_labelled[relation])))
    return tuple(curves)


def _images(evidence: Evidence) -> ImageFigures:
    detections, labels = evidence.ptr(1), evidence.ptr(2)
    return ImageFigures(
        indices=evidence.images[:, 0],
        image_ids=evidence.images[:, 3],
        num_labelled=evidence.images[:, 2],
        num_found=np.add.reduceat(np.append(evidence.found, 0).astype(np.int64), labels[:-1]) * (np.diff(labels) > 0)
        if len(labels) > 1
        else np.zeros(0, np.int64),
        ap=np.array(
            [
                image_ap(evidence.kinds[detections[row] : detections[row + 1]], int(evidence.images[row, 2]))
                for row in range(len(evidence.images))
            ],
            np.float64,
        ),
    )


def image_ap(kinds: Int[np.ndarray, " k"], num_labelled: int) -> float:
    """Average precision of the ranked list of one image, all classes together; NaN without labels."""
    return average_precision(kinds == CORRECT, num_labelled, None) if num_labelled else float("nan")
