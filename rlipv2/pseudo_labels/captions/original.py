"""Checkpoints of the BLIP repository, which the published captions were made with, as folders of transformers.

`model_large_caption.pth` is what `Salesforce/blip-image-captioning-large` holds; of others, such as `model_large.pth`
(not fine-tuned), there may be no such folder.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, BlipConfig, BlipForConditionalGeneration, PreTrainedTokenizerBase

PREFIXES = {
    "visual_encoder.cls_token": "vision_model.embeddings.class_embedding",
    "visual_encoder.pos_embed": "vision_model.embeddings.position_embedding",
    "visual_encoder.patch_embed.proj": "vision_model.embeddings.patch_embedding",
    "visual_encoder.norm": "vision_model.post_layernorm",
    "visual_encoder.blocks": "vision_model.encoder.layers",
}
PARTS = {
    "attn.qkv": "self_attn.qkv",
    "attn.proj": "self_attn.projection",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
}
"""Names in a block of the vision encoder; those of the text decoder are the same."""
HEAD_WIDTH = 64
"""Of all published sizes."""


def convert(checkpoint: Path, folder: Path, *, tokenizer: str | PreTrainedTokenizerBase = "bert-base-uncased") -> Path:
    """Writes a checkpoint of the BLIP decoder as a folder that `captioner.name` takes, and returns the folder.

    Args:
        checkpoint: a .pth file of the BLIP repository with a text decoder.
        folder: to be written; must not exist.
        tokenizer: BERT's, by name or folder; BLIP's two further tokens are added.

    Raises:
        FileExistsError: the folder is there.
        FileNotFoundError: no such checkpoint.
        ValueError: it is no such checkpoint, or a tensor is missing, too many or of another shape; names it.
    """
    if folder.exists():
        raise FileExistsError(f"{folder}: is there already; give another folder")
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = content.get("model", content)
        model = BlipForConditionalGeneration(config_of(state))
        load_state(model, state)
    except (UnpicklingError, EOFError, RuntimeError, KeyError, AttributeError) as error:
        raise ValueError(f"{checkpoint}: no checkpoint of a BLIP decoder ({error}); download it again") from error
    words: Any = AutoTokenizer.from_pretrained(tokenizer) if isinstance(tokenizer, str) else tokenizer
    words.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
    expected = len(state["text_decoder.bert.embeddings.word_embeddings.weight"])
    if len(words) != expected:
        raise ValueError(
            f"tokenizer: {len(words)} tokens with [DEC] and [ENC], the checkpoint has {expected}; give the tokenizer "
            "of bert-base-uncased"
        )
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        model.save_pretrained(temporary)
        words.save_pretrained(temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load_state(model: BlipForConditionalGeneration, state: Mapping[str, Tensor]) -> None:
    """Loads the tensors of the BLIP repository, all of them.

    Raises:
        RuntimeError: a tensor is missing, too many, or of another shape.
    """
    # a constant that older versions of BERT kept among their weights
    model.load_state_dict({renamed(key): value for key, value in state.items() if not key.endswith("position_ids")})


def renamed(key: str) -> str:
    """The name of a tensor in transformers.

    >>> renamed("visual_encoder.blocks.3.attn.proj.bias")
    'vision_model.encoder.layers.3.self_attn.projection.bias'
    """
    for old, new in PREFIXES.items():
        if key.startswith(old):
            key = new + key.removeprefix(old)
            for part, name in PARTS.items():
                key = key.replace(f".{part}.", f".{name}.")
            return key
    return key


def config_of(state: Mapping[str, Tensor]) -> BlipConfig:
    """The sizes of a network, read from its tensors.

    Raises:
        KeyError: a tensor is missing that tells them.
    """
    width, _, patch, _ = state["visual_encoder.patch_embed.proj.weight"].shape
    patches = state["visual_encoder.pos_embed"].shape[1] - 1
    decoder = "text_decoder.bert.encoder.layer"
    vocabulary, text_width = state["text_decoder.bert.embeddings.word_embeddings.weight"].shape
    return BlipConfig(
        vision_config={
            "hidden_size": width,
            "intermediate_size": len(state["visual_encoder.blocks.0.mlp.fc1.weight"]),
            "num_hidden_layers": _layers(state, "visual_encoder.blocks"),
            "num_attention_heads": width // HEAD_WIDTH,
            "image_size": round(patches**0.5) * patch,
            "patch_size": patch,
            "layer_norm_eps": 1e-6,  # officially; transformers has 1e-5
        },
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": text_width,
            "encoder_hidden_size": state[f"{decoder}.0.crossattention.self.key.weight"].shape[1],
            "intermediate_size": len(state[f"{decoder}.0.intermediate.dense.weight"]),
            "num_hidden_layers": _layers(state, decoder),
            "num_attention_heads": text_width // HEAD_WIDTH,
            "max_position_embeddings": len(state["text_decoder.bert.embeddings.position_embeddings.weight"]),
            "bos_token_id": vocabulary - 2,  # [DEC]
        },
    )


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[1] for key in state if key.startswith(f"{prefix}.")})
