"""Figures of scored pairs against multi-hot labels, on NumPy arrays: accuracy, average precision, separation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class TaggingResult:
    """Figures as fractions between 0 and 1; NaN where nothing could be measured.

    Attributes:
        accuracy: share of the related pairs whose best-scored relation is one of theirs.
        accuracy_chance: the same for a relation named at random: the mean number of relations of a pair, divided by
            the number of relations.
        accuracy_majority: the same for always naming the relation that most of these pairs have.
        map: mean over the relations of `average_precisions`.
        map_chance: the same for random scores: the mean share of pairs that have a relation.
        auc: probability that the best score of a related pair is above that of an unrelated one.
        average_precisions: of each relation over all pairs, NaN for those that no pair has.
        num_related: pairs with a relation.
        num_unrelated: pairs without.
    """

    accuracy: float
    accuracy_chance: float
    accuracy_majority: float
    map: float
    map_chance: float
    auc: float
    average_precisions: Float[np.ndarray, " r"]
    num_related: int
    num_unrelated: int


def evaluate(scores: Float[np.ndarray, "m r"], labels: Bool[np.ndarray, "m r"]) -> TaggingResult:
    """The figures of all pairs; ties of scores count half (auc), together (average precision) or first (accuracy)."""
    related = labels.any(axis=1)
    hits = np.take_along_axis(labels, scores.argmax(axis=1)[:, None], axis=1)[:, 0]
    shares = np.asarray(labels.sum(axis=0) / max(len(labels), 1))
    precisions = np.array([average_precision(*column) for column in zip(scores.T, labels.T, strict=True)])
    occurring = shares > 0
    best = scores.max(axis=1, initial=-np.inf)
    return TaggingResult(
        accuracy=_mean(hits[related]),
        accuracy_chance=_mean(labels[related].sum(axis=1) / labels.shape[1]),
        accuracy_majority=_mean(labels[related][:, shares.argmax()]) if related.any() else np.nan,
        map=_mean(precisions[occurring]),
        map_chance=_mean(shares[occurring]),
        auc=separation(best[related], best[~related]),
        average_precisions=precisions,
        num_related=int(related.sum()),
        num_unrelated=int((~related).sum()),
    )


def average_precision(scores: Float[np.ndarray, " m"], positive: Bool[np.ndarray, " m"]) -> float:
    """Mean over the positive pairs of the precision among all pairs that score at least as high; NaN without any.

    Not interpolated; equal scores are one threshold, so that their order does not matter.

    >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    0.8333333333333333
    """
    if not positive.any():
        return float("nan")
    order = np.argsort(-scores)
    ranked, hits = scores[order], positive[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # the end of each run of equal scores
    found = np.cumsum(hits)[last]
    precision = found / (np.flatnonzero(last) + 1)
    return float((precision * np.diff(found, prepend=0)).sum() / found[-1])


def separation(above: Float[np.ndarray, " p"], below: Float[np.ndarray, " n"]) -> float:
    """Probability that a number of `above` is larger than one of `below`, ties half (area under the ROC curve).

    >>> separation(np.array([3.0, 1.0]), np.array([1.0, 0.0]))
    0.875
    """
    if not len(above) or not len(below):
        return float("nan")
    ordered = np.sort(below)
    wins = np.searchsorted(ordered, above, side="left") + np.searchsorted(ordered, above, side="right")
    return float(wins.sum() / (2 * len(above) * len(below)))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
