import numpy as np
import pytest
import torch
from transformers import (
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from rlipv2.pseudo_labels.captions import Captioner, TemplateCaptioner
from rlipv2.pseudo_labels.captions.blip import BlipCaptioner, blip_pixels
from rlipv2.pseudo_labels.captions.generation import rows_per_image
from rlipv2.pseudo_labels.captions.generic import ImageToTextCaptioner
from rlipv2.pseudo_labels.records import LabelledImage
from tests.pseudo_labels import tiny_blip


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_blip.tokenizer()


def blip(tokenizer, **options):
    return BlipCaptioner(model=tiny_blip.model(), tokenizer=tokenizer, **options)


def generated(monkeypatch, captioner):
    """What the text decoder was asked and what it gave, of every call."""
    calls = []
    original = captioner.model.text_decoder.generate

    def recorded(**options):
        tokens = original(**options)
        calls.append((options, tokens))
        return tokens

    monkeypatch.setattr(captioner.model.text_decoder, "generate", recorded)
    return calls


def test_ten_captions_of_each_image_from_one_call_of_the_vision_encoder(tokenizer, monkeypatch):
    captioner = blip(tokenizer)
    seen = []
    captioner.model.vision_model.register_forward_hook(lambda module, inputs, output: seen.append(len(output[0])))
    captions = captioner.caption(tiny_blip.images(3), seed=0)
    assert isinstance(captioner, Captioner)
    assert [len(one) for one in captions] == [10, 10, 10]
    assert seen == [3]
    assert all(isinstance(text, str) and "picture of" not in text for one in captions for text in one)
    assert captioner.caption([], seed=0) == []


def test_the_prompt_keeps_its_first_special_token_only(tokenizer, monkeypatch):
    captioner = blip(tokenizer)
    calls = generated(monkeypatch, captioner)
    first = captioner.caption(tiny_blip.images(2), seed=0)
    again = captioner.caption(tiny_blip.images(2), seed=0)  # `generate` wrote into its ids
    words = [tiny_blip.WORDS.index(word) for word in ("a", "picture", "of")]
    assert captioner.prompt_ids() == [tiny_blip.WORDS.index("[CLS]"), *words, tiny_blip.END]
    for options, tokens in calls:
        assert options["input_ids"].tolist() == [[tiny_blip.BEGIN, *words]] * 2
        assert tokens[:, :4].tolist() == [[tiny_blip.BEGIN, *words]] * 20
    assert first == again


def test_captions_stand_with_their_image(tokenizer):
    greedy = blip(tokenizer, top_k=1, num_captions=2)
    together = greedy.caption(tiny_blip.images(4), seed=0)
    assert len({tuple(one) for one in together}) > 1
    for image, captions in zip(tiny_blip.images(4), together, strict=True):
        assert greedy.caption([image], seed=0) == [captions]
        assert captions[0] == captions[1]
    assert rows_per_image(["a", "b", "c", "d"], 2) == [["a", "b"], ["c", "d"]]
    with pytest.raises(ValueError, match="3 captions for 2 images"):
        rows_per_image(["a", "b", "c"], 2)


def test_the_seed_alone_decides(tokenizer):
    captioner = blip(tokenizer)
    images = tiny_blip.images(2)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = captioner.caption(images, seed=2**63 - 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert captioner.caption(images, seed=1) != first
    torch.rand(3)
    assert captioner.caption(images, seed=2**63 - 1) == first


def with_logits(captioner, logits):
    """Makes every next token follow the same logits."""
    head = captioner.model.text_decoder.cls.predictions
    with torch.no_grad():
        head.decoder.weight.zero_()
        head.decoder.bias.copy_(logits)
    return captioner


def likely(token, other=None):
    logits = torch.zeros(len(tiny_blip.WORDS))
    logits[token] = 50.0
    if other is not None:
        logits[other] = 20.0
    return logits


@pytest.mark.parametrize(
    ("options", "new"),
    [
        ({}, 2),  # the end is forbidden for the first new token only
        ({"min_length": 0}, 1),
        ({"min_length": 8}, 5),
        ({"lengths": "new"}, 6),
        ({"strategy": "beam"}, 2),
    ],
)
def test_lengths_count_the_prompt(tokenizer, monkeypatch, options, new):
    end, dog = tiny_blip.END, tiny_blip.WORDS.index("dog")
    captioner = with_logits(blip(tokenizer, **options), likely(end, dog))
    calls = generated(monkeypatch, captioner)
    (captions,) = captioner.caption(tiny_blip.images(1), seed=0)
    (tokens,) = {tuple(row) for row in calls[0][1].tolist()}
    assert tokens[4:] == (*[dog] * (new - 1), end)
    assert set(captions) == {" ".join(["dog"] * (new - 1))}
    assert len(captions) == (1 if options.get("strategy") == "beam" else 10)


@pytest.mark.parametrize(("lengths", "new"), [("with_prompt", 16), ("new", 20)])
def test_captions_end_at_the_greatest_length(tokenizer, monkeypatch, lengths, new):
    dog = tiny_blip.WORDS.index("dog")
    captioner = with_logits(blip(tokenizer, lengths=lengths, num_captions=2), likely(dog))
    calls = generated(monkeypatch, captioner)
    captioner.caption(tiny_blip.images(1), seed=0)
    assert calls[0][1][:, 4:].tolist() == [[dog] * new] * 2


@pytest.mark.parametrize(("top_k", "repetition_penalty"), [(50, 1.1), (5, 1.1), (0, 1.0)])
def test_tokens_are_drawn_after_penalty_then_top_k_then_top_p(tokenizer, monkeypatch, top_k, repetition_penalty):
    logits = torch.linspace(-2, 4, len(tiny_blip.WORDS)).roll(11)
    captioner = with_logits(blip(tokenizer, top_k=top_k, repetition_penalty=repetition_penalty, top_p=0.6), logits)
    drawn = []
    original = torch.multinomial
    monkeypatch.setattr(torch, "multinomial", lambda p, **options: drawn.append(p.clone()) or original(p, **options))
    captioner.caption(tiny_blip.images(1), seed=0)
    expected = logits.clone()
    for token in (tiny_blip.BEGIN, *captioner.prompt_ids()[1:-1]):  # the prompt's tokens stand there already
        expected[token] = torch.where(
            expected[token] > 0, expected[token] / repetition_penalty, expected[token] * repetition_penalty
        )
    expected[tiny_blip.END] = -torch.inf  # too short to end
    if top_k:
        expected[expected < expected.topk(min(top_k, len(expected))).values[-1]] = -torch.inf
    order = expected.argsort(descending=True)
    probabilities = expected.softmax(0)[order]
    expected[order[probabilities.cumsum(0) - probabilities >= 0.6]] = -torch.inf
    torch.testing.assert_close(drawn[0], expected.softmax(0).expand(10, -1))
    assert (drawn[0][0] > 0).sum() < (top_k or len(logits))


def test_top_k_is_said_even_if_it_is_off(tokenizer):
    assert blip(tokenizer).generation_options() == {
        "max_length": 20,
        "min_length": 5,
        "do_sample": True,
        "top_p": 0.9,
        "top_k": 50,
        "repetition_penalty": 1.1,
        "num_return_sequences": 10,
    }
    assert blip(tokenizer, top_k=0).generation_options()["top_k"] == 0
    assert blip(tokenizer, strategy="beam", repetition_penalty=1.5).generation_options() == {
        "max_length": 20,
        "min_length": 5,
        "do_sample": False,
        "num_beams": 3,
        "repetition_penalty": 1.0,
    }


def test_beam_search_gives_one_caption_whatever_the_seed(tokenizer):
    captioner = blip(tokenizer, strategy="beam")
    captions = captioner.caption(tiny_blip.images(3), seed=0)
    assert [len(one) for one in captions] == [1, 1, 1]
    assert captioner.caption(tiny_blip.images(3), seed=1) == captions
    assert captioner.caption(tiny_blip.images(3)[1:2], seed=0) == captions[1:2]


def test_blanks_before_apostrophes_go_and_a_prompt_alone_is_empty(tokenizer, monkeypatch):
    captioner = blip(tokenizer, num_captions=1)
    text = tokenizer("a picture of a man's hat, two dogs", return_tensors="pt")["input_ids"]
    monkeypatch.setattr(captioner.model, "generate", lambda *_, **__: text)
    assert captioner.caption(tiny_blip.images(1), seed=0) == [["a man's hat, two dogs"]]
    text = tokenizer("a picture of", return_tensors="pt")["input_ids"]
    assert captioner.caption(tiny_blip.images(1), seed=0) == [[""]]


@pytest.mark.parametrize("size", [(640, 480), (32, 32), (31, 77)])
def test_pixels_are_those_of_the_processor(size):
    images = tiny_blip.images(2, size)
    shape = {"height": 32, "width": 32}
    expected = BlipImageProcessorPil(size=shape)(images, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(blip_pixels(images, 32), expected, rtol=0, atol=1e-5)
    other = BlipImageProcessor(size=shape)(images, return_tensors="pt")["pixel_values"]
    assert (blip_pixels(images, 32) - other).abs().mean() < 0.01  # torchvision resizes a little differently


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P"])
def test_other_colours_are_converted(mode):
    (image,) = tiny_blip.images(1)
    expected = blip_pixels([image.convert(mode).convert("RGB")], 32)
    assert torch.equal(blip_pixels([image.convert(mode)], 32), expected)


def test_weights_have_the_precision_asked_for(tokenizer):
    captioner = blip(tokenizer, precision="bfloat16", num_captions=2)
    assert [len(one) for one in captioner.caption(tiny_blip.images(2), seed=0)] == [2, 2]
    assert {weight.dtype for weight in captioner.parameters()} == {torch.bfloat16}
    assert next(blip(tokenizer).model.parameters()).dtype == torch.float32
    with pytest.raises(ValueError, match="precision='half'"):
        blip(tokenizer, precision="half").caption(tiny_blip.images(1), seed=0)


def test_wrong_options_are_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="strategy='greedy'"):
        blip(tokenizer, strategy="greedy")
    with pytest.raises(ValueError, match="lengths='all'"):
        blip(tokenizer, lengths="all")
    with pytest.raises(ValueError, match="num_captions=0"):
        blip(tokenizer, num_captions=0)
    with pytest.raises(OSError, match=r"captioner .*no-weights: neither a folder.*captions=FILE"):
        BlipCaptioner(str(tmp_path / "no-weights"))
    with pytest.raises(OSError, match=r"no-weights: neither a folder"):
        ImageToTextCaptioner(str(tmp_path / "no-weights"))
    with pytest.raises(ValueError, match="chat=true: say what the model shall do"):
        ImageToTextCaptioner("any", chat=True)


def test_a_folder_of_weights_is_enough(tokenizer, tmp_path):
    tiny_blip.model().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = BlipCaptioner(str(tmp_path))
    images = tiny_blip.images(2)
    assert loaded.caption(images, seed=3) == blip(tokenizer).caption(images, seed=3)


SAMPLED = {"do_sample": True, "top_k": 50, "num_return_sequences": 2, "max_new_tokens": 6}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}


def blip_parts():
    pixels = BlipImageProcessor(size={"height": 32, "width": 32})
    return tiny_blip.model(), BlipProcessor(pixels, tiny_blip.tokenizer()), {"prompt": "a picture of"}


def git_parts():
    tokenizer = tiny_blip.tokenizer()
    config = GitConfig(
        vision_config=VISION,
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        bos_token_id=2,
        eos_token_id=3,
        initializer_range=0.5,
    )
    pixels = CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    return GitForCausalLM(config), GitProcessor(pixels, tokenizer), {}


def llava_parts():
    tokenizer = tiny_blip.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.padding_side = "left"
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        initializer_range=0.5,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False),
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=(
            "{% for message in messages %}{% for part in message['content'] %}"
            "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endfor %}"
        ),
    )
    return LlavaForConditionalGeneration(config), processor, {"prompt": "looking at the picture", "chat": True}


@pytest.mark.parametrize("parts", [blip_parts, git_parts, llava_parts])
def test_other_models_of_transformers_describe_images_too(parts):
    torch.manual_seed(0)
    model, processor, options = parts()
    captioner = ImageToTextCaptioner("tiny", model=model, processor=processor, generate=SAMPLED, **options)
    captions = captioner.caption(tiny_blip.images(3), seed=5)
    assert [len(one) for one in captions] == [2, 2, 2]
    assert len({text for one in captions for text in one}) > 2
    assert not any("picture" in text and "at the picture" in text for one in captions for text in one)
    assert captioner.caption(tiny_blip.images(3), seed=5) == captions
    assert captioner.caption(tiny_blip.images(3), seed=6) != captions
    assert captioner.caption([], seed=5) == []


def labelled(boxes, labels, *, image_id=7):
    boxes, labels = np.array(boxes, np.float64).reshape(-1, 4), np.array(labels, np.int64)
    return LabelledImage(image_id, "7.jpg", "train", (100, 100), boxes, labels, np.zeros(len(labels), bool))


def test_templates_say_where_boxes_are():
    captioner = TemplateCaptioner(["person", "dog", "kite"], num_captions=40)
    image = labelled([[10, 50, 20, 40], [40, 50, 20, 40], [12, 0, 10, 10]], [0, 1, 2])
    captions = captioner.captions_of_record(image, seed=0)
    assert len(captions) == 40
    assert set(captions) == {
        "a person next to a dog",
        "a dog next to a person",
        "a kite above a person",
        "a person below a kite",
        "a kite above a dog",
        "a dog below a kite",
    }
    assert captioner.captions_of_record(image, seed=0) == captions
    assert captioner.captions_of_record(image, seed=1) != captions
    assert captioner.captions_of_record(labelled([[0, 0, 9, 9]], [1]), seed=0) == ["a dog"]
    assert captioner.captions_of_record(labelled([], []), seed=0) == []
    over = labelled([[10, 10, 20, 20], [12, 20, 20, 30]], [0, 1])
    assert set(captioner.captions_of_record(over, seed=0)) == {"a person on a dog", "a dog below a person"}
