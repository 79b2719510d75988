"""Relations of pairs from captions alone, without a tagger: what tagged relations have to be compared with."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from rlipv2.pseudo_labels.candidates import Triplet, caption_triplets, kept_boxes, matching_pairs
from rlipv2.pseudo_labels.matching import Matcher
from rlipv2.pseudo_labels.records import LabelledImage, SceneGraph, Tags


def caption_shares(graphs: Sequence[SceneGraph], image: LabelledImage, matcher: Matcher) -> dict[Triplet, float]:
    """The share of an image's captions that say each triplet (class, relation text, class), in order of appearance."""
    counts: Counter[Triplet] = Counter()
    for graph in graphs:
        counts.update(caption_triplets([graph], image, matcher))
    return {triplet: count / len(graphs) for triplet, count in counts.items()}


def every_matching_pair(shares: dict[Triplet, float], image: LabelledImage) -> Tags:
    """Each triplet given to every pair of boxes of its classes, scored by the share of the captions that say it."""
    pairs, which = matching_pairs(kept_boxes(image)[1], list(shares), None)
    scores = np.array(list(shares.values()), np.float32)[which] if len(which) else np.zeros(0, np.float32)
    texts = [text for _, text, _ in shares]
    return Tags(pairs, tuple(texts[row] for row in which.tolist()), scores)


def nearest_matching_pair(shares: dict[Triplet, float], image: LabelledImage) -> Tags:
    """Each triplet given to one pair of boxes of its classes: those nearest to each other.

    Nearest is the smallest gap between the edges, relative to nothing, in pixels; of several that touch or overlap the
    one with the nearest centers; of several of these the first.
    """
    boxes, labels = kept_boxes(image)
    pairs, which = matching_pairs(labels, list(shares), None)
    order = np.lexsort((*_distances(boxes[pairs[:, 0]], boxes[pairs[:, 1]])[::-1], which))
    first = order[np.unique(which[order], return_index=True)[1]]
    tags = every_matching_pair(shares, image)
    return Tags(pairs[first], tuple(tags.texts[row] for row in first.tolist()), tags.scores[first])


def _distances(
    a: Float[np.ndarray, "m 4"], b: Float[np.ndarray, "m 4"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Gaps between edges and distances of centers, in pixels."""
    gaps = np.maximum(0, np.maximum(a[:, :2], b[:, :2]) - np.minimum(a[:, 2:], b[:, 2:]))
    centers = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
    return np.hypot(*gaps.T), np.hypot(*centers.T)
