"""Which class of boxes the words of an entity name."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

from lemminflect import getLemma

from rlipv2.pseudo_labels.paraphrases import ClassWords

MEMO = 200_000
"""Spans of which the matches are kept in memory; the first million captions have fewer."""
COLLECTIVES = frozenset(
    {"group", "couple", "pair", "bunch", "crowd", "herd", "flock", "row", "line", "stack", "slice", "piece", "team"}
)
"""What a number of things is called: "group of people"."""
COLOURS = frozenset({"orange", "peach", "plum", "cherry"})
"""Names of classes that before another noun tell its colour."""


class Matcher(Protocol):
    """Matches words to classes; `class_words` are all classes, an image has some of them."""

    class_words: Sequence[ClassWords]

    def classes_of(self, span: str, present: Sequence[int]) -> tuple[int, ...]:
        """The classes that words name, of those of an image: none, one, or several of equal rank.

        Args:
            span: the words.
            present: classes of the boxes of the image, each once, in order of first appearance.
        """
        ...


class OfficialMatcher:
    """A phrase anywhere in the lower-cased words, letter by letter, names its class; of several classes the last wins.

    "Last" is the one that appeared last among the boxes of the image, crowd and degenerate boxes included. So "a
    carrot" names a car, and "a handbag" a person (hand). Official: `MatchWithGTbboxes` in
    datasets/rlipv2_helper/coco_caption_helper.py, with its `match_strategy`.

    Args:
        class_words: of all classes.
        strategy: "paraphrases", as for the published labels, or "original_text": the name of the class itself.
    """

    def __init__(
        self, class_words: Sequence[ClassWords], strategy: Literal["paraphrases", "original_text"] = "paraphrases"
    ) -> None:
        self.class_words = class_words
        self._phrases = [_shortest(row.phrases if strategy == "paraphrases" else (row.name,)) for row in class_words]
        self._matches = lru_cache(maxsize=MEMO)(self._all_matches)

    def classes_of(self, span: str, present: Sequence[int]) -> tuple[int, ...]:
        """See `Matcher`; at most one."""
        matches = self._matches(span.lower())
        if matches:
            for row in reversed(present):
                if row in matches:
                    return (row,)
        return ()

    def _all_matches(self, span: str) -> frozenset[int]:
        return frozenset(row for row, phrases in enumerate(self._phrases) if any(phrase in span for phrase in phrases))


class _Match(NamedTuple):
    """Phrase of a class in a span; sorts by rank."""

    is_head: bool
    is_own: bool
    length: int
    row: int


class LexicalMatcher:
    """Whole words in their base form name a class.

    Inside a longer phrase of any class a shorter one does not count ("teddy bear" is no bear, "hot dog" no dog, also
    where the image has no such class). Of what remains: words that end at the head of the span beat modifiers ("car
    driver" is a person), own names beat paraphrases ("bench" is a bench although it is listed for chair as well),
    longer phrases beat shorter ones.

    Args:
        class_words: of all classes.
        all_matches: keep every class of equal rank; else the one that appeared first in the image.
        modifiers: whether words before the head name a class where the head names none ("car window").
    """

    def __init__(self, class_words: Sequence[ClassWords], *, all_matches: bool = False, modifiers: bool = True) -> None:
        self.class_words, self.all_matches, self.modifiers = class_words, all_matches, modifiers
        self._classes: dict[tuple[str, ...], dict[int, bool]] = {}
        for row, words in enumerate(class_words):
            own = {base_forms(phrase) for phrase in words.own}
            for phrase in (*words.own, *words.phrases, *words.further):
                forms = base_forms(phrase)
                self._classes.setdefault(forms, {})[row] = forms in own
        self._longest = max(map(len, self._classes), default=0)
        self._ranked = lru_cache(maxsize=MEMO)(self._all_matches)

    def classes_of(self, span: str, present: Sequence[int]) -> tuple[int, ...]:
        """See `Matcher`; several only with `all_matches`."""
        ranked = self._ranked(span)
        if not ranked:
            return ()
        best = max((match[:3] for match in ranked if match.row in present), default=None)
        if best is None:
            return ()
        rows = {match.row for match in ranked if match[:3] == best}
        found = tuple(row for row in present if row in rows)
        return found if self.all_matches else found[:1]

    def _all_matches(self, span: str) -> tuple[_Match, ...]:
        words = base_forms(_named_part(span))
        spans = [
            (start, stop)
            for start in range(len(words))
            for stop in range(start + 1, min(len(words), start + self._longest) + 1)
            if words[start:stop] in self._classes
        ]
        whole = [a for a in spans if not any(b != a and b[0] <= a[0] and a[1] <= b[1] for b in spans)]
        return tuple(
            _Match(stop == len(words), is_own, stop - start, row)
            for start, stop in whole
            if stop == len(words) or (self.modifiers and words[start] not in COLOURS)
            for row, is_own in self._classes[words[start:stop]].items()
        )


@lru_cache(maxsize=MEMO)
def base_form(word: str) -> str:
    """The singular of a noun in lower case; a possessive is a word of its own.

    >>> base_form("Men"), base_form("skis"), base_form("man's")
    ('man', 'ski', "man's")
    """
    word = word.lower()
    if "'" in word or not word.isalpha():
        return word
    lemmas = getLemma(word, upos="NOUN")
    return str(lemmas[0]).lower() if lemmas else word


def base_forms(text: str) -> tuple[str, ...]:
    """The base form of each word of a text; hyphens part words."""
    return tuple(base_form(word) for word in re.findall(r"[^\W_]+(?:['\u2019][^\W_]+)?", text))


def _named_part(span: str) -> str:
    """The part of a span whose last word is its head: "group of people" names people, "back of a truck" a back."""
    first, found, rest = span.partition(" of ")
    if not found:
        return span
    words = first.split()
    return _named_part(rest) if words and base_form(words[-1]) in COLLECTIVES else first


def _shortest(phrases: Iterable[str]) -> tuple[str, ...]:
    """Those without which none of the others would be found: a phrase is where a part of it is."""
    kept: list[str] = []
    for phrase in sorted(dict.fromkeys(phrases), key=len):
        if not any(part in phrase for part in kept):
            kept.append(phrase)
    return tuple(kept)
