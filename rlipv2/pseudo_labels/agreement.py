"""How far two runs on the same images agree, relation by relation, at every threshold."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from rlipv2.pseudo_labels.plan import Plan, PlanError, changes
from rlipv2.pseudo_labels.source import LabelledImages

STEPS = 100
Key = tuple[int, int, str]
"""Box of the subject, box of the object, relation text."""


@dataclass(frozen=True)
class Agreement:
    """Relations of two runs that are scored at least k / `STEPS`, for every k.

    A relation is a pair of boxes and a text; one that is there several times counts once, with its best score.

    Attributes:
        other: name of the other run.
        here: relations of this run.
        there: relations of the other one.
        both: relations that both score so high.
        pairs_both: pairs of boxes to which both give any relation scored so high.
        pairs_any: pairs of boxes to which one of them gives any.
    """

    other: str
    here: Int[np.ndarray, " k"]
    there: Int[np.ndarray, " k"]
    both: Int[np.ndarray, " k"]
    pairs_both: Int[np.ndarray, " k"]
    pairs_any: Int[np.ndarray, " k"]

    @property
    def shares(self) -> np.ndarray:
        """Relations of both runs by relations of any of them; NaN where there are none."""
        any_ = self.here + self.there - self.both
        return np.where(any_ > 0, self.both / np.maximum(any_, 1), np.nan)

    @property
    def pair_shares(self) -> np.ndarray:
        """Pairs related by both runs by pairs related by any of them; NaN where there are none."""
        return np.where(self.pairs_any > 0, self.pairs_both / np.maximum(self.pairs_any, 1), np.nan)

    def at(self, threshold: float) -> dict[str, float]:
        """The figures at a threshold, which is rounded to a step."""
        k = round(threshold * STEPS)
        counts = {name: int(getattr(self, name)[k]) for name in ("here", "there", "both")}
        return {**counts, "share": float(self.shares[k]), "pair_share": float(self.pair_shares[k])}


def agreement(plan: Plan, other: Plan, images: LabelledImages) -> Agreement:
    """Compares the tags of two runs, of which a unit each is in memory.

    Raises:
        PlanError: the other run is about other images or boxes; names the difference.
        UnitError: a unit of either is not complete.
    """
    here, there = ({key: run.data[key] for key in run.data if key != "unit_size"} for run in (plan, other))
    different = changes(here, there)
    if different:
        raise PlanError(f"{other.out}: cannot be compared, it is about other images ({'; '.join(different)})")
    counts = {name: np.zeros(STEPS + 1, np.int64) for name in ("here", "there", "both", "pairs_both", "pairs_any")}
    of_other = _images(other, images)
    for (image, mine), (twin, theirs) in zip(_images(plan, images), of_other, strict=True):
        assert image == twin  # the ids and their order have one hash
        _add(counts, mine, theirs)
    return Agreement(other.out.name, **{name: np.cumsum(some[::-1])[::-1] for name, some in counts.items()})


def _add(counts: dict[str, Int[np.ndarray, " k"]], mine: dict[Key, int], theirs: dict[Key, int]) -> None:
    here_pairs, there_pairs = _best_of_pairs(mine), _best_of_pairs(theirs)
    found = {
        "here": Counter(mine.values()),
        "there": Counter(theirs.values()),
        "both": Counter(min(step, theirs[key]) for key, step in mine.items() if key in theirs),
        "pairs_both": Counter(min(step, there_pairs[pair]) for pair, step in here_pairs.items() if pair in there_pairs),
        "pairs_any": Counter((here_pairs | {p: max(s, here_pairs.get(p, 0)) for p, s in there_pairs.items()}).values()),
    }
    for name, steps in found.items():
        for step, count in steps.items():
            counts[name][step] += count


def _best_of_pairs(relations: dict[Key, int]) -> dict[tuple[int, int], int]:
    best: dict[tuple[int, int], int] = {}
    for (subject, target, _), step in relations.items():
        best[subject, target] = max(step, best.get((subject, target), 0))
    return best


def _images(plan: Plan, images: LabelledImages) -> Iterator[tuple[int, dict[Key, int]]]:
    """(image id, highest step that each relation reaches) of every image in order."""
    ids, folder = images.image_ids, plan.folder("tag")
    for unit in range(plan.num_units):
        folder.record(unit)
        rows = dict(folder.rows(unit))
        for image in ids[slice(plan.images_of(unit).start, plan.images_of(unit).stop)].tolist():
            best: dict[Key, int] = {}
            if image in rows:
                tags = rows[image]
                steps = np.floor(np.nan_to_num(tags.scores).astype(np.float64) * STEPS + 1e-6).astype(int).tolist()
                for pair, text, step in zip(tags.pairs.tolist(), tags.texts, steps, strict=True):
                    key = (pair[0], pair[1], text)
                    best[key] = max(step, best.get(key, 0))
            yield image, best
