"""Label texts -> pooled features (RoBERTa), and the language layers that act between fused texts."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast, RobertaConfig, RobertaModel
from transformers.models.roberta.modeling_roberta import RobertaLayer

_log = logging.getLogger(__name__)

_SPECIAL_TOKENS = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def train_tokenizer(words: Sequence[str], *, vocab_size: int = 1000) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learned from label words: reads any text, needs no download.

    The layout is RoBERTa's (`<s> ... </s>`, ids 0, 1, 2 for begin, padding, end), so that the same
    text encoder class serves both.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(set(words)), trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_SPECIAL_TOKENS)


class TextEncoder(nn.Module):
    """Each label as one short text through RoBERTa; a label's feature is the pooled first token.

    RLIPv2 uses no prompt template and encodes labels separately. Official: models/hoi.py.

    Args:
        pretrained: name or folder of the RoBERTa weights to start from (downloaded on first use), or
            null where weights are loaded afterwards or training starts from scratch.
        config: arguments of `transformers.RobertaConfig` that differ from roberta-base.
        tokenizer: name or folder for `AutoTokenizer` (read at the first text, not before), or a list
            of words to learn a small tokenizer from.

    Raises:
        OSError: the tokenizer or the weights are neither on disk nor reachable.
    """

    def __init__(
        self,
        *,
        pretrained: str | None = None,
        config: Mapping[str, Any] | None = None,
        tokenizer: str | Path | Sequence[str] = "roberta-base",
    ) -> None:
        super().__init__()
        if pretrained is not None:
            self.model = RobertaModel.from_pretrained(pretrained, attn_implementation="sdpa", **dict(config or {}))
        else:
            self.model = RobertaModel(roberta_config(**dict(config or {})))
        self.model.train()  # from_pretrained gives evaluation mode, in which Lightning would leave it
        self._tokenizer_source = tokenizer if isinstance(tokenizer, str | Path) else list(tokenizer)
        self._tokenizer: PreTrainedTokenizerBase | None = None

    @property
    def dim(self) -> int:
        """Width of the pooled features."""
        return int(self.model.config.hidden_size)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, read or learned on first use."""
        if self._tokenizer is None:
            source = self._tokenizer_source
            if isinstance(source, list):
                self._tokenizer = train_tokenizer(source, vocab_size=self.model.config.vocab_size)
            else:
                self._tokenizer = AutoTokenizer.from_pretrained(source)
        return self._tokenizer

    @property
    def tokenizer_is_loaded(self) -> bool:
        """Whether the tokenizer is at hand without reading anything from a disk or a network."""
        return self._tokenizer is not None or isinstance(self._tokenizer_source, list)

    def tokenize(self, texts: Sequence[str]) -> tuple[Int[Tensor, "t n"], Int[Tensor, "t n"]]:
        """Token ids and attention mask (1 = token, 0 = padding), padded to the longest text.

        Texts longer than the encoder's positions are cut, with a warning.
        """
        limit = self.model.config.max_position_embeddings - 2
        encoded = self.tokenizer(list(texts), padding="longest", return_tensors="pt")
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        if ids.shape[1] > limit:
            too_long = [texts[row] for row in (mask.sum(1) > limit).nonzero().flatten().tolist()]
            _log.warning("%d texts are longer than %d tokens and are cut, e.g. %r", len(too_long), limit, too_long[0])
            ids, mask = ids[:, :limit], mask[:, :limit]
        return ids, mask

    def forward(self, input_ids: Int[Tensor, "t n"], attention_mask: Int[Tensor, "t n"]) -> Float[Tensor, "t c"]:
        """Pooled features in (-1, 1), one row per text."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask).pooler_output

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "t c"]:
        """Pooled features of texts, computed on the device of the weights."""
        device = self.model.embeddings.word_embeddings.weight.device
        ids, mask = self.tokenize(texts)
        return self(ids.to(device), mask.to(device))


def roberta_config(**changes: Any) -> RobertaConfig:
    """The configuration of roberta-base, with changes. Written out, as transformers' defaults are another model's."""
    values: dict[str, Any] = {
        "vocab_size": 50265,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "attn_implementation": "sdpa",
    }
    return RobertaConfig(**(values | changes))


class LanguageLayer(nn.Module):
    """One RoBERTa layer whose tokens are the labels: labels attend to labels.

    Official: models/modeling_roberta.py, RobertaLayer, inside the ALIF encoder; starts from random
    weights.

    Args:
        dim: width of the texts.
        num_heads: heads.
        feedforward_dim: width of the hidden layer.
        dropout: on hidden states and attention probabilities.
        mask_value: added to the scores of masked texts. Official: -10000 (transformers 4.5.1), which
            equals a full mask unless every text is masked (docs/parity.md, Q28).
    """

    def __init__(
        self,
        dim: int = 768,
        *,
        num_heads: int = 12,
        feedforward_dim: int = 3072,
        dropout: float = 0.1,
        mask_value: float = -10000.0,
    ) -> None:
        super().__init__()
        self.mask_value = mask_value
        self.layer = RobertaLayer(
            roberta_config(
                hidden_size=dim,
                num_attention_heads=num_heads,
                intermediate_size=feedforward_dim,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
            )
        )
        for parameter in self.layer.parameters():  # biases keep the default of linear layers
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, texts: Float[Tensor, "b t c"], padding_mask: Bool[Tensor, "b t"] | None
    ) -> Float[Tensor, "b t c"]:
        """Updated texts; those with `padding_mask` True are not attended to."""
        bias = None
        if padding_mask is not None:
            bias = (padding_mask[:, None, None].to(texts.dtype) * self.mask_value).expand(-1, 1, texts.shape[1], -1)
        return self.layer(texts, attention_mask=bias)
