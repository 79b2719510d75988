"""Labels as triplets, and which predictions are right."""

import torch

from rlipv2.structures import Annotation, LabelSpace, Triplets
from rlipv2.visualize.canvas import Rectangle
from rlipv2.visualize.scene import object_box


def annotation_triplets(annotation: Annotation, label_space: LabelSpace) -> Triplets:
    """The labels of an image as triplets with score 1, in the order of the annotation.

    Negative box rows (V-COCO: no object) give a zero box and the label of "missing objects", or 0 where the
    label space has no such class.
    """
    subjects, objects, relations = annotation.relations.unbind(1)
    known, missing = (objects >= 0)[:, None], label_space.missing_object or 0
    return Triplets(
        subject_boxes=annotation.boxes_xyxy[subjects],
        object_boxes=annotation.boxes_xyxy[objects.clamp(min=0)] * known,
        subject_labels=annotation.labels[subjects],
        object_labels=torch.where(known[:, 0], annotation.labels[objects.clamp(min=0)], missing),
        relation_labels=relations,
        scores=torch.ones(len(relations)),
        label_space=label_space,
    )


def correct_triplets(predicted: Triplets, labelled: Triplets, threshold: float = 0.5) -> list[int | None]:
    """For each prediction, best first, the row of the labelled triplet that it finds, or None.

    Both boxes need an IoU of at least `threshold`, the three names must agree, and a label is found once. A label
    without object is only found by a prediction without one: a zero object box, or the class "missing objects".
    """
    labels, found = list(labelled), []
    free = set(range(len(labels)))
    for prediction in predicted:
        best: tuple[float, int] | None = None
        for row in sorted(free):
            label = labels[row]
            names = (prediction.subject, prediction.relation, prediction.object)
            if names != (label.subject, label.relation, label.object):
                continue
            overlap = min(
                _iou(prediction.subject_box, label.subject_box), _iou(object_box(prediction), object_box(label))
            )
            if overlap >= threshold and (best is None or overlap > best[0]):
                best = (overlap, row)
        found.append(None if best is None else best[1])
        if best is not None:
            free.remove(best[1])
    return found


def _iou(a: Rectangle, b: Rectangle) -> float:
    if not any(a) and not any(b):
        return 1.0
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)
