import pytest
import torch

from tests.models import tiny


def gradients(model, inputs):
    torch.manual_seed(3)  # of the dropout, which a second computation must repeat
    model.zero_grad()
    output = model(*inputs, tiny.LABELS)
    (
        output.object_logits.square().mean() + output.relation_logits.square().mean() + output.subject_boxes.sum()
    ).backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("early_fusion", [True, False])
def test_recomputed_activations_give_the_same_gradients(early_fusion):
    model = tiny.detector(encoder={"early_fusion": early_fusion, "dropout": 0.3}).train()
    inputs, calls = tiny.images(), []
    model.encoder.image_layers[0].register_forward_pre_hook(lambda *_: calls.append(0))
    kept = gradients(model, inputs)
    assert len(calls) == 1
    model.encoder.checkpoint_activations = True
    computed = gradients(model, inputs)
    assert len(calls) == 3  # forward and again in the backward pass
    assert kept.keys() == computed.keys()
    for name, gradient in kept.items():
        torch.testing.assert_close(computed[name], gradient, msg=name)
    with torch.no_grad():
        model.eval()(*inputs, tiny.LABELS)
    assert len(calls) == 4
