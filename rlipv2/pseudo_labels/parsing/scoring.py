"""How well triplets read from captions agree with those of a careful reader.

Convention of the caption sets: subjects and objects are lemmas of head nouns with noun compounds, relations are lemmas.
A true triplet lists other relations that count as right, and optional triplets are neither required nor penalised.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlipv2.pseudo_labels.records import SceneGraph

Triplet = tuple[str, str, str]


@dataclass(frozen=True)
class Agreement:
    """Counts over all captions, and precision, recall and F1 from them (0 where there is nothing to divide by).

    Attributes:
        correct: required triplets that were predicted.
        wrong: predictions that match no triplet; a repeated prediction is wrong from its second time on.
        missed: required triplets that were not predicted.
        ignored: predictions of optional triplets.
    """

    correct: int
    wrong: int
    missed: int
    ignored: int

    @property
    def precision(self) -> float:
        """Share of the predictions that count which are right."""
        return self.correct / max(self.correct + self.wrong, 1)

    @property
    def recall(self) -> float:
        """Share of the required triplets that were predicted."""
        return self.correct / max(self.correct + self.missed, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.correct / max(2 * self.correct + self.wrong + self.missed, 1)

    def to_dict(self) -> dict[str, float]:
        """Counts and figures for JSON."""
        return asdict(self) | {"precision": self.precision, "recall": self.recall, "f1": self.f1}


@dataclass(frozen=True)
class CaptionScores:
    """Micro averages over captions.

    Attributes:
        lenient: subjects and objects agree in their last word, "person" is "people".
        exact: subjects and objects agree as whole strings.
    """

    lenient: Agreement
    exact: Agreement

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Both for JSON."""
        return {"lenient": self.lenient.to_dict(), "exact": self.exact.to_dict()}


def graph_triplets(graph: SceneGraph) -> list[Triplet]:
    """(subject, relation, object) of each relation of a graph, all as lemmas."""
    heads = [entity.lemma_head for entity in graph.entities]
    return [(heads[row.subject], row.lemma_relation, heads[row.object]) for row in graph.relations]


def score_captions(cases: Sequence[Mapping[str, Any]], predictions: Iterable[Iterable[Triplet]]) -> CaptionScores:
    """Lenient and exact agreement of predicted triplets with those of the cases.

    Args:
        cases: the `captions` of a caption set; each has `triplets` with subject, relation, object and perhaps
            `accept` (other right relations) and `optional`.
        predictions: the triplets of each caption, see `graph_triplets`.

    Raises:
        ValueError: not as many predictions as cases.
    """
    pairs = list(zip(cases, [list(rows) for rows in predictions], strict=True))
    lenient, exact = (
        [_agreement(case["triplets"], rows, lenient=lenient) for case, rows in pairs] for lenient in (True, False)
    )
    return CaptionScores(_total(lenient), _total(exact))


def _agreement(truth: Sequence[Mapping[str, Any]], predicted: Iterable[Triplet], *, lenient: bool) -> Agreement:
    left = list(truth)
    correct = wrong = ignored = 0
    for subject, relation, name in predicted:
        ends = (_head(subject, lenient), _head(name, lenient))
        found = [
            row
            for row in left
            if (_head(row["subject"], lenient), _head(row["object"], lenient)) == ends
            and relation in (row["relation"], *row.get("accept", ()))
        ]
        if not found:
            wrong += 1
            continue
        # A required one first: an optional twin must not take its prediction away.
        match = min(found, key=lambda row: bool(row.get("optional", False)))
        left = [row for row in left if row is not match]
        if match.get("optional", False):
            ignored += 1
        else:
            correct += 1
    missed = sum(not row.get("optional", False) for row in left)
    return Agreement(correct, wrong, missed, ignored)


def _head(name: str, lenient: bool) -> str:
    if not lenient:
        return name
    last = name.split()[-1] if name.split() else ""
    return "people" if last == "person" else last


def _total(rows: Iterable[Agreement]) -> Agreement:
    counts = [(row.correct, row.wrong, row.missed, row.ignored) for row in rows]
    return Agreement(*(sum(column) for column in zip(*counts, strict=True))) if counts else Agreement(0, 0, 0, 0)
