"""Predicted pairs of many images in flat arrays."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Pairs:
    """Pairs of a run of images, image by image, boxes x1 y1 x2 y2 in pixels.

    Attributes:
        images: image of each pair, ascending.
        subject_boxes: the persons.
        object_boxes: the objects.
        object_labels: their classes; the highest label is "missing objects".
        missing: whether the label is that one.
        scores: relation score times object score, masked (see `mask_scores`).
    """

    images: Int[np.ndarray, " k"]
    subject_boxes: Float[np.ndarray, "k 4"]
    object_boxes: Float[np.ndarray, "k 4"]
    object_labels: Int[np.ndarray, " k"]
    missing: Bool[np.ndarray, " k"]
    scores: Float[np.ndarray, "k v"]

    def __len__(self) -> int:
        return len(self.images)


def validity_matrix(validity: np.ndarray | None, num_verbs: int, num_objects: int) -> Float[np.ndarray, "v o"] | None:
    """A checked mask with the column of ones for "missing objects" that the official code appends.

    Args:
        validity: 1 where a verb goes with an object, else 0, with or without a last column for "missing objects"; or
            None. Other numbers weight the scores, as in the official code.
        num_verbs: rows it must have.
        num_objects: object classes, "missing objects" included.

    Raises:
        ValueError: another shape, or negative numbers.
    """
    if validity is None:
        return None
    validity = np.asarray(validity)
    if validity.shape not in ((num_verbs, num_objects - 1), (num_verbs, num_objects)):
        raise ValueError(
            f"validity: shape {validity.shape}; expected ({num_verbs}, {num_objects - 1}), verbs x objects"
        )
    if validity.dtype.kind not in "biuf" or not np.isfinite(validity).all() or (validity < 0).any():
        raise ValueError("validity: expected finite numbers from 0, usually zeros and ones")
    matrix = np.ones((num_verbs, num_objects), np.float32)
    matrix[:, : num_objects - 1] = validity[:, : num_objects - 1]
    return matrix


def mask_scores(
    scores: Float[np.ndarray, "k v"], labels: Int[np.ndarray, " k"], validity: Float[np.ndarray, "v o"] | None
) -> Float[np.ndarray, "k v"]:
    """Scores with 0 where the verb does not go with the object; such entries stay detections, as officially."""
    return scores if validity is None else scores * validity.T[labels]
