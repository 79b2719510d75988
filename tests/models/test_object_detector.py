import pytest
import torch

from rlipv2.models.object_decoder import ObjectDecoder, ObjectLearnedQueries
from rlipv2.models.object_detector import ObjectDetector, detect
from rlipv2.structures import DetectionOutput, LabelSpace
from tests.models.tiny import images
from tests.models.tiny_objects import CLASSES, object_detector


@pytest.fixture(params=["anchor", "learned"])
def detector(request):
    return object_detector(request.param).eval()


def test_every_layer_predicts_every_query(detector):
    output = detector(*images())
    assert output.logits.shape == (4, 2, 12, 3)
    assert output.boxes.shape == (4, 2, 12, 4)
    assert (output.boxes > 0).all()
    assert (output.boxes < 1).all()


def test_untrained_classes_have_a_probability_near_one_percent(detector):
    with torch.inference_mode():
        probability = detector(*images()).logits.sigmoid()
    assert 0.003 < float(probability.mean()) < 0.03


def test_more_padding_changes_nothing(detector):
    pixels, mask = images()
    wide, wide_mask = torch.zeros(2, 3, 96, 128, dtype=torch.uint8), torch.ones(2, 96, 128, dtype=torch.bool)
    wide[:, :, :64, :96], wide_mask[:, :64, :96] = pixels, mask
    with torch.inference_mode():
        expected, padded = detector(pixels, mask), detector(wide, wide_mask)
    torch.testing.assert_close(padded.boxes, expected.boxes, atol=0.02, rtol=0)  # maps are cut at other places


def test_a_layer_reads_around_the_boxes_of_the_one_before_without_moving_them(detector):
    output = detector(*images())
    output.boxes[-1].sum().backward()
    gradients = [head[-1].weight.grad for head in detector.decoder.box_heads]
    assert gradients[-1] is not None
    assert all(gradient is None or not gradient.any() for gradient in gradients[:-1])


def test_a_label_space_chooses_classes_by_name(detector):
    pixels = images()
    with torch.inference_mode():
        every, two = detector(*pixels, CLASSES), detector(*pixels, LabelSpace(["kite", "person"], []))
    torch.testing.assert_close(two.logits, every.logits[..., [2, 0]])


def test_unknown_or_unnamed_classes_are_refused(detector):
    with pytest.raises(ValueError, match=r"\['bear'\] are none of the 3 classes"):
        detector(*images(), LabelSpace(["bear"], []))
    detector.label_space = LabelSpace(["person", "dog"], [])
    with pytest.raises(ValueError, match="num_classes=3, but its label space names 2"):
        detector(*images(), LabelSpace(["person"], []))


def test_queries_and_decoder_must_fit():
    parts = object_detector("anchor")
    with pytest.raises(ValueError, match="ObjectLearnedQueries give learned positions, but ObjectDecoder takes anchor"):
        ObjectDetector(
            num_classes=3,
            backbone=parts.backbone,
            encoder=parts.encoder,
            queries=ObjectLearnedQueries(4, 32),
            decoder=ObjectDecoder(dim=32, num_heads=2),
        )


def test_recomputed_activations_give_the_same_gradients(detector):
    pixels = images()
    gradients = []
    for recompute in (False, True):
        detector.zero_grad()
        detector.train().encoder.checkpoint_activations = recompute
        torch.manual_seed(0)
        detector(*pixels).boxes.square().sum().backward()
        gradients.append(detector.encoder.image_layers[0].feedforward.linear1.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_the_best_entries_come_in_original_pixels_and_a_query_may_give_several():
    logits = torch.full((2, 1, 2, 3), -5.0)
    logits[-1, 0, 1, 2], logits[-1, 0, 1, 0], logits[0, 0, 0, 0] = 3.0, 2.0, 9.0  # the first layer does not count
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.25, 0.5, 0.5, 1.2]]).expand(2, 1, -1, -1)
    (found,) = detect(DetectionOutput(logits, boxes), torch.tensor([[50, 100]]), top_k=2)
    assert found.labels.tolist() == [2, 0]
    torch.testing.assert_close(found.scores, torch.tensor([3.0, 2.0]).sigmoid())
    torch.testing.assert_close(found.boxes_xyxy, torch.tensor([[0.0, -5.0, 50.0, 55.0]] * 2))


def test_fewer_entries_than_asked_for_are_all_kept():
    output = DetectionOutput(torch.zeros(1, 1, 2, 3), torch.rand(1, 1, 2, 4))
    assert len(detect(output, torch.tensor([[5, 5]]))[0]) == 6
