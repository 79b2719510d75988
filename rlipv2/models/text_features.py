"""Pooled features of label texts, each encoded once."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlipv2.layers.text_encoder import TextEncoder


class TextFeatureCache:
    """Pooled text features by string, kept on the device of the text encoder.

    Every string is encoded alone: its feature, and with it every score to the last bit, is the same whatever was
    encoded before, so that a run that was interrupted ends with the same files. Features are dropped when the weights
    move or change, and when there would be more than `max_texts` of them.

    Args:
        encoder: in evaluation mode.
        max_texts: most strings that are kept; 20,000 of RoBERTa-base take 61 MB.
    """

    def __init__(self, encoder: TextEncoder, *, max_texts: int = 20_000) -> None:
        self.encoder, self.max_texts = encoder, max_texts
        self._rows: dict[str, int] = {}
        self._table: Tensor | None = None
        self._state: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._rows)

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "t c"]:
        """Features of the texts in order; the same text may stand there more than once."""
        self._forget_other_weights()
        missing = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if len(self._rows) + len(missing) > self.max_texts:
            self._rows, missing = {}, list(dict.fromkeys(texts))
        if missing:
            self._add(missing)
        assert self._table is not None
        rows = torch.tensor([self._rows[text] for text in texts], dtype=torch.long)
        return self._table[rows.to(self._table.device, non_blocking=True)]

    def padded(self, lists: Sequence[Sequence[str]]) -> tuple[Float[Tensor, "b t c"], Bool[Tensor, "b t"] | None]:
        """Features of lists of texts, shorter lists filled up at the end, and where they are (None: nowhere)."""
        longest = max(len(texts) for texts in lists)
        # Any text fills up: what stands in these rows is not read.
        flat = [text for texts in lists for text in (*texts, *([texts[0]] * (longest - len(texts))))]
        features = self(flat).view(len(lists), longest, -1)
        if all(len(texts) == longest for texts in lists):
            return features, None
        counts = torch.tensor([len(texts) for texts in lists])
        return features, (torch.arange(longest) >= counts[:, None]).to(features.device)

    @torch.inference_mode(False)  # tensors of inference mode could not be added to outside of it
    @torch.no_grad()
    def _add(self, texts: Sequence[str]) -> None:
        features = torch.cat([self.encoder.encode([text]) for text in texts])
        known = len(self._rows)
        if self._table is None or len(self._table) < known + len(texts):
            table = features.new_empty(max(256, 2 * (known + len(texts))), features.shape[1])
            if self._table is not None:
                table[:known] = self._table[:known]
            self._table = table
        self._table[known : known + len(texts)] = features
        self._rows |= {text: known + index for index, text in enumerate(texts)}

    def _forget_other_weights(self) -> None:
        weights = self.encoder.parameters()
        state = tuple(value for weight in weights for value in (weight.data_ptr(), weight._version))
        if state != self._state:
            self._rows, self._table, self._state = {}, None, state
