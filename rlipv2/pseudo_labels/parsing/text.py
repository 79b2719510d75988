"""Captions as models sample them: cleaning, and telling what is not English."""

import re
import unicodedata

MAX_WORDS = 60
EMPTY, TRUNCATED, CONTROL, NOT_ENGLISH = "empty", "truncated", "control characters", "not English"

# Letters and digits, with hyphens and apostrophes inside; or one mark.
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[^\w\s]", re.UNICODE)
# Detokenised captions write "close - up" and "man ' s".
_SPACED_HYPHEN = re.compile(r"(?<=\w) - (?=\w)")
_GENITIVE = re.compile(r"\s+'\s*s\b")


def clean(caption: str, max_words: int = MAX_WORDS) -> tuple[str, list[str]]:
    """A caption without control characters, at most `max_words` words long; and what was wrong with it.

    The second value holds `EMPTY`, `CONTROL`, `TRUNCATED` or nothing.
    """
    problems = []
    kept = "".join(" " if char.isspace() else char for char in caption if char.isspace() or _is_text(char))
    if len(kept) != len(caption):
        problems.append(CONTROL)
    words = unicodedata.normalize("NFKC", kept).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split()
    if not words:
        return "", [*problems, EMPTY]
    if len(words) > max_words:
        problems.append(TRUNCATED)
        words = words[:max_words]
    return " ".join(words), problems


def _is_text(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn")


def tokenize(caption: str) -> list[str]:
    """Lower-case words and marks; a genitive or shortened "is" becomes a token of its own, repeats are dropped.

    Sampled captions stutter ("in in a a kitchen"): a run of up to three words that follows itself at once is kept once.
    """
    text = _SPACED_HYPHEN.sub("-", _GENITIVE.sub("'s", caption.lower()))
    tokens: list[str] = []
    for word in _WORD.findall(text):
        head, mark, tail = word.partition("'")
        tokens.extend([head, "'" + tail] if mark and tail in ("s", "re") else [word])
        _drop_repeat(tokens)
    return tokens


def _drop_repeat(tokens: list[str]) -> None:
    for length in (1, 2, 3):
        if len(tokens) >= 2 * length and tokens[-length:] == tokens[-2 * length : -length]:
            del tokens[-length:]
            return


def is_mostly_ascii(caption: str) -> bool:
    """Whether at least half of the letters, and any at all, are ASCII."""
    letters = [char for char in caption if char.isalpha()]
    return bool(letters) and 2 * sum(char.isascii() for char in letters) >= len(letters)
