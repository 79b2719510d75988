import pytest
import torch

from rlipv2.models.queries import LearnedQueries
from tests.models import tiny


def test_first_references_are_points_and_later_ones_boxes():
    model = tiny.parsed()
    states = []
    model.entity_decoder.register_forward_hook(lambda module, inputs, output: states.append(output))
    output = model(*tiny.images(), tiny.LABELS)
    assert [subject.shape[-1] for subject, _ in states[0].references] == [2, 4]
    assert output.subject_boxes.shape == output.object_boxes.shape == (2, 2, 5, 4)
    assert ((output.subject_boxes > 0) & (output.subject_boxes < 1)).all()


def test_a_point_moves_its_box_and_leaves_the_size_to_the_head():
    model = tiny.parsed()
    with torch.no_grad():
        model.queries.subject_reference.weight.zero_()
        model.queries.subject_reference.bias.copy_(torch.tensor([2.0, -1.0]))
    output = model(*tiny.images(), tiny.LABELS)
    # heads start as "no change", with a size of sigmoid(-2) in the first layer
    expected = torch.tensor([2.0, -1.0, -2.0, -2.0]).sigmoid()
    torch.testing.assert_close(output.subject_boxes[0], expected.expand(2, 5, 4))


def test_every_part_of_the_queries_trains():
    model = tiny.parsed()
    with torch.no_grad():  # box heads start at 0 and would stop every gradient
        for head in (*model.entity_decoder.subject_box_heads, *model.entity_decoder.object_box_heads):
            head[-1].weight.normal_()
    output = model(*tiny.images(), tiny.LABELS)
    (output.subject_boxes.sum() + output.object_boxes.sum() + output.relation_logits.sum()).backward()
    assert {name for name, parameter in model.queries.named_parameters() if parameter.grad is None} == set()


def test_vanilla_relation_queries_stand_on_the_entity_states():
    model = tiny.parsed(relation_position=False, query="vanilla")
    assert model.relation_decoder.pair_fusion is None
    positions = []
    model.relation_decoder.layers[0].register_forward_pre_hook(lambda module, inputs: positions.append(inputs[1]))
    states = []
    model.entity_decoder.register_forward_hook(lambda module, inputs, output: states.append(output))
    model(*tiny.images(), tiny.LABELS)
    torch.testing.assert_close(positions[0], states[0].subjects[-1] + states[0].objects[-1])


def test_positions_of_queries_and_decoders_must_agree():
    with pytest.raises(ValueError, match=r"LearnedQueries give learned positions.*set positions=learned"):
        tiny.detector(queries=LearnedQueries(5, 32))


def test_denoising_is_refused_without_anchors():
    from rlipv2.models.denoising import DenoisingQueries

    with pytest.raises(ValueError, match="needs anchors"):
        tiny.parsed(denoising=DenoisingQueries(32))
