"""Word classes in a caption: closed classes by list, the rest by what a word can be and by its neighbours."""

from dataclasses import dataclass
from typing import Literal

from rlipv2.pseudo_labels.parsing.lexicon import VerbForm, Word, look_up, phrases, words

Tag = Literal[
    "DET", "NUM", "ADJ", "NOUN", "PRON", "VERB", "BE", "AUX", "PREP", "PART", "TO", "ADV", "CONJ", "SUB", "REL",
    "COMMA", "STOP", "GEN", "MARK",
]  # fmt: skip
# Where the noun phrase stands that is being read: none, begun without its noun, has a noun.
_Phrase = Literal["none", "open", "noun"]


@dataclass(frozen=True, slots=True)
class Token:
    """A word, or several that act as one, with its class.

    Attributes:
        text: lower case, as written.
        tag: its class.
        lemma: of a noun or verb; the text otherwise.
        form: of a verb.
        plural: of a noun.
    """

    text: str
    tag: Tag
    lemma: str
    form: VerbForm = "base"
    plural: bool = False


_CLOSED: tuple[tuple[Tag, str], ...] = (
    ("PRON", "pronouns"),
    ("DET", "determiners"),
    ("NUM", "numbers"),
    ("BE", "be"),
    ("AUX", "auxiliaries"),
    ("CONJ", "conjunctions"),
    ("SUB", "subordinators"),
    ("PREP", "prepositions"),
    ("ADV", "adverbs"),
)
_NOMINAL: tuple[Tag, ...] = ("DET", "NUM", "ADJ", "NOUN")


def tag(tokens: list[str]) -> list[Token]:
    """The tokens with their classes; words that act as one ("in front of") become one token."""
    return _Tagger(tokens).run()


class _Tagger:
    """One pass from left to right; a word's class depends on the phrase so far and on the next words."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.done: list[Token] = []
        self.phrase: _Phrase = "none"
        self.start = 0  # of the phrase, in `done`

    def run(self) -> list[Token]:
        position = 0
        while position < len(self.tokens):
            found, length = self._phrase_at(position) or (self._single(position), 1)
            self._push(found)
            position += length
        return self.done

    def _push(self, token: Token) -> None:
        self.done.append(token)
        if token.tag not in _NOMINAL:
            self.phrase = "none"
            return
        # A determiner behind a noun begins another phrase.
        if self.phrase == "none" or (self.phrase == "noun" and token.tag in ("DET", "NUM")):
            self.start = len(self.done) - 1
        self.phrase = "noun" if token.tag == "NOUN" else ("noun" if self._is_after_noun(token) else "open")

    def _is_after_noun(self, token: Token) -> bool:
        return self.phrase == "noun" and token.tag == "ADJ"

    def _phrase_at(self, position: int) -> tuple[Token, int] | None:
        for row, kind in phrases().get(self.tokens[position], ()):
            if tuple(self.tokens[position : position + len(row)]) == row:
                text = " ".join(row)
                if kind == "ADJ" and not self._is_nominal(position + len(row)):
                    continue
                return Token(text, kind, text), len(row)  # type: ignore[arg-type]
        return None

    def _phrase_kind(self, position: int) -> str:
        """Class of the words that act as one there, empty if there are none."""
        for row, kind in phrases().get(self._next(position), ()):
            if tuple(self.tokens[position : position + len(row)]) == row:
                return kind
        return ""

    # What is around.

    def _next(self, position: int) -> str:
        return self.tokens[position] if position < len(self.tokens) else ""

    def _last(self) -> Tag | None:
        return self.done[-1].tag if self.done else None

    def _is_nominal(self, position: int) -> bool:
        """Whether the word there can only go on with a noun phrase: a noun or an adjective, no -ing verb."""
        text = self._next(position)
        if not text or not text[0].isalnum() or self._phrase_kind(position) in ("PREP", "ADV", "PRON"):
            return False
        if _closed(text) is not None:
            return text in words("adjectives")
        word = look_up(text)
        if word.form == "ing" and word.verb and text not in words("ing_nouns") and not self._is_compound(position):
            return False
        return word.noun is not None or word.adjective or not word.known

    def _is_compound(self, position: int) -> bool:
        pair = f"{self._next(position)}:{self._next(position + 1)}"
        return pair in words("ing_compounds") or pair in words("adjective_compounds")

    def _starts_phrase(self, position: int) -> bool:
        """Whether a noun phrase, a preposition, an adverb or the end comes: what follows a verb."""
        text = self._next(position)
        return (
            not text
            or not text[0].isalnum()
            or _closed(text) in ("DET", "NUM", "PRON", "PREP", "ADV", "CONJ", "SUB")
            or text in ("to", "his", "her")
            or look_up(text).adverb
        )

    # One word.

    def _single(self, position: int) -> Token:
        text = self.tokens[position]
        if not text[0].isalnum():
            return self._mark(text, position)
        if text[0].isdigit():
            return Token(text, "NUM", text)
        special = self._special(text, position)
        if special is not None:
            return special
        kind = _closed(text)
        if kind == "PREP" and self._ends_modifier(position):
            kind = "ADJ"
        elif kind == "PREP" and self._is_particle(position):
            kind = "PART"
        if kind == "ADV" and self._is_nominal(position + 1) and text in words("adjectives"):
            kind = "NOUN" if self._is_compound(position) else "ADJ"  # "high chair"
        if kind == "ADV" and self.done and self.done[-1].text in words("possessives") and look_up(text).noun:
            return self._noun(text, look_up(text))  # "his back"
        if kind == "NUM" and self.phrase == "open" and text in words("adjectives") | {"second", "third"}:
            kind = "ADJ"
        return Token(text, kind, text) if kind else self._open_class(text, position)

    def _mark(self, text: str, position: int) -> Token:
        if text == "'s":
            genitive = self.phrase == "noun" and self._is_nominal(position + 1)
            return Token(text, "GEN", text) if genitive else Token(text, "BE", "be")
        if text == "'re":
            return Token(text, "BE", "be")
        if text == ",":
            return Token(text, "COMMA", text)
        return Token(text, "STOP" if text in ".;:!?" else "MARK", text)

    def _special(self, text: str, position: int) -> Token | None:
        """Words whose class depends on what follows in a way of their own."""
        word = look_up(self._next(position + 1)) if self._next(position + 1) else None
        if text in ("her", "one"):
            follows = self._is_nominal(position + 1) or self._next(position + 1) == "own"
            return Token(text, "DET" if follows else "PRON", text)
        if text == "that":
            noun_before = self._last() in ("NOUN", "PRON")
            return Token(text, "REL" if noun_before else ("DET" if self._is_nominal(position + 1) else "PRON"), text)
        if text in words("relatives"):
            return Token(text, "REL", text)
        if text == "to":
            verb = word is not None and word.verb is not None and word.form == "base"
            verb = verb and _closed(self._next(position + 1)) is None
            sure = verb and word is not None and (word.noun is None or self._starts_phrase(position + 2))
            listed = verb and word is not None and word.verb in words("verbs")
            listed = listed or _closed(self._next(position + 2)) in ("DET", "PRON")  # "to block the ball"
            return Token(text, "TO" if sure and (listed or not word or word.noun is None) else "PREP", text)
        if text in words("have"):
            passive = self._next(position + 1) == "been" or (word is not None and word.verb and word.form == "past")
            return Token(text, "AUX", text) if passive else Token(text, "VERB", "have", _HAVE[text])
        if text == "can" and not (word is not None and word.verb in words("verbs") and word.form == "base"):
            return Token(text, "NOUN", text) if self._next(position + 1) not in ("be", "not") else None
        if text == "like" and self._last() in ("AUX", "TO"):
            return Token(text, "VERB", text)
        if text == "as" and self._last() == "VERB" and self.done[-1].lemma in words("as_verbs"):
            return Token(text, "PREP", text)
        if self._is_pair_of_adjectives(position) or (
            self._last() == "ADJ" and self._is_pair_of_adjectives(position - 1)
        ):
            return Token(text, "ADJ", text)
        return None

    def _is_pair_of_adjectives(self, position: int) -> bool:
        """As in "a blue and yellow train"."""
        first, joint, second = (self._next(position + step) for step in range(3))
        both = first in words("adjectives") and second in words("adjectives")
        return both and joint in ("and", "or", "&") and self._is_nominal(position + 3)

    def _is_particle(self, position: int) -> bool:
        """A preposition right behind a verb and before another one, or before nothing that it could govern."""
        if self.tokens[position] not in words("particles"):
            return False
        following = self._next(position + 1)
        bare = not following or not following[0].isalnum()
        closed = _closed(following) if following and not bare else None
        closed = "PREP" if self._phrase_kind(position + 1) == "PREP" else closed
        after_verb = self._last() in ("VERB", "PART")
        if after_verb and (closed == "PREP" or following == "to"):
            return self.tokens[position] not in ("in", "on", "by")
        return (
            bare or closed in ("CONJ", "SUB", "BE") or (closed == "PREP" and self.phrase == "noun" and not after_verb)
        )

    # Nouns, verbs and adjectives.

    def _open_class(self, text: str, position: int) -> Token:
        word = look_up(text)
        if word.adverb and not (self.phrase == "open" and self._is_nominal(position + 1)):
            return Token(text, "ADV", text)
        if self._is_compound(position) or (self.phrase == "noun" and self._is_compound(position - 1)):
            return self._noun(text, word)
        if self.phrase == "open":
            return self._in_phrase(text, word, position)
        if self.phrase == "noun":
            return self._after_noun(text, word, position)
        return self._at_start(text, word, position)

    def _noun(self, text: str, word: Word) -> Token:
        if text == "glasses" and self._is_eyewear():
            return Token(text, "NOUN", text, plural=True)
        # The dictionary knows some nouns as verbs only: "logs".
        guess = word.verb if word.verb and word.form == "s" else text
        return Token(text, "NOUN", word.noun or guess, plural=word.plural or guess != text)

    def _is_eyewear(self) -> bool:
        """What a person wears, is in or with: "a man with glasses", not "two wine glasses"."""
        if self.phrase != "none" and self._last() == "NOUN":
            return False
        before = [token for token in self.done if token.tag in ("VERB", "PREP")]
        person = any(token.text in words("people") for token in self.done)
        return bool(before) and person and (before[-1].lemma == "wear" or before[-1].text in ("in", "with"))

    def _verb(self, text: str, word: Word) -> Token:
        return Token(text, "VERB", word.verb or text, word.form)

    def _modifier_or_noun(self, text: str, word: Word, position: int) -> Token:
        participle = word.verb is not None and word.form in ("ing", "past")
        thing = text in words("nouns_first") or (text in words("people") and text not in words("adjectives"))
        adjective = word.adjective and not thing
        describes = adjective or (participle and text not in words("ing_nouns"))
        if describes and (self._is_nominal(position + 1) or self._is_phrasal_modifier(position)):
            return Token(text, "ADJ", text)
        if word.noun is None and word.adjective:
            return Token(text, "ADJ", text)
        return self._noun(text, word)

    def _is_phrasal_modifier(self, position: int) -> bool:
        """As in "a fenced in area": a participle with its particle before a noun."""
        return (
            look_up(self.tokens[position]).form == "past"
            and self._next(position + 1) in words("particles")
            and self._is_nominal(position + 2)
            and self.phrase == "open"
        )

    def _ends_modifier(self, position: int) -> bool:
        """The "in" of "a fenced in area"."""
        return (
            len(self.done) > 1
            and self.done[-1].tag == "ADJ"
            and look_up(self.done[-1].text).form == "past"
            and self.phrase == "open"
            and self._is_phrasal_modifier(position - 1)
        )

    def _in_phrase(self, text: str, word: Word, position: int) -> Token:
        """Behind a determiner or adjective: no finite verb."""
        only_verb = word.verb is not None and word.noun is None and not word.adjective
        verbal = only_verb or (word.form == "ing" and text not in words("ing_nouns"))
        # A number or quantity may stand alone, as in "two riding horses", an article cannot.
        loose = self._last() in ("NUM", "ADJ") or self.done[-1].text not in _NEEDS_NOUN
        if verbal and loose and not self._is_nominal(position + 1) and not self._is_phrasal_modifier(position):
            return self._verb(text, word)
        return self._modifier_or_noun(text, word, position)

    def _at_start(self, text: str, word: Word, position: int) -> Token:
        """Where a noun phrase could begin, or a verb: behind prepositions, verbs, "be", conjunctions."""
        last = self._last()
        if word.verb is None:
            return self._modifier_or_noun(text, word, position)
        if last in ("TO", "AUX"):
            return self._verb(text, word)
        starts = self._starts_phrase(position + 1)
        if word.form == "ing":
            as_noun = word.noun is not None and last in ("PREP", "CONJ", "COMMA")
            if text in words("ing_nouns") and (as_noun or last is None) and not self._takes_object(position):
                return self._noun(text, word)
            return self._verb(text, word)
        if word.form == "past":
            if last == "BE" or not self._is_nominal(position + 1):
                return self._verb(text, word) if word.noun is None or last == "BE" else self._noun(text, word)
            return self._modifier_or_noun(text, word, position)
        listed = word.verb in words("verbs")
        if last == "REL" or (last == "ADV" and listed and starts and self._has_finite_verb()):
            return self._verb(text, word) if listed or word.noun is None else self._noun(text, word)
        if last in ("CONJ", "COMMA") and listed and starts and self._has_finite_verb(word.form):
            return self._verb(text, word)
        if text in words("past_like_base") and last == "BE":
            return Token(text, "VERB", word.verb, "past")
        governed = last in ("VERB", "PREP") and word.form in ("s", "base")
        if word.noun is None and not word.adjective and not governed:
            return self._verb(text, word)
        return self._modifier_or_noun(text, word, position)

    def _takes_object(self, position: int) -> bool:
        return _closed(self._next(position + 1)) in ("DET", "NUM") or self._next(position + 1) in ("his", "her")

    def _has_finite_verb(self, form: VerbForm | None = None) -> bool:
        return any(
            token.tag == "VERB" and token.form in ("s", "base", "past") and form in (None, token.form)
            for token in self.done
        )

    def _after_noun(self, text: str, word: Word, position: int) -> Token:
        """Behind a noun: the rest of a compound, or the verb of which the phrase is the subject."""
        if word.verb is None:
            return self._modifier_or_noun(text, word, position)
        previous = self._last_noun()
        animate = previous.text in words("people") or previous.text in words("animals")
        if word.form == "ing":
            compound = text in words("ing_nouns") and not animate and not self._takes_object(position)
            return self._noun(text, word) if compound else self._verb(text, word)
        if word.form == "past":
            return self._past_after_noun(text, word, position, animate=animate)
        if word.form == "s":
            return self._s_after_noun(text, word, position, previous, animate=animate)
        return self._base_after_noun(text, word, position, previous)

    def _past_after_noun(self, text: str, word: Word, position: int, *, animate: bool) -> Token:
        participle = text.endswith("n") or (not animate and text.endswith("ed"))
        if participle and self._is_nominal(position + 1):
            return Token(text, "ADJ", text)
        if word.noun is not None and not text.endswith("ed") and not (animate or self._starts_phrase(position + 1)):
            return self._noun(text, word)
        return self._verb(text, word)

    def _s_after_noun(self, text: str, word: Word, position: int, previous: Token, *, animate: bool) -> Token:
        if word.noun is None:
            return self._verb(text, word)
        first = self.done[self.start]
        plural = first.text in words("plural_determiners") or (first.tag == "NUM" and first.text not in ("1", "one"))
        listed = word.verb in words("verbs")
        if (plural and not previous.plural) or not self._verb_can_follow(position + 1):
            return self._noun(text, word)
        if first.text in words("singular_determiners") and not previous.plural:
            return self._verb(text, word)
        # "a girl on skis stands": the subject is not the noun right before.
        sure = animate or first.tag == "DET" or (previous.plural and self.start > 0)
        return self._verb(text, word) if listed and sure else self._noun(text, word)

    def _verb_can_follow(self, position: int) -> bool:
        """What comes behind a finite verb; a conjunction or the end as well, a noun hardly."""
        return self._starts_phrase(position) or self._is_nominal(position)

    def _base_after_noun(self, text: str, word: Word, position: int, previous: Token) -> Token:
        follows = self._starts_phrase(position + 1)
        outspread = previous.text in words("body") and previous.plural  # "with its arms spread"
        if text in words("past_like_base") and (outspread or _closed(self._next(position + 1)) in ("PREP", "DET")):
            return Token(text, "VERB", word.verb or text, "past")
        sure = word.noun is None and not word.adjective
        listed = word.verb in words("verbs")
        if sure:
            return self._verb(text, word)
        tags = [token.tag for token in self.done]
        # "a man and a dog sit on"
        coordinated = "CONJ" in tags and not {"VERB", "BE", "PREP"} & set(tags) and follows
        # "watches a man ride a bull"
        person = previous.text in words("people") | words("animals")
        seen = any(token.tag == "VERB" and token.lemma in words("perception") for token in self.done)
        if listed and person and (self._takes_object(position) or (seen and follows)):
            return self._verb(text, word)
        if listed and (coordinated or (previous.plural and (follows or self._is_nominal(position + 1)))):
            return self._verb(text, word)
        return self._modifier_or_noun(text, word, position)

    def _last_noun(self) -> Token:
        return next(token for token in reversed(self.done) if token.tag == "NOUN")


_NEEDS_NOUN = words("possessives") | {"a", "an", "the"}
_HAVE: dict[str, VerbForm] = {"has": "s", "have": "base", "having": "ing", "had": "past"}


def _closed(text: str) -> Tag | None:
    if text in words("relatives"):
        return "REL"
    return next((kind for kind, name in _CLOSED if text in words(name)), None)
