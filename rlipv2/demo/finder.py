"""What the page asks: the triplets of a picture for some words, found once and then only filtered."""

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from rlipv2.predict.images import read_image
from rlipv2.predict.predictor import RelationPredictor
from rlipv2.structures import LabelSpace, Triplets
from rlipv2.visualize import draw_triplets, scene_graph_svg

KEPT = 32
"""Pictures with words whose triplets are kept, so that moving the slider does not run the network."""
FOUND = 200
"""Triplets of a picture, before the slider."""
LONG_SIDE = 1100
"""Pixels of a drawn picture; larger ones are scaled down for the page."""


@dataclass(frozen=True)
class Found:
    """What the page shows of a picture.

    Attributes:
        drawn: the picture with boxes, arrows and labels.
        graph: the same as nodes and edges, an `<svg>` element.
        rows: rank, subject, relation, object, score.
        content: what the download holds, `Triplets.to_dict`.
        left_out: triplets that are not shown: below the threshold, or beyond the number asked for.
    """

    drawn: Image.Image
    graph: str
    rows: list[list[Any]]
    content: dict[str, Any]
    left_out: int


class Finder:
    """Answers of a predictor, for any number of threads.

    Args:
        predictor: finds the triplets.
    """

    def __init__(self, predictor: RelationPredictor) -> None:
        self.predictor = predictor
        self._kept: OrderedDict[tuple[bytes, LabelSpace], Triplets] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, file: str | Path, label_space: LabelSpace, *, min_score: float, top: int) -> Found:
        """The triplets of an image file for some words.

        Raises:
            ValueError: a file that is no picture (`ImageError`), or words that the weights cannot be asked for.
        """
        image = read_image(file)
        triplets = self._triplets(image, label_space)
        shown = triplets.filter(min_score).top(top)
        side = max(image.shape[1:])
        return Found(
            drawn=draw_triplets(image, shown, long_side=LONG_SIDE if side > LONG_SIDE else None),
            graph=scene_graph_svg(shown, size=(900, 480)),
            rows=[
                [rank, triplet.subject, triplet.relation, triplet.object, round(triplet.score, 4)]
                for rank, triplet in enumerate(shown, start=1)
            ],
            content={**shown.to_dict(), **label_space.to_dict(), "min_score": min_score},
            left_out=len(triplets) - len(shown),
        )

    def _triplets(self, image: Tensor, label_space: LabelSpace) -> Triplets:
        pixels = hashlib.sha256(image.numpy().tobytes() + repr(tuple(image.shape)).encode()).digest()
        key = pixels, label_space
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = self.predictor(image, label_space, top=FOUND)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found
