"""Figures of matched images: by the official and by the literature's protocol, under the names of either code."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from rlipv2.metrics.figures import ClassFigures, class_figures
from rlipv2.metrics.functional import recall_levels
from rlipv2.metrics.open_images.protocol import (
    EARLY,
    PHRASE,
    PHRASE_TP,
    PHRASE_TP_50,
    PHRASE_TP_100,
    RELATION_TP,
    UNANNOTATED,
    OpenImagesMatches,
    OpenImagesProtocol,
)
from rlipv2.metrics.pairs import TripletClasses


@dataclass(frozen=True)
class OfficialResult:
    """The official figures, per triplet class.

    Attributes:
        name: see `OpenImagesProtocol.name`.
        figures: by ("RelD" for relations or "PhrD" for phrases, 50 or 100). With the phrase index bug a
            class can have more true positives than labelled phrases.
        num_labelled: labelled pairs per class.
    """

    KINDS: ClassVar[tuple[str, str]] = ("RelD", "PhrD")

    name: str
    figures: dict[tuple[str, int], ClassFigures]
    num_labelled: Int[np.ndarray, " c"]

    def values(self) -> dict[str, float]:
        """All figures by their official names, fractions; NaN if nothing is labelled."""
        values: dict[str, float] = {}
        for (kind, k), figures in self.figures.items():
            values |= {f"{name}@{k} ({kind})": value for name, value in self._means(figures, kind).items()}
        for mean in ("mAP", "wmAP"):
            parts = (f"max recall@50 ({self.KINDS[0]})", *(f"{mean}@100 ({kind})" for kind in self.KINDS))
            recall, relation, phrase = (values[part] for part in parts)
            values[f"score_wtd ({mean})"] = 0.2 * recall + 0.4 * relation + 0.4 * phrase
        return values

    def counts(self) -> dict[str, int]:
        """True positives and detections of all triplet classes at K = 100."""
        relations, phrases = (self.figures[kind, 100] for kind in self.KINDS)
        return {
            "rel_tp@100": int(relations.num_true_positives.sum()),
            "rel_n@100": int(relations.num_detections.sum()),
            "phr_tp@100": int(phrases.num_true_positives.sum()),
            "phr_n@100": int(phrases.num_detections.sum()),
        }

    def _means(self, figures: ClassFigures, kind: str) -> dict[str, float]:
        labelled = self.num_labelled
        if not labelled.any():
            return dict.fromkeys(("mAP", "wmAP", "mean max recall", "max recall"), float("nan"))
        # The official micro recall of phrases leaves out triplets without any detection, that of relations does not.
        counted = labelled if kind == "RelD" else labelled[figures.num_detections > 0]
        return {
            "mAP": figures.mean_ap(),
            "wmAP": float(np.nansum(figures.ap * labelled) / labelled.sum()),
            "mean max recall": figures.mean_max_recall(),
            "max recall": float(figures.num_true_positives.sum() / max(counted.sum(), 1)),
        }


@dataclass(frozen=True)
class LiteratureResult:
    """The figures of PySGG, per relation.

    Attributes:
        relations: of pairs, both boxes must match.
        phrases: of the boxes around pairs.
        num_labelled: labelled pairs per relation.
        recall: share of the labelled pairs found among the first 50 and 100 detections.
    """

    name: ClassVar[str] = "open_images_protocol"

    relations: ClassFigures
    phrases: ClassFigures
    num_labelled: Int[np.ndarray, " r"]
    recall: dict[int, float]

    def values(self) -> dict[str, float]:
        """All figures, fractions; NaN if nothing is labelled."""
        values = {}
        total = self.num_labelled.sum()
        for kind, figures in (("rel", self.relations), ("phr", self.phrases)):
            # PySGG divides by the number of all relations, those without labelled pairs have 0.
            values[f"mAP_{kind}"] = float(np.nansum(figures.ap) / len(figures.ap)) if total else float("nan")
            weighted = np.nansum(figures.ap * self.num_labelled)
            values[f"wmAP_{kind}"] = float(weighted / total) if total else float("nan")
        values |= {f"R{k}": value for k, value in self.recall.items()}
        values["score_wtd"] = 0.4 * values["wmAP_rel"] + 0.2 * values["R50"] + 0.4 * values["wmAP_phr"]
        return values


def summarise_official(matches: OpenImagesMatches, num_classes: int, protocol: OpenImagesProtocol) -> OfficialResult:
    """The official figures of all matched images; ties of scores go to the earlier image, then the better rank.

    Args:
        matches: every image once, see `OpenImagesMatches.unique`; made with the same `protocol.nms`.
        num_classes: triplet classes.
        protocol: tells which phrases are correct.
    """
    num_labelled = np.bincount(matches.labelled_classes, minlength=num_classes)
    flags, levels = matches.flags, recall_levels("float")
    bugged = protocol.nms and protocol.phrase_index_bug
    figures = {}
    for k, phrase_bit in ((50, PHRASE_TP_50), (100, PHRASE_TP_100)):
        within = (flags & EARLY > 0) | (k == 100)
        # On images without boxes the official code drops relations, but not phrases.
        chosen = {"RelD": within & (flags & UNANNOTATED == 0), "PhrD": within & (flags & PHRASE > 0)}
        bits = {"RelD": RELATION_TP, "PhrD": phrase_bit if bugged else PHRASE_TP}
        for kind, rows in chosen.items():
            positive = flags[rows] & bits[kind] > 0
            figures[kind, k] = class_figures(
                matches.classes[rows], matches.scores[rows], positive, num_labelled, levels
            )
    return OfficialResult(protocol.name, figures, num_labelled)


def summarise_literature(matches: OpenImagesMatches, classes: TripletClasses, num_relations: int) -> LiteratureResult:
    """The literature's figures of all matched images.

    Args:
        matches: every image once, see `OpenImagesMatches.unique`.
        classes: what `matches.labelled_classes` counts in.
        num_relations: relations of the label space.
    """
    relations = classes.triplets[matches.labelled_classes, 1]
    num_labelled = np.bincount(relations, minlength=num_relations)
    relation_figures, phrase_figures = (
        class_figures(
            matches.relations, matches.relation_scores, matches.relation_flags & bit > 0, num_labelled, levels=None
        )
        for bit in (RELATION_TP, PHRASE_TP)
    )
    total = len(matches.found_at)
    recall = {k: float((matches.found_at < k).sum() / total) if total else float("nan") for k in (50, 100)}
    return LiteratureResult(relation_figures, phrase_figures, num_labelled, recall)
