"""Open Images scene-graph evaluation in NumPy, by two protocols that share nothing but the input.

"official" is that of RLIPv2 (datasets/oi_sgg_eval.py): average precision per triplet class, twice, for
the 50 and the 100 best triplets of an image. Whatever happens to the first 50 does not depend on the
others, so that one pass serves both. "literature" is that of PySGG and GPS-Net (PySGG,
data/datasets/evaluation/oi): average precision per relation. `summary` makes figures of the matches.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from rlipv2.metrics.figures import FlatMatches
from rlipv2.metrics.functional import (
    Detections,
    GroundTruth,
    LabelledPairs,
    best_candidates,
    match_pairs,
    same_key,
)
from rlipv2.metrics.pairs import (
    Best,
    PairArrays,
    TripletClasses,
    as_phrases,
    best_of_array,
    ranks_in_image,
    triplet_keys,
    triplets_of,
)
from rlipv2.ops.nms import pairwise_nms, pixel_iou

RELATION_TP, PHRASE, PHRASE_TP, PHRASE_TP_50, PHRASE_TP_100, EARLY, UNANNOTATED = 1, 2, 4, 8, 16, 32, 64
"""Bits of `OpenImagesMatches.flags`: a correct pair; left by phrase suppression; a correct phrase; what the
official evaluator calls a correct phrase at K = 50 and 100 (set with suppression only); among the first 50;
on an image without boxes."""

NEVER = 255
"""`OpenImagesMatches.found_at` of a labelled pair that no candidate covers."""

# PySGG counts an overlap above one half as correct in average precision: the next float32 after it.
_ABOVE_HALF = float(np.nextafter(np.float32(0.5), np.float32(1)))


@dataclass(frozen=True)
class OpenImagesProtocol:
    """The rules of the official protocol that can be changed, by default those of its scripts.

    The literature's protocol has no such settings: two best relations per pair, of these the 100 best
    with a score above 0.00001, overlaps above 0.5 for average precision and of at least 0.5 for recall.

    Attributes:
        nms: remove doubled pairs, then doubled phrases; the published scripts switch it on.
        nms_threshold: see `rlipv2.ops.nms.pairwise_nms`.
        nms_alpha: the same.
        nms_beta: the same.
        phrase_nms_threshold: overlap above which a phrase goes for a better one of its triplet.
        phrase_index_bug: judge phrases as the official code does. It computes overlaps while phrases
            lie in the order that suppression leaves (grouped by triplet), sorts the phrases by score and
            then looks overlaps up by the new position. Without `nms` both orders are the same.
    """

    nms: bool = True
    nms_threshold: float = 0.7
    nms_alpha: float = 1.0
    nms_beta: float = 0.5
    phrase_nms_threshold: float = 0.5
    phrase_index_bug: bool = True

    @property
    def name(self) -> str:
        """Name of these rules in results."""
        if not self.nms:
            return "official_no_nms"
        return "official_nms" if self.phrase_index_bug else "corrected_phrase_index_nms"


@dataclass(frozen=True)
class OpenImagesMatches(FlatMatches):
    """Matched images: flat rows per detection of each protocol and per labelled pair.

    Attributes:
        images: columns (dataset index, official rows, literature rows, labelled pairs).
        classes: triplet class of each official detection that has one, image by image, best first.
        scores: its score.
        flags: see `RELATION_TP` and the bits that follow.
        relations: relation of each detection of the literature's protocol.
        relation_scores: its score.
        relation_flags: bits `RELATION_TP` and `PHRASE_TP`.
        labelled_classes: triplet class of each labelled pair.
        found_at: rank from 0 of the first detection of the literature's protocol that covers it, or `NEVER`.
    """

    classes: Int[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]
    flags: UInt8[np.ndarray, " k"]
    relations: Int[np.ndarray, " l"]
    relation_scores: Float[np.ndarray, " l"]
    relation_flags: UInt8[np.ndarray, " l"]
    labelled_classes: Int[np.ndarray, " h"]
    found_at: Int[np.ndarray, " h"]

    OWNERS: ClassVar[dict[str, int]] = {
        "classes": 1,
        "scores": 1,
        "flags": 1,
        "relations": 2,
        "relation_scores": 2,
        "relation_flags": 2,
        "labelled_classes": 3,
        "found_at": 3,
    }


def official_candidates(pairs: PairArrays, scores: Any, best: Best = best_of_array) -> Detections:
    """The 100 best of all (pair, relation) scores of every image; no combination is masked."""
    return pairs.best(scores, 100, best)


def literature_candidates(pairs: PairArrays, scores: Any, best: Best = best_of_array) -> Detections:
    """The two best relations of each pair, of these the 100 best of every image with a score above 0.00001."""
    num_images, num_pairs, num_relations = scores.shape
    relations, values = best(scores.reshape(num_images * num_pairs, num_relations), 2)
    entries = np.arange(num_pairs)[:, None] * num_relations + relations.reshape(num_images, num_pairs, values.shape[1])
    width = num_pairs * values.shape[1]
    entries = entries.reshape(num_images, width)
    columns, values = best_of_array(values.reshape(num_images, width), 100)
    values = np.where(values > 0.00001, values, -np.inf)
    return pairs.detections(np.take_along_axis(entries, columns, axis=1), values, num_relations)


def match_images(
    official: Detections,
    literature: Detections,
    truth: GroundTruth,
    classes: TripletClasses,
    protocol: OpenImagesProtocol,
    *,
    indices: Int[np.ndarray, " i"],
) -> OpenImagesMatches:
    """Suppresses and matches the candidates of a run of images by both protocols.

    Args:
        official: of `official_candidates`; `images` counts within this run.
        literature: of `literature_candidates`, the same.
        truth: labels of the same images.
        classes: all triplets that are labelled in the split. The official phrase figures depend on those of
            other images too.
        protocol: the rules of the official figures.
        indices: dataset index of each image.

    Raises:
        ValueError: a labelled triplet is not among `classes`.
    """
    labelled = LabelledPairs.from_ground_truth(truth)
    labelled_classes = classes.find(_keys(labelled))
    for row in np.flatnonzero(labelled_classes < 0)[:1]:
        triplet = triplets_of(_keys(labelled)[row : row + 1])[0].tolist()
        raise ValueError(
            f"image with index {indices[labelled.images[row]]}: its labelled triplet {triplet} (subject, relation, "
            f"object) is none of the {len(classes)} listed; list the triplets of all images that are evaluated"
        )
    rows, row_classes, flags = _official(official, labelled, labelled_classes, classes, protocol)
    flags |= np.where((np.diff(truth.box_ptr) == 0)[rows.images], UNANNOTATED, 0).astype(np.uint8)
    known = row_classes >= 0
    rows, row_classes, flags = rows.take(known), row_classes[known], flags[known]
    literature_flags, found_at = _literature(literature, labelled, labelled_classes, classes)
    owners = [np.bincount(of.images, minlength=len(truth)) for of in (rows, literature, labelled)]
    return OpenImagesMatches(
        images=np.stack([indices, *owners], axis=1).astype(np.int64),
        classes=row_classes,
        scores=rows.scores.astype(np.float32),
        flags=flags,
        relations=literature.relations,
        relation_scores=literature.scores.astype(np.float32),
        relation_flags=literature_flags,
        labelled_classes=labelled_classes,
        found_at=found_at,
    )


def kept_pairs(candidates: Detections, protocol: OpenImagesProtocol) -> Bool[np.ndarray, " k"]:
    """Which of the official candidates pairwise suppression leaves; all without `nms`."""
    if not protocol.nms:
        return np.ones(len(candidates), bool)
    return pairwise_nms(
        _groups(candidates),
        candidates.subject_boxes,
        candidates.object_boxes,
        threshold=protocol.nms_threshold,
        alpha=protocol.nms_alpha,
        beta=protocol.nms_beta,
    )


def _groups(candidates: Detections) -> Int[np.ndarray, " k"]:
    """One number per image and triplet."""
    _, groups = np.unique(_keys(candidates), return_inverse=True)
    return candidates.images * (1 + groups.max(initial=0)) + groups


def _keys(pairs: Detections | LabelledPairs) -> Int[np.ndarray, " k"]:
    return triplet_keys(pairs.subject_labels, pairs.relations, pairs.object_labels)


def _official(
    candidates: Detections,
    labelled: LabelledPairs,
    labelled_classes: Int[np.ndarray, " h"],
    classes: TripletClasses,
    protocol: OpenImagesProtocol,
) -> tuple[Detections, Int[np.ndarray, " k"], UInt8[np.ndarray, " k"]]:
    """What pairwise suppression leaves, its classes (-1 for none) and flags."""
    early = ranks_in_image(candidates.images) < 50
    groups = _groups(candidates)
    if protocol.nms:
        keep = kept_pairs(candidates, protocol)
        candidates, early, groups = candidates.take(keep), early[keep], groups[keep]
    row_classes = classes.find(_keys(candidates))
    correct = match_pairs(
        candidates, labelled, detection_classes=row_classes, labelled_classes=labelled_classes, threshold=0.5
    )
    phrases = as_phrases(candidates)
    is_phrase = np.ones(len(candidates), bool)
    if protocol.nms:
        # With an object exponent of 0 the overlap of the first boxes alone decides.
        is_phrase = pairwise_nms(
            groups,
            phrases.subject_boxes,
            phrases.object_boxes,
            threshold=protocol.phrase_nms_threshold,
            alpha=1.0,
            beta=0.0,
        )
    usable = is_phrase & (row_classes >= 0)
    covered = _best_phrase(phrases, as_phrases(labelled), row_classes, labelled_classes, usable)
    columns = {RELATION_TP: correct, PHRASE: is_phrase, PHRASE_TP: _first_of_each(covered), EARLY: early}
    if protocol.nms:
        for bit, counted in ((PHRASE_TP_50, is_phrase & early), (PHRASE_TP_100, is_phrase)):
            columns[bit] = _looked_up_by_position(candidates, groups, covered, row_classes, counted)
    flags = sum((bit * column.astype(np.uint8) for bit, column in columns.items()), np.zeros(len(early), np.uint8))
    return candidates, row_classes, flags


def _best_phrase(
    phrases: Detections,
    labelled: LabelledPairs,
    row_classes: Int[np.ndarray, " k"],
    labelled_classes: Int[np.ndarray, " h"],
    usable: Bool[np.ndarray, " k"],
) -> Int[np.ndarray, " k"]:
    """The labelled phrase of its triplet that each phrase overlaps most, -1 where none reaches one half."""
    rows, columns = same_key((phrases.images, row_classes), (labelled.images, labelled_classes), usable)
    overlaps = pixel_iou(phrases.subject_boxes[rows], labelled.subject_boxes[columns], touching=False)
    close = overlaps >= 0.5
    rows, columns = best_candidates(rows[close], columns[close], overlaps[close])
    covered = np.full(len(phrases), -1)
    covered[rows] = columns
    return covered


def _first_of_each(covered: Int[np.ndarray, " k"]) -> Bool[np.ndarray, " k"]:
    """Which rows are the first to name their labelled phrase; -1 names none."""
    rows = np.flatnonzero(covered >= 0)
    _, first = np.unique(covered[rows], return_index=True)
    positive = np.zeros(len(covered), bool)
    positive[rows[first]] = True
    return positive


def _looked_up_by_position(
    phrases: Detections,
    groups: Int[np.ndarray, " k"],
    covered: Int[np.ndarray, " k"],
    row_classes: Int[np.ndarray, " k"],
    counted: Bool[np.ndarray, " k"],
) -> Bool[np.ndarray, " k"]:
    """What the official code calls a correct phrase, see `OpenImagesProtocol.phrase_index_bug`.

    Phrases whose own triplet is labelled nowhere are skipped before they can use up a labelled phrase.
    """
    rows = np.flatnonzero(counted)
    _, first, inverse = np.unique(groups[rows], return_index=True, return_inverse=True)
    # Suppression lists triplets in order of their best phrase, and inside a triplet by score.
    grouped = rows[np.argsort(first[inverse], kind="stable")]
    ranked = grouped[np.lexsort((-phrases.scores[grouped], phrases.images[grouped]))]
    judged = np.where(row_classes[ranked] >= 0, covered[grouped], -1)
    positive = np.zeros(len(phrases), bool)
    positive[ranked[_first_of_each(judged)]] = True
    return positive


def _literature(
    candidates: Detections,
    labelled: LabelledPairs,
    labelled_classes: Int[np.ndarray, " h"],
    classes: TripletClasses,
) -> tuple[UInt8[np.ndarray, " k"], Int[np.ndarray, " h"]]:
    """Flags of the candidates, and at which rank each labelled pair is found (`NEVER`)."""
    row_classes = classes.find(_keys(candidates))
    match = partial(
        match_pairs,
        detection_classes=row_classes,
        labelled_classes=labelled_classes,
        threshold=_ABOVE_HALF,
        touching=True,
    )
    correct = match(candidates, labelled)
    correct_phrase = match(as_phrases(candidates), as_phrases(labelled))
    flags = RELATION_TP * correct.astype(np.uint8) + PHRASE_TP * correct_phrase.astype(np.uint8)
    # For recall one detection may cover several labelled pairs, and the first that covers one is enough.
    rows, columns = same_key((candidates.images, row_classes), (labelled.images, labelled_classes), row_classes >= 0)
    close = np.minimum(
        pixel_iou(candidates.subject_boxes[rows], labelled.subject_boxes[columns]),
        pixel_iou(candidates.object_boxes[rows], labelled.object_boxes[columns]),
    )
    rows, columns = rows[close >= 0.5], columns[close >= 0.5]
    found_at = np.full(len(labelled_classes), NEVER)
    np.minimum.at(found_at, columns, ranks_in_image(candidates.images)[rows])
    return flags.astype(np.uint8), found_at
