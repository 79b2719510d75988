import pytest
import torch

from rlipv2.models import RelationTagger
from rlipv2.models.alif_encoder import ALIFEncoder
from rlipv2.models.denoising import DenoisingQueries
from rlipv2.models.late_fusion import LateFusion
from rlipv2.models.queries import GivenPairQueries
from tests.models import tiny


def late(**options):
    fusion = LateFusion(dim=32, num_layers=options.pop("num_layers", 2), num_heads=2, feedforward_dim=32)
    return tiny.detector(encoder={"early_fusion": False}, text_per_layer=False, late_fusion=fusion, **options)


def test_without_early_fusion_the_image_memory_does_not_see_the_texts():
    model = tiny.detector(encoder={"early_fusion": False}, text_per_layer=False).eval()
    memories = []
    model.encoder.register_forward_hook(lambda module, inputs, output: memories.append(output))
    inputs = tiny.images()
    model(*inputs, tiny.LABELS)
    model(*inputs, type(tiny.LABELS)(objects=["kite"], relations=["ride"]))
    torch.testing.assert_close(memories[0][0], memories[1][0])
    assert [texts.shape[0] for _, texts in memories] == [1, 1]
    assert model.encoder.num_fusions == 0
    assert not [name for name, _ in model.named_parameters() if "fusion_layers" in name or "text_layers" in name]


def test_late_fusion_gives_a_layer_per_decoder_layer_and_trains():
    model = late()
    output = model(*tiny.images(), tiny.LABELS)
    assert output.object_logits.shape == (2, 2, 5, 4)
    assert output.relation_logits.shape == (2, 2, 5, 4)
    (output.object_logits.sum() + output.relation_logits.sum() + output.subject_boxes.sum()).backward()
    without = {name for name, parameter in model.late_fusion.named_parameters() if parameter.grad is None}
    assert without == set()


def test_boxes_come_from_fused_states_around_the_references_of_the_decoder_layer():
    model = late().eval()
    with torch.no_grad():
        for head in model.entity_decoder.subject_box_heads:
            head[-1].weight.normal_()
    plain = tiny.detector(encoder={"early_fusion": False}, text_per_layer=False).eval()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if "late_fusion" not in key})
    inputs = tiny.images()
    fused, decoded = model(*inputs, tiny.LABELS), plain(*inputs, tiny.LABELS)
    assert not torch.allclose(fused.subject_boxes, decoded.subject_boxes)
    # object heads still change nothing: their boxes are the references, fused or not
    torch.testing.assert_close(fused.object_boxes, decoded.object_boxes)


def test_masked_texts_are_not_seen():
    stack = LateFusion(dim=32, num_layers=2, num_heads=2, feedforward_dim=32).entity
    queries, texts = torch.randn(1, 3, 32), torch.randn(1, 4, 32)
    changed = texts.clone()
    changed[:, 3] = torch.randn(32)
    mask = torch.tensor([[False, False, False, True]])
    torch.testing.assert_close(stack(queries, texts, mask)[0], stack(queries, changed, mask)[0])
    assert not torch.allclose(stack(queries, texts, None)[0], stack(queries, changed, None)[0])


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def test_ordinary_queries_do_not_see_the_targets_of_denoising():
    model = without_dropout(late(denoising=DenoisingQueries(32, copies=2)))
    inputs = tiny.images()
    first = model(*inputs, tiny.LABELS, [tiny.target(3), tiny.target(1)])
    second = model(*inputs, tiny.LABELS, [tiny.target(2), tiny.target(4)])
    assert first.denoising.object_logits.shape[2] == 6
    for name in ("object_logits", "relation_logits", "subject_boxes"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), atol=1e-4, rtol=1e-4)


def test_empty_rows_of_a_tagger_are_not_seen():
    parts = tiny.parsed()
    model = RelationTagger(
        queries=GivenPairQueries(5, 32),
        backbone=parts.backbone,
        text_encoder=parts.text_encoder,
        encoder=ALIFEncoder(**tiny.ENCODER, early_fusion=False),
        entity_decoder=parts.entity_decoder,
        relation_decoder=parts.relation_decoder,
        late_fusion=LateFusion(dim=32, num_layers=2, num_heads=2, feedforward_dim=32),
    ).eval()
    inputs, pairs = tiny.images(), [tiny.target(3), tiny.target(1)]
    short = model.tag(*inputs, tiny.LABELS, pairs)
    model.queries.keep_empty = True
    for scores, full in zip(short, model.tag(*inputs, tiny.LABELS, pairs), strict=True):
        torch.testing.assert_close(scores, full)


def test_layers_must_agree():
    with pytest.raises(ValueError, match="3 late fusion layers but 2 decoder layers"):
        late(num_layers=3)
