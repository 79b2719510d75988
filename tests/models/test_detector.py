import dataclasses

import pytest
import torch

from rlipv2.models.denoising import DenoisingQueries
from rlipv2.models.dense import DenseHeads
from rlipv2.structures import LabelSpace
from tests.models import tiny


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return tiny.detector().eval()


def test_output_has_one_entry_per_layer_pair_and_text(model):
    with torch.no_grad():
        output = model(*tiny.images(), tiny.LABELS)
    assert output.object_logits.shape == output.subject_logits.shape == (2, 2, 5, 4)
    assert output.relation_logits.shape == (2, 2, 5, 4)
    assert output.subject_boxes.shape == (2, 2, 5, 4)
    assert output.subject_boxes.min() > 0
    assert output.subject_boxes.max() < 1


def test_permuting_the_words_permutes_the_logits(model):
    words = LabelSpace(objects=["kite", "person", "dog"], relations=["no interaction", "walk", "hold", "ride"])
    inputs = tiny.images()
    with torch.no_grad():
        output, other = model(*inputs, tiny.LABELS), model(*inputs, words)
    torch.testing.assert_close(other.object_logits, output.object_logits[..., [2, 0, 1, 3]], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(other.relation_logits, output.relation_logits[..., [3, 2, 0, 1]], atol=1e-4, rtol=1e-4)


def test_words_never_seen_and_a_single_relation_are_answered(model):
    with torch.no_grad():
        output = model(*tiny.images(), LabelSpace(objects=["Übergröße", "a very unusual thing"], relations=["zaps"]))
    assert output.object_logits.shape[-1] == 3
    assert output.relation_logits.shape[-1] == 1


def test_pixels_and_normalised_images_give_the_same(model):
    pixels, mask = tiny.images()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    floats = ((pixels / 255 - mean) / std).masked_fill(mask[:, None], 0)
    with torch.no_grad():
        first, second = model(pixels, mask, tiny.LABELS), model(floats, mask, tiny.LABELS)
    torch.testing.assert_close(first.relation_logits, second.relation_logits, atol=1e-4, rtol=1e-4)


def test_texts_are_encoded_once_per_label_space_until_weights_change(model):
    calls = []
    handle = model.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        other = LabelSpace(objects=["horse"], relations=["feed"])
        for _ in range(3):
            model.encode_texts(other)
        assert len(calls) == 1
        weight = model.text_encoder.model.pooler.dense.bias
        weight += 1
        changed = model.encode_texts(other)
        assert len(calls) == 2
        weight -= 1
        assert not torch.equal(model.encode_texts(other).pooled, changed.pooled)
    handle.remove()


def test_texts_are_encoded_anew_after_training_steps_of_any_optimiser():
    model = tiny.detector().eval()
    with torch.no_grad():
        before = model.encode_texts(tiny.LABELS).pooled
    # a fused optimiser changes weights without counting their versions up
    optimiser = torch.optim.AdamW(model.text_encoder.parameters(), lr=0.1, fused=True)
    model.train().encode_texts(tiny.LABELS).pooled.square().sum().backward()
    optimiser.step()
    with torch.no_grad():
        assert not torch.allclose(model.eval().encode_texts(tiny.LABELS).pooled, before)


def test_the_training_text_mask_hides_labels_by_the_sign_of_their_sum():
    pooled = torch.tensor([[1.0, -2.0], [1.0, 1.0], [-1.0, 1.0]])
    model = tiny.detector()
    assert model.text_features(pooled, 2).padding_mask.tolist() == [True, False, True]
    assert not model.eval().text_features(pooled, 2).padding_mask.any()
    assert not tiny.detector(text_padding_mask="none").text_features(pooled, 2).padding_mask.any()


def test_all_trainable_parameters_get_a_gradient():
    model = tiny.detector()
    output = model(*tiny.images(), tiny.LABELS)
    fields = ("object_logits", "subject_logits", "relation_logits", "subject_boxes", "object_boxes")
    sum(getattr(output, field).square().sum() for field in fields).backward()
    without = [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
    assert without == []


def test_without_subject_class_there_are_no_subject_logits():
    with torch.no_grad():
        assert tiny.detector(subject_class=False).eval()(*tiny.images(), tiny.LABELS).subject_logits is None


@pytest.mark.parametrize("query", ["vanilla", "mbf", "vanilla_mbf"])
@pytest.mark.parametrize("refine", [True, False])
def test_relation_query_variants_run(query, refine):
    model = tiny.detector(relation_decoder={"query": query, "refine": refine}).eval()
    with torch.no_grad():
        assert model(*tiny.images(), tiny.LABELS).relation_logits.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": {"text_dim": 64}}, "text_dim=64"),
        ({"encoder": {"num_layers": 3}}, "3 fusion stages but 2"),
        ({"text_padding_mask": "exact"}, "expected official or none"),
        ({"encoder": {"gating": "sigmoid"}}, "gating='sigmoid'"),
        ({"encoder": {"num_layers": 3, "fusion_interval": 2}}, "not a multiple"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny.detector(**changes)


def test_with_more_fusion_stages_than_layers_every_second_one_is_matched():
    # official with `fusion_interval 1` and `lang_aux_loss`: the first, third, ... stage
    model, seen = tiny.detector(encoder={"num_layers": 4}).eval(), {}
    model.encoder.register_forward_hook(lambda module, inputs, output: seen.update(stages=output[1]))
    model.head.register_forward_pre_hook(lambda module, inputs: seen.update(texts=inputs[3]))
    model(*tiny.images(), tiny.LABELS)
    assert len(seen["stages"]) == 4
    assert torch.equal(seen["texts"], seen["stages"][[0, 2]])


def test_dense_predictions_need_dense_heads(model):
    with pytest.raises(ValueError, match="no dense heads"):
        model.forward_dense(*tiny.images(), tiny.LABELS)


class TestDenoising:
    def build(self, **options):
        return tiny.detector(denoising=DenoisingQueries(32, **options), dense=DenseHeads(32, 32))

    def test_extra_outputs_come_in_training_only(self):
        model, targets = self.build(copies=2), [tiny.target(3), tiny.target(1)]
        output = model(*tiny.images(), tiny.LABELS, targets)
        assert output.object_logits.shape[2] == 5
        assert output.denoising.object_logits.shape[2] == 6
        assert len(output.dense) == 2
        with torch.no_grad():
            output = model.eval()(*tiny.images(), tiny.LABELS, targets)
        assert output.denoising is None
        assert output.dense == ()

    def test_ordinary_queries_do_not_see_the_targets(self):
        # dropout off; batch norm in training mode sees the same images in both calls
        model = tiny.detector(
            encoder={"text_dropout": 0.0}, denoising=DenoisingQueries(32, copies=2), dense=DenseHeads(32, 32)
        )
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        inputs = tiny.images()
        first = model(*inputs, tiny.LABELS, [tiny.target(3), tiny.target(1)])
        second = model(*inputs, tiny.LABELS, [tiny.target(2), tiny.target(4)])
        torch.testing.assert_close(first.relation_logits, second.relation_logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(first.object_boxes, second.object_boxes, atol=1e-5, rtol=1e-5)

    def test_without_noise_queries_stand_on_the_targets(self):
        queries = DenoisingQueries(32, copies=2, box_noise=0.0, label_noise=0.0)
        targets = [tiny.target(2)]
        batch = queries(targets, torch.randn(1, 8, 32), 4)
        torch.testing.assert_close(batch.queries.subject_references[0], targets[0].subject_boxes.repeat(2, 1))
        assert batch.groups.tolist() == [[0, 0, 1, 1]]

    def test_copies_see_themselves_only(self):
        batch = DenoisingQueries(32, copies=2)([tiny.target(1), tiny.target(0)], torch.randn(2, 8, 32), 4)
        visible = ~batch.attention_mask(1)
        assert visible[0].long().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
        assert visible[1].long().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]

    def test_a_batch_without_any_target_runs(self):
        output = self.build()(*tiny.images(), tiny.LABELS, [tiny.target(0), tiny.target(0)])
        assert output.denoising.object_logits.shape[2] == 1

    def test_targets_stay_as_they_are(self):
        targets = [tiny.target(2)]
        before = {f.name: getattr(targets[0], f.name).clone() for f in dataclasses.fields(targets[0])}
        DenoisingQueries(32)(targets, torch.randn(1, 8, 32), 4)
        assert all(torch.equal(getattr(targets[0], name), value) for name, value in before.items())
