"""Words that people type."""

import re

from rlipv2.structures import LabelSpace

MAX_WORDS = 400
"""Words of each kind: a page that anybody may open should not be kept busy by one visitor."""
MAX_LENGTH = 80
"""Characters of a word."""


class WordsError(ValueError):
    """What was typed is no list of words; the message is for the person who typed it."""


def parse_words(text: str, kind: str) -> tuple[str, ...]:
    """The words in a text, with commas or line breaks between them; repeated and blank ones are left out.

    Args:
        text: as typed.
        kind: "objects" or "relations", for messages.

    Raises:
        WordsError: no word, too many, or one that is too long.
    """
    words = dict.fromkeys(" ".join(word.split()) for word in re.split(r"[,;\n]", text))
    words.pop("", None)
    if not words:
        raise WordsError(f"Type at least one word for the {kind}, with commas or line breaks between them.")
    if len(words) > MAX_WORDS:
        raise WordsError(f"{len(words)} {kind}: at most {MAX_WORDS} words are looked for at once.")
    long = [word for word in words if len(word) > MAX_LENGTH]
    if long:
        raise WordsError(f"{kind}: {long[0][:MAX_LENGTH]}... is longer than {MAX_LENGTH} characters.")
    return tuple(words)


def parse_label_space(objects: str, relations: str) -> LabelSpace:
    """The label space of two texts.

    Raises:
        WordsError: see `parse_words`.
    """
    try:
        return LabelSpace(objects=parse_words(objects, "objects"), relations=parse_words(relations, "relations"))
    except WordsError:
        raise
    except ValueError as error:  # the word that stands for the background
        raise WordsError(str(error)) from error


def as_text(words: tuple[str, ...]) -> str:
    """Words as they are shown for editing."""
    return ", ".join(words)
