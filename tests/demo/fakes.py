"""A predictor of no weight, whose triplets depend on the pixels and on the words."""

import torch

from rlipv2.structures import LabelSpace, Triplets
from tests.predict.fakes import LABELS, triplets_of


class FakePredictor:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.label_space = LABELS

    def __call__(self, image: torch.Tensor, label_space: LabelSpace, *, top: int) -> Triplets:
        self.calls += 1
        found = triplets_of(image, number=12)
        scores = found.scores / found.scores.max()
        return Triplets(
            subject_boxes=found.subject_boxes,
            object_boxes=found.object_boxes,
            subject_labels=found.subject_labels,
            object_labels=found.object_labels % len(label_space.objects),
            relation_labels=found.relation_labels % len(label_space.relations),
            scores=scores,
            label_space=label_space,
            image_size=found.image_size,
        ).top(top)
