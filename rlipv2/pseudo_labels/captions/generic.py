"""Captions by any image-to-text model of transformers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor

from rlipv2.pseudo_labels.captions.generation import Precision, decoded, not_found, placed, rows_per_image, seeded


class ImageToTextCaptioner(nn.Module):
    """A model that `transformers.AutoModelForImageTextToText` knows (BLIP-2, GIT, Qwen3-VL, ...), by its name.

    Args:
        name: weights with their processor: name or folder, not read if model and processor are given.
        model: the network.
        processor: makes its inputs, and texts from its outputs.
        prompt: what the model is told; None for models that take images only.
        chat: the prompt is a message of a user to a chat model.
        generate: arguments of `generate`: `max_new_tokens`, `do_sample`, `top_p`, `num_return_sequences`, ... Say
            `top_k` too: transformers samples from 50 tokens otherwise.
        precision: of the weights; `auto` is float16 on a GPU and float32 elsewhere.

    Raises:
        OSError: the weights are neither on disk nor reachable.
        ValueError: `chat` without a prompt.
    """

    def __init__(
        self,
        name: str,
        *,
        model: nn.Module | None = None,
        processor: Any = None,
        prompt: str | None = None,
        chat: bool = False,
        generate: Mapping[str, Any] | None = None,
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        if chat and not prompt:
            raise ValueError(
                "chat=true: say what the model shall do, e.g. prompt='Describe the image in one sentence.'"
            )
        try:
            self.model: Any = AutoModelForImageTextToText.from_pretrained(name) if model is None else model
            self.processor = AutoProcessor.from_pretrained(name) if processor is None else processor
        except OSError as error:
            raise not_found(name, error) from error
        self.model.eval()
        self.prompt, self.chat, self.precision = prompt, chat, precision
        self.generate = {"max_new_tokens": 20, **dict(generate or {})}

    @torch.no_grad()
    def caption(self, images: Sequence[Image.Image], *, seed: int) -> list[list[str]]:
        """The captions of each image, without the prompt and without blanks around them."""
        if not images:
            return []
        device, dtype = placed(self.model, self.precision)
        inputs = {
            name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
            for name, value in self._inputs(images).items()
        }
        with seeded(seed, device):
            tokens = self.model.generate(**inputs, **self.generate)
        texts = decoded(
            getattr(self.processor, "tokenizer", self.processor), self._new(tokens, inputs.get("input_ids"))
        )
        return rows_per_image([self._without_prompt(text).strip() for text in texts], len(images))

    def _inputs(self, images: Sequence[Image.Image]) -> dict[str, Tensor]:
        if self.chat:
            content = [{"type": "image"}, {"type": "text", "text": self.prompt}]
            message = self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
            return dict(
                self.processor(images=list(images), text=[message] * len(images), return_tensors="pt", padding=True)
            )
        if self.prompt is None:
            return dict(self.processor(images=list(images), return_tensors="pt"))
        return dict(
            self.processor(images=list(images), text=[self.prompt] * len(images), return_tensors="pt", padding=True)
        )

    def _new(self, tokens: Tensor, prompt: Tensor | None) -> Tensor:
        """The generated tokens alone, where the model gives back the prompt's too."""
        if prompt is None or tokens.shape[1] < prompt.shape[1]:
            return tokens
        start = tokens[:, : prompt.shape[1]]
        repeated = prompt.repeat_interleave(len(tokens) // len(prompt), dim=0)
        return tokens[:, prompt.shape[1] :] if torch.equal(start, repeated) else tokens

    def _without_prompt(self, text: str) -> str:
        prompt = "" if self.prompt is None or self.chat else self.prompt.strip()
        return text[len(prompt) :] if prompt and text.lower().startswith(prompt.lower()) else text
