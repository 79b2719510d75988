"""Text features of word lists, kept for the next image."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import torch

from rlipv2.models.detector import RelationDetector
from rlipv2.structures import LabelSpace, TextFeatures

_log = logging.getLogger(__name__)

SMALL_VOCABULARY = 5_000
"""Tokenizers with fewer tokens learned them from the words of one dataset (RoBERTa's has 50,265)."""


class LabelSpaceFeatures:
    """Features of the least recently forgotten word lists; safe to call from several threads.

    The features of a list are computed together, as in evaluation, so that scores are those of the evaluation.

    Args:
        detector: in evaluation mode.
        known: words that the weights were trained with; others get a warning, once, where the weights learned
            their language from such a list alone.
        max_lists: word lists that are kept; one of 1,000 words takes 3 MB with RoBERTa-base.
    """

    def __init__(self, detector: RelationDetector, *, known: Iterable[str] = (), max_lists: int = 16) -> None:
        self.detector = detector
        self.known = frozenset(known)
        self.max_lists = max_lists
        self._kept: OrderedDict[LabelSpace, TextFeatures] = OrderedDict()
        self._warned: set[str] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def __call__(self, label_space: LabelSpace) -> TextFeatures:
        """Features of objects, background and relations, on the device of the weights."""
        with self._lock:  # tokenizers are no more thread-safe than the list is
            if label_space in self._kept:
                self._kept.move_to_end(label_space)
                return self._kept[label_space]
            self._warn(label_space)
            with torch.inference_mode():
                pooled = self.detector.text_encoder.encode(label_space.texts)
                features = self.detector.text_features(pooled, len(label_space.objects) + 1)
            self._kept[label_space] = features
            if len(self._kept) > self.max_lists:
                self._kept.popitem(last=False)
            return features

    def _warn(self, label_space: LabelSpace) -> None:
        words = {*label_space.objects, *label_space.relations}
        unknown = sorted(words - self.known - self._warned)
        if not self.known or not unknown or len(self.detector.text_encoder.tokenizer) >= SMALL_VOCABULARY:
            return
        self._warned.update(unknown)
        _log.warning(
            "these weights learned words from their own data only and know %d of them; what they find for %s means "
            "little. They know: %s",
            len(self.known),
            _listed(unknown),
            _listed(sorted(self.known)),
        )


def _listed(words: Sequence[str], most: int = 40) -> str:
    return ", ".join(map(repr, words[:most])) + (f" and {len(words) - most} more" if len(words) > most else "")
