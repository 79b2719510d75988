"""Captions by BLIP, with the settings of the published pseudo-labels."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from transformers import AutoTokenizer, BlipForConditionalGeneration, PreTrainedTokenizerBase

from rlipv2.pseudo_labels.captions.generation import Precision, decoded, not_found, placed, rows_per_image, seeded

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


def blip_pixels(images: Sequence[Image.Image], size: int) -> Float[Tensor, "b 3 s s"]:
    """Images of `size` x `size`, whatever their aspect ratio was, by Pillow's bicubic filter, normalised.

    Official: transforms of the captioning script of BLIP (torchvision on Pillow images).
    """
    resized = [np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)) for image in images]
    pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor(PIXEL_MEAN).view(3, 1, 1), torch.tensor(PIXEL_STD).view(3, 1, 1)
    return (pixels - mean) / std


class BlipCaptioner(nn.Module):
    """BLIP (ICML 2022), captions sampled or by beam search; the defaults are those of the published labels.

    The image goes through the vision encoder once for all its captions (officially once for each: the same result).
    Official: RLIP_caption_coco.py and RLIP_caption_o365.py of the BLIP fork, `decoder.generate`.

    Args:
        name: weights of `BlipForConditionalGeneration` with their tokenizer: name or folder; not read if both
            are given.
        model: the network.
        tokenizer: its tokenizer.
        strategy: `nucleus` samples `num_captions`, `beam` gives the best one of a beam search.
        num_captions: captions of an image (`nucleus`); published: 10.
        prompt: what captions begin with, cut off again.
        max_length: most tokens.
        min_length: tokens before which a caption does not end.
        lengths: `with_prompt`: both count the prompt's tokens too (official: 4 of them, so at most 16 new tokens, and
            the end is forbidden for the first new one only); `new`: they count new tokens.
        top_p: share of the probability that is sampled from.
        top_k: most tokens that are sampled from; 0: all. Official: 50, a default of transformers that nobody chose.
        repetition_penalty: divides logits of tokens that stand there already, the prompt's too (`nucleus`). Official:
            1.1, whatever the argument of that name was.
        num_beams: of the beam search.
        precision: of the weights; `auto` is float16 on a GPU and float32 elsewhere.

    Raises:
        OSError: the weights are neither on disk nor reachable.
        ValueError: unknown options.
    """

    def __init__(
        self,
        name: str = "Salesforce/blip-image-captioning-large",
        *,
        model: BlipForConditionalGeneration | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        strategy: Literal["nucleus", "beam"] = "nucleus",
        num_captions: int = 10,
        prompt: str = "a picture of ",
        max_length: int = 20,
        min_length: int = 5,
        lengths: Literal["with_prompt", "new"] = "with_prompt",
        top_p: float = 0.9,
        top_k: int = 50,
        repetition_penalty: float = 1.1,
        num_beams: int = 3,
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        if strategy not in ("nucleus", "beam"):
            raise ValueError(f"strategy={strategy!r}: expected nucleus or beam")
        if lengths not in ("with_prompt", "new"):
            raise ValueError(f"lengths={lengths!r}: expected with_prompt or new")
        if num_captions < 1:
            raise ValueError(f"num_captions={num_captions}: expected at least 1")
        try:
            self.model: Any = BlipForConditionalGeneration.from_pretrained(name) if model is None else model
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name) if tokenizer is None else tokenizer
        except OSError as error:
            raise not_found(name, error) from error
        self.model.eval()
        self.strategy, self.num_captions, self.prompt = strategy, num_captions, prompt
        self.max_length, self.min_length, self.lengths = max_length, min_length, lengths
        self.top_p, self.top_k, self.repetition_penalty = top_p, top_k, repetition_penalty
        self.num_beams, self.precision = num_beams, precision

    def prompt_ids(self) -> list[int]:
        """Token ids of the prompt between both special tokens, as `generate` of transformers expects them.

        It replaces the first by the token that begins captions and drops the last.
        """
        ids: list[int] = self.tokenizer(self.prompt)["input_ids"]
        return ids

    def generation_options(self) -> dict[str, Any]:
        """Arguments of `generate`."""
        counted = 0 if self.lengths == "with_prompt" else len(self.prompt_ids()) - 1
        lengths = {"max_length": self.max_length + counted, "min_length": self.min_length + counted}
        if self.strategy == "beam":
            return {**lengths, "do_sample": False, "num_beams": self.num_beams, "repetition_penalty": 1.0}
        return {
            **lengths,
            "do_sample": True,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "repetition_penalty": self.repetition_penalty,
            "num_return_sequences": self.num_captions,
        }

    @torch.no_grad()
    def caption(self, images: Sequence[Image.Image], *, seed: int) -> list[list[str]]:
        """The captions of each image, without the prompt; one that is only the prompt is empty."""
        if not images:
            return []
        device, dtype = placed(self.model, self.precision)
        pixels = blip_pixels(images, self.model.config.vision_config.image_size).to(device, dtype)
        # A tensor for this call: `generate` writes into it.
        ids = torch.tensor([self.prompt_ids()] * len(images), device=device)
        with seeded(seed, device):
            tokens = self.model.generate(
                pixels, input_ids=ids, attention_mask=torch.ones_like(ids), **self.generation_options()
            )
        texts = [text[len(self.prompt) :] for text in decoded(self.tokenizer, tokens)]
        return rows_per_image(texts, len(images))
