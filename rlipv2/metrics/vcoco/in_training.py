"""The mAP that the official code prints while it trains on V-COCO; not the published figure.

Official: datasets/vcoco_eval.py. A sibling of its HICO-DET evaluator: the best 100 (pair, verb) entries
of an image, 11-point average precision per verb, objects must have the right class.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.metrics.functional import GroundTruth, best_assignment, best_columns, same_key
from rlipv2.metrics.vcoco.pairs import Pairs
from rlipv2.ops.nms import pixel_iou


@dataclass(frozen=True)
class TopDetections:
    """Ranked (pair, verb) entries of a run of images, image by image, best first."""

    images: Int[np.ndarray, " t"]
    verbs: Int[np.ndarray, " t"]
    scores: Float[np.ndarray, " t"]
    positive: Bool[np.ndarray, " t"]


def match(
    pairs: Pairs, truth: GroundTruth, positions: Int[np.ndarray, " i"], top_k: int | None, threshold: float
) -> TopDetections:
    """Ranks and matches a run of images.

    A labelled pair without object (-1) is matched by its person alone, whatever object is predicted; the others
    need both boxes, and an object of the right class. Official: `compute_fptp`.

    Args:
        pairs: of all images; `pairs.images` counts within this run.
        truth: labelled pairs of the dataset, relation = verb.
        positions: place of each image of the run in `truth`.
        top_k: entries per image over all verbs together; None keeps all.
        threshold: overlap that is enough.
    """
    labelled = truth.select(positions)
    rows, verbs = best_entries(pairs, len(positions), top_k)
    images = pairs.images[rows]
    owners = np.repeat(np.arange(len(positions)), np.diff(labelled.relation_ptr))
    found, wanted = same_key((images, verbs), (owners, labelled.relations[:, 2]), np.ones(len(rows), bool))
    first = labelled.box_ptr[owners[wanted]]
    subjects, objects = first + labelled.relations[wanted, 0], labelled.relations[wanted, 1]
    overlaps = pixel_iou(pairs.subject_boxes[rows[found]], labelled.boxes[subjects], touching=False)
    with_object = np.flatnonzero(objects >= 0)
    targets, candidates = (first + objects)[with_object], rows[found[with_object]]
    object_overlaps = pixel_iou(pairs.object_boxes[candidates], labelled.boxes[targets], touching=False)
    object_overlaps[pairs.object_labels[candidates] != labelled.labels[targets]] = 0
    overlaps[with_object] = np.minimum(overlaps[with_object], object_overlaps)
    close = overlaps >= threshold
    positive = best_assignment(found[close], wanted[close], overlaps[close], len(rows))
    return TopDetections(images, verbs, pairs.scores[rows, verbs], positive)


def best_entries(
    pairs: Pairs, num_images: int, top_k: int | None
) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " t"]]:
    """(pair, verb) of the best entries, image by image; ties go to the lower pair, then to the lower verb."""
    num_verbs = pairs.scores.shape[1]
    counts = np.bincount(pairs.images, minlength=num_images)
    first = np.cumsum(counts) - counts
    parts: list[Int[np.ndarray, " t"]] = [np.zeros(0, np.int64)]
    for count in np.unique(counts[counts > 0]):
        # Images with equally many pairs are ranked together.
        starts = first[counts == count]
        rows = starts[:, None] + np.arange(count)
        scores = pairs.scores[rows].reshape(len(rows), -1)
        limit = scores.shape[1] if top_k is None else min(top_k, scores.shape[1])
        parts.append((best_columns(scores, limit) + starts[:, None] * num_verbs).reshape(-1))
    entries = np.concatenate(parts)
    entries = entries[np.argsort(pairs.images[entries // num_verbs], kind="stable")]
    return entries // num_verbs, entries % num_verbs
