"""Which images a report shows: a random sample, the surest and the least sure relations, images without any."""

from dataclasses import dataclass, field
from random import Random

import numpy as np

from rlipv2.pseudo_labels.report.statistics import ReportImage


@dataclass
class Reservoir:
    """A uniform sample of a stream of unknown length; the same seed and stream, the same sample, in stream order.

    Algorithm R of Vitter (1985).
    """

    size: int
    seed: int
    seen: int = 0
    _kept: list[tuple[int, ReportImage]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    def add(self, image: ReportImage) -> None:
        """Offers the next one."""
        self.seen += 1
        if len(self._kept) < self.size:
            self._kept.append((self.seen, image))
        elif (place := self._random.randrange(self.seen)) < self.size:
            self._kept[place] = (self.seen, image)

    @property
    def images(self) -> list[ReportImage]:
        """The sample."""
        return [image for _, image in sorted(self._kept, key=lambda item: item[0])]


@dataclass(frozen=True)
class Extreme:
    """One relation of an image: the row of its tags."""

    image: ReportImage
    row: int
    score: float


@dataclass
class Extremes:
    """The relations with the highest, or the lowest, scores: one of each name, and one of an image.

    Args:
        size: how many to keep.
        lowest: rather than highest; of those that reach `threshold`.
        threshold: lower scores do not take part.
    """

    size: int
    lowest: bool = False
    threshold: float = 0.0
    _kept: dict[str, Extreme] = field(default_factory=dict)

    def add(self, image: ReportImage) -> None:
        """Offers the best relation of an image."""
        scores = np.nan_to_num(image.tags.scores.astype(np.float64), nan=-1.0)
        rows = np.flatnonzero(scores >= self.threshold)
        if not len(rows):
            return
        row = int(rows[scores[rows].argmin() if self.lowest else scores[rows].argmax()])
        offered = Extreme(image, row, float(scores[row]))
        text = image.tags.texts[row]
        if text not in self._kept or self._rank(offered) < self._rank(self._kept[text]):
            self._kept[text] = offered
            if len(self._kept) > self.size:
                # a name that goes can only come back with a better score than it had: the result stays exact
                del self._kept[max(self._kept, key=lambda name: self._rank(self._kept[name]))]

    def _rank(self, item: Extreme) -> float:
        return item.score if self.lowest else -item.score

    @property
    def relations(self) -> list[Extreme]:
        """What was kept, the most extreme first."""
        return sorted(self._kept.values(), key=self._rank)
