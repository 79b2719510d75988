"""Tagged relations and captions without a tagger, scored against the truth side by side."""

import math
from typing import Any

from rlipv2.pseudo_labels.baselines import caption_shares, every_matching_pair, nearest_matching_pair
from rlipv2.pseudo_labels.matching import Matcher
from rlipv2.pseudo_labels.report.statistics import THRESHOLDS, ReportImage
from rlipv2.pseudo_labels.truth import Curve, Truth, TruthScores

TAGGED, EVERY_PAIR, NEAREST_PAIR = "tagger", "captions, every pair", "captions, nearest pair"
WHAT = {
    TAGGED: "the relations of this run",
    EVERY_PAIR: "every relation that captions name, for every pair of boxes of its two classes, scored by the share of "
    "the image's captions that say it",
    NEAREST_PAIR: "no tagger, but geometry: every relation that captions name, for the one pair of boxes of its two "
    "classes that are nearest to each other, scored in the same way",
}
"""What each method is, for the reader of a report."""


class Methods:
    """Scores of the tagged relations and of both baselines, added up image by image.

    Args:
        truth: what is true.
        matcher: the one that the candidates were found with.
    """

    def __init__(self, truth: Truth, matcher: Matcher) -> None:
        self.truth, self.matcher = truth, matcher
        self.images = 0
        self.scores = {name: TruthScores(truth) for name in WHAT}

    def add(self, report: ReportImage) -> None:
        """Adds an image.

        Raises:
            ValueError: the truth does not list it, or knows another number of boxes.
        """
        image_id, boxes = report.image.image_id, len(report.kept[1])
        if image_id not in self.truth:
            raise ValueError(f"{self.truth.path}: image {image_id} is not in it; give the truth of these images")
        expected = self.truth.relations_of(image_id).num_boxes
        if boxes != expected:
            raise ValueError(
                f"{self.truth.path}: image {image_id} has {expected} boxes there, {boxes} in the annotations; "
                "give the truth of these images"
            )
        shares = caption_shares(report.graphs, report.image, self.matcher)
        self.images += 1
        self.scores[TAGGED].add(image_id, report.tags)
        self.scores[EVERY_PAIR].add(image_id, every_matching_pair(shares, report.image))
        self.scores[NEAREST_PAIR].add(image_id, nearest_matching_pair(shares, report.image))

    @property
    def curves(self) -> dict[str, Curve]:
        """Of each method, the tagged relations first."""
        return {name: scores.curve for name, scores in self.scores.items()}

    def summary(self, threshold: float) -> dict[str, Any]:
        """Plain values for JSON; None where there is nothing to measure.

        Args:
            threshold: of the recalls of single relations.
        """
        methods = []
        for name, curve in self.curves.items():
            best_threshold, best_f1 = curve.best
            methods.append(
                {
                    "name": name,
                    "what": WHAT[name],
                    "average_precision": _plain(curve.average_precision),
                    "best_f1": _plain(best_f1),
                    "best_threshold": round(best_threshold, 3),
                    "at": [
                        {"threshold": step, **{key: _plain(value) for key, value in curve.at(step).items()}}
                        for step in THRESHOLDS
                    ],
                }
            )
        recalls = self.scores[TAGGED].relation_recalls(threshold)
        return {
            "images": self.images,
            "total": self.scores[TAGGED].curve.total,
            "thresholds": list(THRESHOLDS),
            "methods": methods,
            "by_relation": {name: [_plain(recall), total] for name, (recall, total) in recalls.items()},
        }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
