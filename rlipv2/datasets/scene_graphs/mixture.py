"""Several corpora of scene graphs as one dataset: Visual Genome, pseudo-labelled COCO and Objects365, HICO-DET."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Int
from torch.utils.data import Dataset

from rlipv2.datasets.scene_graphs.dataset import SceneGraphs
from rlipv2.datasets.scene_graphs.names import NameCounts
from rlipv2.structures import Sample


class SceneGraphMixture(Dataset[Sample]):
    """The images of several corpora, one corpus after the other, each image once.

    Positions count over all of them, so that shuffling draws every image alike and a corpus in proportion to its size.
    Image ids are unique within a corpus only (Visual Genome and COCO share numbers): `key` tells an image from all
    others. Official: datasets/mixed_dataset.py, ConcatDataset.

    Args:
        parts: the corpora by name, in order.
        names: how often each name occurs; None adds up the counts of the parts, as officially.

    Attributes:
        parts: the same.
        names: the counts.

    Raises:
        ValueError: no corpus.
    """

    def __init__(self, parts: Mapping[str, SceneGraphs], *, names: NameCounts | None = None) -> None:
        if not parts:
            raise ValueError("a mixture of no corpora; name at least one")
        self.parts = dict(parts)
        self.names = NameCounts.sum([part.names for part in self.parts.values()]) if names is None else names
        self._order = tuple(self.parts)
        self._starts = np.cumsum([0, *(len(part) for part in self.parts.values())])

    @property
    def related(self) -> Bool[np.ndarray, " i"]:
        """True for images with relations."""
        return np.concatenate([part.related for part in self.parts.values()])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Sample:
        corpus, row = self.place(index)
        return self.parts[corpus][row]

    def place(self, index: int) -> tuple[str, int]:
        """The corpus of an image, and the position in it."""
        index = range(len(self))[index]
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._order[number], index - int(self._starts[number])

    def key(self, index: int) -> tuple[str, int]:
        """(corpus, image id): which image this is, in whatever order the corpora are."""
        corpus, row = self.place(index)
        return corpus, int(self.parts[corpus].image_ids[row])

    def select(self, images: Int[np.ndarray, " k"]) -> "SceneGraphMixture":
        """The same mixture with only the images at these positions, in order; names keep their counts."""
        chosen = np.zeros(len(self), bool)
        chosen[images] = True
        rows = np.split(chosen, self._starts[1:-1])
        parts = {
            name: part.select(np.flatnonzero(kept)) for (name, part), kept in zip(self.parts.items(), rows, strict=True)
        }
        return SceneGraphMixture(parts, names=self.names)
