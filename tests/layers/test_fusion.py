import pytest
import torch

from rlipv2.layers.fusion import GatedFusion


def fusion(**options):
    return GatedFusion(16, 8, attention_dim=16, num_heads=2, dropout=0.0, **options)


def inputs():
    return torch.randn(2, 5, 16), torch.randn(2, 3, 8), torch.randn(2, 5, 16)


def test_a_closed_gate_returns_the_normalised_inputs():
    layer, (image, text, position) = fusion(initial_gate=0.0), inputs()
    fused_image, fused_text = layer(image, text, position)
    torch.testing.assert_close(fused_image, layer.image_norm(image))
    torch.testing.assert_close(fused_text, layer.text_norm(text))


def test_vxac_reads_the_first_element_only_and_glip_all():
    layer, arguments = fusion(gating="vxac"), inputs()
    before = layer(*arguments)[0]
    with torch.no_grad():
        layer.image_gate.vector[1:] = 7
    torch.testing.assert_close(layer(*arguments)[0], before)
    all_elements = fusion(gating="glip")
    all_elements.load_state_dict(layer.state_dict())
    assert not torch.allclose(all_elements(*arguments)[0], before)


def test_the_official_mask_changes_nothing_and_the_exact_one_hides_padding():
    image_padding = torch.tensor([[False] * 4 + [True]] * 2)
    text_padding = torch.tensor([[False, False, True]] * 2)
    image, text, position = inputs()
    changed_image, changed_text = image.clone(), text.clone()
    changed_image[:, 4], changed_text[:, 2] = torch.randn(16), torch.randn(8)
    masks = {"image_padding": image_padding, "text_padding": text_padding}
    official, exact = fusion(), fusion(padding_mask="exact")
    torch.testing.assert_close(official(image, text, position, **masks), official(image, text, position))
    assert not torch.allclose(official(changed_image, text, position, **masks)[1], official(image, text, position)[1])
    torch.testing.assert_close(
        exact(changed_image, text, position, **masks)[1], exact(image, text, position, **masks)[1]
    )
    torch.testing.assert_close(
        exact(image, changed_text, position, **masks)[0], exact(image, text, position, **masks)[0]
    )


@pytest.mark.parametrize("option", [{"gating": "none"}, {"padding_mask": "both"}])
def test_unknown_options_are_refused(option):
    with pytest.raises(ValueError, match="expected"):
        fusion(**option)
