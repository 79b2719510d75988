import logging

import torch

from rlipv2.layers.text_encoder import LanguageLayer, TextEncoder, train_tokenizer
from tests.models.tiny import TEXT


def test_a_trained_tokenizer_reads_any_text_in_robertas_layout():
    tokenizer = train_tokenizer(["hold", "ride", "walk"], vocab_size=300)
    ids = tokenizer(["ride", "Ünïcode 漢"], padding="longest")["input_ids"]
    assert all(row[0] == 0 for row in ids)
    assert all(2 in row for row in ids)
    assert tokenizer.decode(ids[1], skip_special_tokens=True) == "Ünïcode 漢"


def test_the_same_words_give_the_same_tokenizer():
    words = ["person", "sports ball", "no interaction", "hold"]
    first, second = (train_tokenizer(order, vocab_size=320).get_vocab() for order in (words, words[::-1]))
    assert first == second


def test_weights_to_start_from_come_in_training_mode(tmp_path):
    source = TextEncoder(**TEXT)
    source.model.save_pretrained(tmp_path)
    started = TextEncoder(pretrained=str(tmp_path), tokenizer=TEXT["tokenizer"])
    assert all(module.training for module in started.modules())
    for name, value in started.model.state_dict().items():
        assert torch.equal(value, source.model.state_dict()[name])


def test_a_text_is_encoded_alike_alone_and_beside_longer_ones():
    encoder = TextEncoder(**TEXT).eval()
    with torch.no_grad():
        alone, beside = encoder.encode(["dog"]), encoder.encode(["dog", "person person"])
    torch.testing.assert_close(alone[0], beside[0], atol=1e-5, rtol=1e-5)
    assert beside.abs().max() < 1


def test_texts_beyond_the_positions_are_cut_with_a_warning(caplog):
    encoder = TextEncoder(**TEXT).eval()
    with caplog.at_level(logging.WARNING):
        assert encoder.encode(["x" * 100]).isfinite().all()
    assert "longer than 22 tokens" in caplog.text


def test_masked_labels_are_not_attended_to():
    layer, texts = LanguageLayer(16, num_heads=2, feedforward_dim=16).eval(), torch.randn(1, 3, 16)
    padding = torch.tensor([[False, False, True]])
    changed = texts.clone()
    changed[:, 2] = torch.randn(16)
    torch.testing.assert_close(layer(texts, padding)[:, :2], layer(changed, padding)[:, :2])
    assert not torch.allclose(layer(texts, None)[:, :2], layer(changed, None)[:, :2])


def test_language_layers_start_as_officially():
    # Xavier matrices; all biases, of the attention too, as linear layers have them
    for name, parameter in LanguageLayer(48, num_heads=2, feedforward_dim=96).named_parameters():
        fans = {"intermediate": (48, 96), "output": (96, 48)}.get(name.split(".")[1], (48, 48))
        if "LayerNorm" not in name:
            bound = (6 / sum(fans)) ** 0.5 if parameter.dim() > 1 else fans[0] ** -0.5
            assert 0.8 < parameter.abs().max() / bound <= 1, name
