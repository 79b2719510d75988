"""Captions made from labelled boxes, for demonstrations and tests without a captioning model."""

from collections.abc import Sequence

import numpy as np

from rlipv2.pseudo_labels.candidates import kept_boxes
from rlipv2.pseudo_labels.records import LabelledImage


class TemplateCaptioner:
    """Says of random pairs of an image's boxes where they are: "a dog below a kite". No pixels are read.

    Args:
        class_names: what the labels count in.
        num_captions: captions of an image.
    """

    def __init__(self, class_names: Sequence[str], *, num_captions: int = 10) -> None:
        self.class_names, self.num_captions = tuple(class_names), num_captions

    def captions_of_record(self, image: LabelledImage, *, seed: int) -> list[str]:
        """Captions of an image; of one without boxes none, of one with a single box only its name."""
        boxes, labels = kept_boxes(image)
        if len(boxes) < 2:
            return [f"a {self.class_names[label]}" for label in labels]
        random = np.random.default_rng([seed, image.image_id])
        captions = []
        for _ in range(self.num_captions):
            subject, object_ = random.choice(len(boxes), 2, replace=False)
            relation = place(boxes[subject], boxes[object_])
            captions.append(f"a {self.class_names[labels[subject]]} {relation} a {self.class_names[labels[object_]]}")
        return captions


def place(subject: np.ndarray, object_: np.ndarray) -> str:
    """Where a box is, seen from another; boxes x1 y1 x2 y2 in pixels."""
    overlap = (np.minimum(subject[2:], object_[2:]) > np.maximum(subject[:2], object_[:2])).all()
    x, y = (subject[:2] + subject[2:] - object_[:2] - object_[2:]) / 2
    if abs(y) > abs(x):
        return ("on" if overlap else "above") if y < 0 else "below"
    return "in front of" if overlap else "next to"
