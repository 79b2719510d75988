"""Checkpoints of the BLIP repository: the names of their tensors, their sizes, and damaged ones."""

import pytest
import torch

from rlipv2.pseudo_labels.captions import original
from rlipv2.pseudo_labels.captions.__main__ import main
from rlipv2.pseudo_labels.captions.blip import BlipCaptioner
from tests.pseudo_labels import tiny_blip

BLOCK = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "self_attn.qkv": "attn.qkv",
    "self_attn.projection": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def original_state():
    """The tensors of the tiny BLIP under the names that models/blip.py and models/vit.py of BLIP give them."""
    state = {"text_decoder.bert.embeddings.position_ids": torch.arange(64)[None]}
    for name, value in tiny_blip.model().state_dict().items():
        if name.startswith("text_decoder."):
            state[name] = value
        elif name.startswith("vision_model.encoder.layers."):
            _, _, _, number, *parts, kind = name.split(".")
            state[f"visual_encoder.blocks.{number}.{BLOCK['.'.join(parts)]}.{kind}"] = value
        elif name.startswith("vision_model.post_layernorm."):
            state[f"visual_encoder.norm.{name.split('.')[-1]}"] = value
        else:
            part, *kind = name.removeprefix("vision_model.embeddings.").split(".")
            old = {"class_embedding": "cls_token", "position_embedding": "pos_embed"}.get(part, "patch_embed.proj")
            state[".".join(["visual_encoder", old, *kind])] = value
    return state


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    heads = tiny_blip.config().vision_config.num_attention_heads
    monkeypatch.setattr(original, "HEAD_WIDTH", 16 // heads)  # published: 64
    torch.save({"model": original_state()}, tmp_path / "model.pth")
    tiny_blip.tokenizer().save_pretrained(tmp_path / "words")
    return tmp_path / "model.pth"


def test_a_converted_checkpoint_has_every_tensor_and_describes_images(checkpoint, tmp_path):
    assert main(["convert", str(checkpoint), str(tmp_path / "out"), "--tokenizer", str(tmp_path / "words")]) == 0
    found = BlipCaptioner(str(tmp_path / "out"))
    expected = tiny_blip.model().state_dict()
    assert set(found.model.state_dict()) == set(expected)
    assert all(torch.equal(value, expected[name]) for name, value in found.model.state_dict().items())
    config, made = found.model.config, tiny_blip.config()
    for part, names in (
        ("vision_config", ("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")),
        ("text_config", ("hidden_size", "num_hidden_layers", "num_attention_heads", "bos_token_id", "vocab_size")),
    ):
        assert [getattr(getattr(config, part), name) for name in names] == [
            getattr(getattr(made, part), name) for name in names
        ]
    assert config.vision_config.layer_norm_eps == 1e-6
    assert [len(captions) for captions in found.caption(tiny_blip.images(2), seed=0)] == [10, 10]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pth", "out", "words"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("visual_encoder.norm.bias"), "vision_model.post_layernorm.bias"),
        (lambda state: state.update({"visual_encoder.blocks.0.other.bias": torch.zeros(1)}), "layers.0.other.bias"),
        (lambda state: state.pop("visual_encoder.pos_embed"), "visual_encoder.pos_embed"),
        (lambda state: state.clear(), "no checkpoint of a BLIP decoder"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(checkpoint, tmp_path, capsys, change, told):
    state = original_state()
    change(state)
    torch.save({"model": state}, checkpoint)
    assert main(["convert", str(checkpoint), str(tmp_path / "out"), "--tokenizer", str(tmp_path / "words")]) == 2
    error = capsys.readouterr().err
    assert str(checkpoint) in error
    assert told in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pth", "words"]


def test_a_tokenizer_of_other_words_is_refused(checkpoint, tmp_path):
    words = tiny_blip.tokenizer()
    words.add_tokens(["zebra"])
    with pytest.raises(ValueError, match=r"41 tokens with \[DEC\] and \[ENC\], the checkpoint has 40"):
        original.convert(checkpoint, tmp_path / "out", tokenizer=words)
    assert not (tmp_path / "out").exists()


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "web.pth").write_text("<html>")
    with pytest.raises(ValueError, match=r"web\.pth: no checkpoint of a BLIP decoder"):
        original.convert(tmp_path / "web.pth", tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        original.convert(tmp_path / "none.pth", tmp_path / "out")
    with pytest.raises(FileExistsError, match="is there already"):
        original.convert(tmp_path / "web.pth", tmp_path)
