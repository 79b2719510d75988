"""A BLIP of a few thousand random parameters, and images for it."""

import numpy as np
import torch
from PIL import Image
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration

TEXT = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] a picture of man dog kite riding on the street ' s hat with , . ##s two big red "
    "holding looking at next to under bike umbrella woman child horse cat bird [DEC] [ENC]"
)
WORDS = TEXT.split()
BEGIN, END, PADDING = WORDS.index("[DEC]"), WORDS.index("[SEP]"), 0


def tokenizer() -> BertTokenizer:
    """BERT's tokenizer with a handful of words and BLIP's two further tokens."""
    made = BertTokenizer(vocab={word: row for row, word in enumerate(WORDS)}, do_lower_case=True)
    made.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
    return made


def config() -> BlipConfig:
    """Images of 32x32 in four patches."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    return BlipConfig(
        vision_config={**sizes, "num_hidden_layers": 2, "image_size": 32, "patch_size": 16, "initializer_range": 0.5},
        text_config={
            **sizes,
            "encoder_hidden_size": 16,
            "num_hidden_layers": 2,
            "vocab_size": len(WORDS),
            "max_position_embeddings": 64,
            "bos_token_id": BEGIN,
            "sep_token_id": END,
            "pad_token_id": PADDING,
            "initializer_range": 0.5,
        },
    )


def model() -> BlipForConditionalGeneration:
    """The same random weights each time."""
    torch.manual_seed(0)
    return BlipForConditionalGeneration(config()).eval()


def images(count: int, size: tuple[int, int] = (40, 30)) -> list[Image.Image]:
    """Random pixels; `size` is width and height."""
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), np.uint8)) for _ in range(count)]
