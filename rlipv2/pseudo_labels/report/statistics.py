"""Counts of what the stages made, added up image by image; memory grows with the words, not with the images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from rlipv2.pseudo_labels.candidates import caption_triplets, kept_boxes
from rlipv2.pseudo_labels.matching import Matcher
from rlipv2.pseudo_labels.records import LabelledImage, SceneGraph, Tags

THRESHOLDS = (0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Scores at which the tables count; 0.05 is what is stored, 0.2 what published pre-training reads."""
SCORE_BINS = 100
MOST_PER_IMAGE = 1000
PERSON = "person"


@dataclass(frozen=True)
class ReportImage:
    """What the stages know of an image.

    Attributes:
        image: with its boxes.
        file: where the picture is; None shows its boxes only.
        captions: may be empty, as everything that follows.
        graphs: one per caption.
        tags: scored relations as they are merged: after filters, everything above the stored threshold.
        num_candidates: pairs of boxes that the tagger was asked about.
    """

    image: LabelledImage
    file: Path | None
    captions: Sequence[str]
    graphs: Sequence[SceneGraph]
    tags: Tags
    num_candidates: int = 0

    @cached_property
    def kept(self) -> tuple[Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
        """The boxes (x1 y1 x2 y2 in pixels) and labels that rows of `tags.pairs` mean."""
        return kept_boxes(self.image)


@dataclass(frozen=True)
class ImageCounts:
    """How many of everything an image has, in the order of the table of images."""

    boxes: int
    captions: int
    captions_with_relations: int
    relations_parsed: int
    relations_matched: int
    candidate_pairs: int
    scored: int
    kept: int


@dataclass
class Statistics:
    """All counts of a report.

    Attributes:
        threshold: scores that reach it are kept.
        matcher: tells which parsed relations match classes; None counts no matched ones.
        images: number of images.
        totals: sums of `ImageCounts`, by name.
        by_relation: per relation text, how many relations lie between two of `THRESHOLDS`: below the first of them,
            from each of them to the next, from the last one on.
        by_person: the same for those whose subject is a person; `person` is the class.
        scores: histogram of all scores in `SCORE_BINS` bins.
        per_image: how many images have how many kept relations; the last entry is `MOST_PER_IMAGE` or more.
        relation_objects: kept relations by (text, class of the object).
        subject_objects: kept relations by (class of the subject, class of the object).
    """

    threshold: float
    matcher: Matcher | None = None
    person: int = -1
    images: int = 0
    totals: Counter[str] = field(default_factory=Counter)
    by_relation: dict[str, Int[np.ndarray, " t"]] = field(default_factory=dict)
    by_person: Int[np.ndarray, " t"] = field(default_factory=lambda: np.zeros(len(THRESHOLDS) + 1, np.int64))
    scores: Int[np.ndarray, " b"] = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))
    per_image: Int[np.ndarray, " k"] = field(default_factory=lambda: np.zeros(MOST_PER_IMAGE + 1, np.int64))
    relation_objects: Counter[tuple[str, int]] = field(default_factory=Counter)
    subject_objects: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, report: ReportImage) -> ImageCounts:
        """Adds an image and returns its own counts."""
        labels, tags = report.kept[1], report.tags
        matched: Counter[str] = Counter()
        if self.matcher is not None:
            caption_triplets(report.graphs, report.image, self.matcher, counts=matched)
        kept = tags.scores >= self.threshold
        counts = ImageCounts(
            boxes=len(labels),
            captions=len(report.captions),
            captions_with_relations=sum(bool(graph.relations) for graph in report.graphs),
            relations_parsed=sum(len(graph.relations) for graph in report.graphs),
            relations_matched=matched["relations matched"],
            candidate_pairs=report.num_candidates,
            scored=len(tags),
            kept=int(kept.sum()),
        )
        self.images += 1
        self.totals.update(vars(counts))
        self.per_image[min(counts.kept, MOST_PER_IMAGE)] += 1
        if len(tags):
            self._add_relations(tags, labels[tags.pairs], kept.tolist())
        return counts

    def _add_relations(self, tags: Tags, labels: Int[np.ndarray, "k 2"], kept: list[bool]) -> None:
        scores = tags.scores.astype(np.float64)
        bins = np.clip((scores * SCORE_BINS).astype(np.int64), 0, SCORE_BINS - 1)
        np.add.at(self.scores, bins, 1)
        levels = np.searchsorted(THRESHOLDS, scores, side="right")
        np.add.at(self.by_person, levels[labels[:, 0] == self.person], 1)
        for text, level, (subject, target), keep in zip(
            tags.texts, levels.tolist(), labels.tolist(), kept, strict=True
        ):
            if text not in self.by_relation:
                self.by_relation[text] = np.zeros(len(THRESHOLDS) + 1, np.int64)
            self.by_relation[text][level] += 1
            if keep:
                self.relation_objects[text, target] += 1
                self.subject_objects[subject, target] += 1

    def relation_counts(self, threshold: float) -> dict[str, int]:
        """How often each relation is scored at least `threshold`, one of `THRESHOLDS`; most frequent first."""
        first = THRESHOLDS.index(threshold) + 1
        counts = {text: int(levels[first:].sum()) for text, levels in self.by_relation.items()}
        return dict(sorted(((text, n) for text, n in counts.items() if n), key=lambda item: (-item[1], item[0])))

    @property
    def kept_by_relation(self) -> dict[str, int]:
        """How often each relation is kept; most frequent first."""
        counts: Counter[str] = Counter()
        for (text, _), count in self.relation_objects.items():
            counts[text] += count
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def without_relations(self) -> int:
        """Images of which nothing is kept."""
        return int(self.per_image[0])


@dataclass(frozen=True)
class Level:
    """What is left at a threshold, and how long the tail of its names is.

    Attributes:
        threshold: of the scores.
        relations: scored at least so high.
        names: distinct texts of them.
        per_image: relations divided by all images.
        top10_share: of the relations that have one of the ten most frequent names; NaN without relations.
        names_half: so many names, the most frequent first, cover half of the relations.
        names_most: so many cover nine in ten.
        names_frequent: so many occur at least 100 times.
        person_share: of the relations whose subject is a person; NaN without relations.
    """

    threshold: float
    relations: int
    names: int
    per_image: float
    top10_share: float
    names_half: int
    names_most: int
    names_frequent: int
    person_share: float


def levels(statistics: Statistics) -> list[Level]:
    """The figures at each of `THRESHOLDS`."""
    rows = []
    for k, threshold in enumerate(THRESHOLDS):
        counts = np.array(list(statistics.relation_counts(threshold).values()), np.int64)
        total = int(counts.sum())
        share = np.cumsum(counts) / max(total, 1)
        rows.append(
            Level(
                threshold=threshold,
                relations=total,
                names=len(counts),
                per_image=total / max(statistics.images, 1),
                top10_share=float(counts[:10].sum() / total) if total else float("nan"),
                names_half=int((share < 0.5).sum()) + bool(total),
                names_most=int((share < 0.9).sum()) + bool(total),
                names_frequent=int((counts >= 100).sum()),
                person_share=float(statistics.by_person[k + 1 :].sum() / total) if total else float("nan"),
            )
        )
    return rows


def funnel(statistics: Statistics) -> list[tuple[str, int]]:
    """(what, how many) from captions to kept relations."""
    totals = statistics.totals
    steps = [
        ("captions", totals["captions"]),
        ("captions with a relation", totals["captions_with_relations"]),
        ("relations parsed", totals["relations_parsed"]),
    ]
    if statistics.matcher is not None:
        steps.append(("relations matched to classes", totals["relations_matched"]))
    return [
        *steps,
        ("candidate pairs of boxes", totals["candidate_pairs"]),
        ("scored relations", totals["scored"]),
        (f"relations kept at {statistics.threshold:g}", totals["kept"]),
    ]
