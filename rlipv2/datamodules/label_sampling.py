"""The label space of a batch: the names of its images, extended by names drawn from the corpus."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.datasets.scene_graphs.names import NameCounts
from rlipv2.structures import LabelSpace, Sample

STRATEGIES = ("freq", "random")
ROUNDS = 8
"""Blocks of draws before the rest is drawn without rejection."""


class NameSampler:
    """Draws distinct names of one kind, one after the other, each with a probability by its count.

    Args:
        names: of the corpus.
        counts: how often each occurs, at least 1.
        strategy: "freq" draws in proportion to the counts, "random" uniformly.
    """

    def __init__(self, names: Sequence[str], counts: Int[np.ndarray, " n"], strategy: str) -> None:
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy={strategy!r}: expected one of {STRATEGIES}, or two of them as in 'freq+random'")
        self.names = tuple(names)
        self.rows = {name: row for row, name in enumerate(self.names)}
        self.weights: Float[np.ndarray, " n"] = np.asarray(counts if strategy == "freq" else np.ones(len(names)), float)
        self.cumulative = np.cumsum(self.weights) / max(self.weights.sum(), 1.0)

    def extend(self, present: Sequence[str], size: int, generator: np.random.Generator) -> tuple[str, ...]:
        """The present names, followed by drawn ones up to `size`; a longer list stays as it is.

        A corpus without enough other names gives all it has.
        """
        missing = size - len(present)
        if missing <= 0:
            return tuple(present)
        taken = np.zeros(len(self.names), bool)
        taken[[self.rows[name] for name in present if name in self.rows]] = True
        missing = min(missing, len(taken) - int(np.count_nonzero(taken)))
        return (*present, *(self.names[row] for row in self._draw(taken, missing, generator)))

    def _draw(
        self, taken: Bool[np.ndarray, " n"], missing: int, generator: np.random.Generator
    ) -> Int[np.ndarray, " k"]:
        """Rows in the order of their draw; what is taken is drawn again, as in the official loop.

        Blocks of draws are searched at once. Where few names that are not taken remain likely, the blocks would
        go on for long: the rest comes from exponential keys, which have the same distribution (Efraimidis and
        Spirakis, 2006).
        """
        drawn = [np.zeros(0, np.int64)]
        for _ in range(ROUNDS):
            if not missing:
                break
            rows = np.searchsorted(self.cumulative, generator.random(4 * missing + 32), side="left")
            rows = np.minimum(rows, len(taken) - 1)  # the last sum may round to less than 1
            rows = rows[~taken[rows]]
            _, first = np.unique(rows, return_index=True)
            drawn.append(rows[np.sort(first)][:missing])
            taken[drawn[-1]] = True
            missing -= len(drawn[-1])
        if missing:
            free = np.flatnonzero(~taken)
            keys = generator.exponential(size=len(free)) / self.weights[free]
            drawn.append(free[np.argsort(keys)[:missing]])
        return np.concatenate(drawn)


class LabelSampler:
    """Label Sequence Extension: the names of a batch, extended to a fixed number by names it does not show.

    Union of the samples' label spaces in order of first appearance, then draws from the corpus until there are
    int(total * object_share) objects and the rest of `total` in relations; longer lists are kept whole. The draws
    are a function of the samples' `draw` numbers, hence of (seed, epoch, images of the batch): they come again when
    a run is resumed, and differ between the ranks. The background text is not counted and never drawn.

    RLIP (NeurIPS 2022). Official: engine.py, merge_batch_data, with `negative_text_sampling` and `sampling_stategy`;
    there Python's `random` draws, so the names of single batches differ. 500 texts by frequency in every official
    pre-training recipe.

    Args:
        names: the corpus; official: its counts after the confidence threshold, but before relations are cut.
        total: objects and relations together; 0 extends nothing.
        object_share: part of `total` that objects get.
        strategy: "freq", "random", or "a+b" for objects and relations apart.

    Raises:
        ValueError: an option out of range.
    """

    def __init__(
        self, names: NameCounts, *, total: int = 500, object_share: float = 2 / 3, strategy: str = "freq"
    ) -> None:
        if total < 0 or not 0 <= object_share <= 1:
            raise ValueError(
                f"total={total}, object_share={object_share}: expected a number of texts and a share from 0 to 1"
            )
        self.num_objects = int(total * object_share)
        self.num_relations = total - self.num_objects
        strategies = strategy.split("+")
        known = np.array([name != LabelSpace.NO_OBJECT for name in names.objects], bool)
        objects = [name for name in names.objects if name != LabelSpace.NO_OBJECT]
        self.objects = NameSampler(objects, names.object_counts[known], strategies[0])
        self.relations = NameSampler(names.relations, names.relation_counts, "+".join(strategies[1:]) or strategies[0])

    def __call__(self, samples: Sequence[Sample]) -> LabelSpace:
        """The label space of a batch."""
        generator = np.random.default_rng([sample.draw for sample in samples])
        return self.extend(merge_label_spaces([sample.label_space for sample in samples]), generator)

    def extend(self, label_space: LabelSpace, generator: np.random.Generator) -> LabelSpace:
        """The label space with drawn names behind its own."""
        return LabelSpace(
            objects=self.objects.extend(label_space.objects, self.num_objects, generator),
            relations=self.relations.extend(label_space.relations, self.num_relations, generator),
        )


class FixedLabels:
    """The same label space for every batch, with the names of the batch that it lacks behind its own.

    For evaluation: figures need the same columns everywhere, and the pairs given to a tagger need the names of their
    objects, of which a free-form corpus has more than a network can be asked for at once. Relations beyond the fixed
    ones stay visible, so that their pairs do not pass for unrelated.
    """

    def __init__(self, label_space: LabelSpace) -> None:
        self.label_space = label_space

    def __call__(self, samples: Sequence[Sample]) -> LabelSpace:
        """The label space of a batch."""
        merged = merge_label_spaces([self.label_space, *(sample.label_space for sample in samples)])
        return self.label_space if merged == self.label_space else merged


def merge_label_spaces(spaces: Sequence[LabelSpace]) -> LabelSpace:
    """The union of names, in order of first appearance."""
    objects = dict.fromkeys(name for space in spaces for name in space.objects)
    relations = dict.fromkeys(name for space in spaces for name in space.relations)
    return LabelSpace(objects=tuple(objects), relations=tuple(relations))
