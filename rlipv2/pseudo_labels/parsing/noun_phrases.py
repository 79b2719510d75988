"""Noun phrases of a tagged caption, and what is between them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from rlipv2.pseudo_labels.parsing.lexicon import words
from rlipv2.pseudo_labels.parsing.tagging import Token
from rlipv2.pseudo_labels.records import Entity

_INSIDE = ("DET", "NUM", "ADJ", "NOUN", "GEN")


@dataclass(frozen=True)
class NounPhrase:
    """A noun with what belongs to it.

    Attributes:
        entity: how it is recorded.
        noun: the head noun as written.
        plural: it stands for several things.
        determiner: its first word if that is a determiner or number, else empty.
        number: position in the caption's list of phrases.
    """

    entity: Entity
    noun: str
    plural: bool
    determiner: str
    number: int

    def is_a(self, *names: str) -> bool:
        """Whether the head noun is in one of the lists of words."""
        if "pictures" in names and self.entity.lemma_head == "close up":
            return True
        last = self.entity.lemma_head.rsplit(" ", 1)[-1]
        return any(self.noun in words(name) or last in words(name) for name in names)

    @property
    def is_animate(self) -> bool:
        """A person or an animal."""
        return self.is_a("people", "animals") and self.entity.lemma_head != "hot dog"


@dataclass
class Group:
    """Coordinated noun phrases, with the position of the item behind them."""

    phrases: list[NounPhrase] = field(default_factory=list)

    @property
    def last(self) -> NounPhrase:
        """The phrase that stands last."""
        return self.phrases[-1]

    @property
    def is_animate(self) -> bool:
        """Whether the last phrase is a person or an animal."""
        return self.last.is_animate

    def is_a(self, *names: str) -> bool:
        """Whether the last phrase's noun is in one of the lists of words."""
        return self.last.is_a(*names)


Item = Token | NounPhrase


def find_noun_phrases(tokens: list[Token]) -> list[Item]:
    """The tokens with each noun phrase as one item; words that lead nowhere (adjectives, adverbs) are left out.

    "a group of people" is the phrase "people", "a photo of a dog" the phrase "a dog"; the possessor of a genitive ("the
    woman's purse") is no phrase of its own.
    """
    items: list[Item] = []
    number = 0
    for part in _split(tokens):
        phrase = _phrase(part, number) if isinstance(part, list) else None
        if phrase is not None:
            items.append(phrase)
            number += 1
        elif isinstance(part, list):
            # A number or determiner alone stands for a thing that is not named: "one wearing a hat".
            if part[-1].tag in ("DET", "NUM"):
                items.append(Token(part[-1].text, "PRON", part[-1].text))
        elif part.tag not in ("ADV", "MARK", "AUX"):
            items.append(part)
    return _without_measures(items)


def _split(tokens: list[Token]) -> Iterator[list[Token] | Token]:
    """Runs of what can make up one noun phrase, and the tokens between them."""
    run: list[Token] = []
    for token in tokens:
        if token.tag == "PART" and run and run[-1].tag == "ADJ" and len(run) > 1:
            run.append(token)  # "a fenced in area"
            continue
        fresh = token.tag in ("DET", "NUM") and any(row.tag == "NOUN" for row in run) and run[-1].tag != "GEN"
        if run and (token.tag not in _INSIDE or fresh):
            yield run
            run = []
        if token.tag in _INSIDE:
            run.append(token)
        else:
            yield token
    if run:
        yield run


def _phrase(run: list[Token], number: int) -> NounPhrase | None:
    genitive = max((place for place, token in enumerate(run) if token.tag == "GEN"), default=-1)
    owned = run[genitive + 1 :]
    nouns = [place for place, token in enumerate(owned) if token.tag == "NOUN"]
    if not nouns:
        return None
    last = nouns[-1]
    first = last
    while first > 0 and owned[first - 1].tag == "NOUN":
        first -= 1
    head = [token.text for token in owned[first : last + 1]]
    if len(head) == 1 and not (genitive >= 0 or owned[:first]) and head[0] in words("colours"):
        return None  # "a man in black"
    lemma = [*head[:-1], owned[last].lemma]
    opening = owned[0] if owned[0].tag in ("DET", "NUM") else None
    span = " ".join(token.text for token in (*run[: genitive + 1], *owned[: last + 1])).replace(" 's", "'s")
    return NounPhrase(
        Entity(span, " ".join(head), " ".join(lemma)),
        head[-1],
        owned[last].plural,
        opening.text if opening else ("his" if genitive >= 0 else ""),
        number,
    )


def _is_measure(phrase: NounPhrase, before: Item | None) -> bool:
    """A measure or picture noun; pictures that are taken or held are things of their own."""
    acted_on = isinstance(before, Token) and before.tag == "VERB"
    return phrase.is_a("partitives") or (phrase.is_a("pictures") and not acted_on)


def _without_measures(items: list[Item]) -> list[Item]:
    """Leaves out "a group of", "a slice of", "a photo of", "a close up view of"; what is measured takes their "a"."""
    kept: list[Item] = []
    determiner = ""
    place = 0
    while place < len(items):
        item = items[place]
        if isinstance(item, NounPhrase):
            if _is_of(items, place + 1) and _is_measure(item, items[place - 1] if place else None):
                determiner = item.determiner
                place += 2
                continue
            if determiner and not item.determiner:
                item = replace(item, determiner=determiner)
        determiner = ""
        kept.append(item)
        place += 1
    return kept


def _is_of(items: list[Item], place: int) -> bool:
    item = items[place] if place < len(items) else None
    return isinstance(item, Token) and item.text == "of"
