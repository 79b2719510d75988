"""Words of English as the rule-based parser knows them: closed classes from a file, open ones from lemminflect."""

import json
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

VerbForm = Literal["base", "s", "ing", "past"]
WORDS = Path(__file__).parent / "words"


@dataclass(frozen=True, slots=True)
class Word:
    """What a word form can be.

    Attributes:
        noun: its lemma as a noun, None if it is none.
        plural: as a noun it stands for several.
        verb: its lemma as a verb, None if it is none.
        form: of the verb; "past" is the participle too. "base" where they look alike ("cut").
        adjective: it can be an adjective.
        adverb: it can be nothing but an adverb.
        known: the dictionary has it.
    """

    noun: str | None
    plural: bool
    verb: str | None
    form: VerbForm
    adjective: bool
    adverb: bool
    known: bool


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((WORDS / "english.json").read_text(encoding="utf-8"))
    return content


@cache
def words(name: str) -> frozenset[str]:
    """The words of one list of `words/english.json`."""
    return frozenset(_content()[name].split())


@cache
def phrases() -> dict[str, tuple[tuple[tuple[str, ...], str], ...]]:
    """Several words that act as one, by their first word, longest first, each with its class."""
    found: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for kind, lines in _content()["phrases"].items():
        for line in lines:
            row = tuple(line.split())
            found.setdefault(row[0], []).append((row, kind))
    return {first: tuple(sorted(rows, key=lambda row: -len(row[0]))) for first, rows in found.items()}


@lru_cache(maxsize=65536)
def look_up(text: str) -> Word:
    """What a lower-case word form can be; forms that the dictionary lacks are guessed from their ending."""
    senses = _senses(text)
    if not senses:
        start, _, tail = text.rpartition("-")
        return _with_prefix(start + "-", look_up(tail)) if start and tail else _guess(text)
    nouns = senses.get("NOUN", ()) or ((text,) if text in words("also_nouns") else ())
    noun = _content()["noun_lemmas"].get(text) or _noun_lemma(text, nouns)
    verb = _verb_lemma(text, senses.get("VERB", ())) if text not in words("no_verbs") else None
    if noun is None and verb and text == verb + "s" and "NOUN" in _senses(verb):
        noun = verb  # plurals that the dictionary lacks: "pans"
    return Word(
        noun=noun,
        plural=noun is not None and _is_plural(text, noun),
        verb=verb,
        form=_verb_form(text, verb) if verb else "base",
        adjective="ADJ" in senses or text in words("adjectives"),
        adverb=set(senses) == {"ADV"},
        known=True,
    )


def _with_prefix(prefix: str, word: Word) -> Word:
    """The word behind a hyphen with what stands before it: "t-shirts", "double-decker"."""
    noun, verb = (prefix + lemma if lemma else None for lemma in (word.noun, word.verb))
    return replace(word, noun=noun, verb=verb)


def _senses(text: str) -> dict[str, tuple[str, ...]]:
    # Late: with spaCy installed lemminflect loads it, which takes seconds. Only its table is used, never the trained
    # model for unknown words, which is a pickle.
    from lemminflect import getAllLemmas

    found: dict[str, tuple[str, ...]] = getAllLemmas(text)
    return found


def _noun_lemma(text: str, lemmas: tuple[str, ...]) -> str | None:
    if text in words("pluralia"):
        return text
    if not lemmas:
        return None
    # "sports" is listed as itself and as a plural: the plural is what captions mean.
    return min(lemmas, key=lambda lemma: (lemma == text and len(lemmas) > 1, len(lemma)))


def _verb_lemma(text: str, lemmas: tuple[str, ...]) -> str | None:
    if text in ("lay", "lays"):
        return "lay"
    known = [lemma for lemma in lemmas if lemma in words("verbs")]
    return next(iter(known or lemmas), None)


def _verb_form(text: str, lemma: str) -> VerbForm:
    if text == lemma:
        return "base"
    if text.endswith("ing"):
        return "ing"
    return "s" if text.endswith("s") and text[:2] == lemma[:2] else "past"


def _is_plural(text: str, lemma: str) -> bool:
    return lemma != text or text in words("pluralia") or text in ("sheep", "fish", "deer", "moose", "bison")


def _guess(text: str) -> Word:
    """Word that the dictionary lacks: -ing and -ed are verbs, -s is a plural, anything else a noun."""
    if text.endswith("ing") and len(text) > 5:
        return Word(None, False, _stem(text[:-3]), "ing", False, False, False)
    if text.endswith("ed") and len(text) > 4:
        return Word(None, False, _stem(text[:-2]), "past", True, False, False)
    if text.endswith("ly") and len(text) > 4:
        return Word(None, False, None, "base", False, True, False)
    if text.endswith("s") and not text.endswith(("ss", "us", "is")) and len(text) > 3:
        lemma = _content()["noun_lemmas"].get(text) or _singular(text)
        if text in words("pluralia"):
            lemma = text
        return Word(lemma, True, None, "s", False, False, False)
    return Word(text, False, None, "base", text in words("adjectives"), False, False)


def _singular(text: str) -> str:
    if text.endswith("ies") and len(text) > 4:
        return text[:-3] + "y"
    return text[:-2] if text.endswith(("ches", "shes", "sses", "xes", "zes")) else text[:-1]


def _stem(text: str) -> str:
    """Base of a verb without its -ing or -ed: known with an e or without, doubled letters made single."""
    if len(text) > 2 and text[-1] == text[-2] and "VERB" in _senses(text[:-1]):
        return text[:-1]
    for candidate in (text, text + "e"):
        if "VERB" in _senses(candidate) or "NOUN" in _senses(candidate):
            return candidate
    return text[:-1] if len(text) > 2 and text[-1] == text[-2] and text[-1] not in "lsz" else text


def looks_english(tokens: list[str]) -> bool:
    """Whether the words can be English: by function words of other languages, or by how many words are unknown."""
    plain = [token for token in tokens if token[0].isalpha()]
    english = sum(token in _function_words() for token in plain)
    foreign = sum(token in words("foreign") for token in plain)
    if not plain or (foreign >= 2 and foreign > english):
        return False
    if (english and not foreign) or len(plain) < 3:
        return True
    content = [token for token in plain if token not in _function_words() | words("foreign")]
    unknown = sum(not look_up(token).known for token in content)
    return 2 * unknown < len(content) or (english > foreign and 2 * unknown <= len(content))


@cache
def _function_words() -> frozenset[str]:
    names = ("determiners", "prepositions", "be", "conjunctions", "pronouns", "have")
    return frozenset().union(*(words(name) for name in names)) - words("foreign")
