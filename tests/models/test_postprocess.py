import pytest
import torch

from rlipv2.models.postprocess import postprocess
from rlipv2.structures import RelationOutput

SIZES = torch.tensor([[100, 200]])


def output(subject_logits=True):
    """One image, two pairs, objects (person, dog, background), relations (hold, ride)."""
    object_logits = torch.tensor([[[[0.0, 2.0, 0.0], [3.0, 0.0, 9.0]]]])
    return RelationOutput(
        object_logits=object_logits,
        relation_logits=torch.tensor([[[[0.0, 1.0], [2.0, -1.0]]]]),
        subject_boxes=torch.tensor([[[[0.5, 0.5, 1.0, 1.0], [0.25, 0.25, 0.1, 0.1]]]]),
        object_boxes=torch.tensor([[[[0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 0.2, 0.4]]]]),
        subject_logits=torch.tensor([[[[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]]]]) if subject_logits else None,
    )


def test_boxes_are_corners_in_original_pixels_and_not_clipped():
    (pairs,) = postprocess(output(), SIZES)
    assert pairs.subject_boxes[0].tolist() == [0, 0, 200, 100]
    torch.testing.assert_close(pairs.object_boxes[0], torch.tensor([-20.0, -10, 20, 10]))


def test_hoi_scores_are_relation_times_object_without_background():
    (pairs,) = postprocess(output(), SIZES)
    probability = torch.tensor([0.0, 2, 0]).softmax(0)[1]
    torch.testing.assert_close(pairs.relation_scores[0], torch.tensor([0.0, 1.0]).sigmoid() * probability)
    assert pairs.object_labels.tolist() == [1, 0]
    assert pairs.subject_labels.tolist() == [0, 0]


def test_scene_graph_scores_take_the_subject_too():
    (pairs,) = postprocess(output(), SIZES, mode="scene_graph")
    (hoi,) = postprocess(output(), SIZES)
    probability = torch.tensor([5.0, 0, 0]).softmax(0)[0]
    torch.testing.assert_close(pairs.relation_scores, hoi.relation_scores * probability)
    assert pairs.subject_labels.tolist() == [0, 1]


def test_the_subject_filter_keeps_persons_and_may_keep_none():
    assert len(postprocess(output(), SIZES, subject_filter=True)[0]) == 1
    assert len(postprocess(output(), SIZES, subject_filter=True, subject_label=2)[0]) == 0


def test_a_model_without_subject_class_cannot_be_filtered():
    with pytest.raises(ValueError, match="subject_class=true"):
        postprocess(output(subject_logits=False), SIZES, subject_filter=True)
