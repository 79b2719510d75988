"""From noun phrases and verbs to relations: one pass over a caption with a current subject and a current verb."""

from dataclasses import dataclass, replace

from rlipv2.pseudo_labels.parsing.lexicon import words
from rlipv2.pseudo_labels.parsing.noun_phrases import Group, Item, NounPhrase
from rlipv2.pseudo_labels.parsing.tagging import Token
from rlipv2.pseudo_labels.records import Relation, SceneGraph


@dataclass
class _Verb:
    """The verb whose complements are being read.

    Attributes:
        subject: who does it.
        surface: its words as written, particles included.
        lemma: the same with the verb's lemma.
        name: lemma of the verb alone.
        passive: the subject undergoes it.
        complete: an object or a first prepositional phrase was read.
        antecedent: what a relative clause is about if that is not its subject ("a bench that a man sits on").
    """

    subject: Group | None
    surface: list[str]
    lemma: list[str]
    name: str
    passive: bool = False
    complete: bool = False
    antecedent: Group | None = None


def read_relations(items: list[Item]) -> SceneGraph:
    """The relations that a caption's noun phrases and verbs make up."""
    return _Reader(items).run()


class _Reader:
    """State while going through the items from left to right."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.place = 0
        self.rows: dict[tuple[int, int, str], Relation] = {}
        self.clause: Group | None = None  # subject of the main clause
        self.subject: Group | None = None  # whom the next phrase without a verb is about
        self.last: Group | None = None  # what was read last
        self.link = ""  # how `last` was joined: "subject", "object", a preposition
        self.verb: _Verb | None = None
        self.preposition = ""
        self.mark = ""  # CONJ, COMMA, SUB, REL or TO before the current item
        self.be = False
        self.whole: tuple[Group | None, str] = (None, "")  # what stands before "of", and how it was joined
        self.was_be = False  # "be" stood before the preposition
        self.container: Group | None = None  # what stays last behind "of": "a bowl of soup and a spoon"
        self.finite = False  # the main clause has its verb
        self.relative: Group | None = None
        self.adjacent = False  # `last` stands right before the current item
        self.phrases = [item for item in items if isinstance(item, NounPhrase)]
        self.rank = {phrase.number: rank for rank, phrase in enumerate(self.phrases)}

    def run(self) -> SceneGraph:
        while self.place < len(self.items):
            item = self.items[self.place]
            if isinstance(item, NounPhrase):
                group = self._group()
                self._on_nouns(group)
                self.adjacent = True
                continue  # _group moved on
            self._on_token(item)
            self.place += 1
        self._end_relative()
        return SceneGraph(tuple(phrase.entity for phrase in self.phrases), tuple(self.rows.values()))

    # Groups of nouns.

    def _group(self) -> Group:
        """The noun phrase here and those coordinated with it; `place` moves behind them."""
        group = Group([self._take()])
        while True:
            step = self._joined(self.place)
            if step is None or self._begins_clause(step, group) or self._joins_container(step, group):
                return group
            self.place = step
            group.phrases.append(self._take())

    def _joins_container(self, step: int, group: Group) -> bool:
        """As in "a bowl of soup and a spoon": the spoon stands beside the bowl."""
        candidate = self.items[step]
        assert isinstance(candidate, NounPhrase)
        if self.preposition != "of" or self.last is None or not self.last.is_a("containers"):
            return False
        measured = candidate.is_a("containers") and self._is_word(step + 1, "of")
        return measured or (bool(candidate.determiner) and not group.last.determiner)

    def _is_word(self, place: int, text: str) -> bool:
        item = self.items[place] if place < len(self.items) else None
        return isinstance(item, Token) and item.text == text

    def _take(self) -> NounPhrase:
        item = self.items[self.place]
        assert isinstance(item, NounPhrase)
        self.place += 1
        return item

    def _joined(self, place: int) -> int | None:
        """Position of a noun phrase that a comma or conjunction joins to what is before `place`."""
        step = place
        while step < len(self.items) and self._tag(step) in ("COMMA", "CONJ"):
            step += 1
        return step if step > place and self._tag(step) == "NP" else None

    def _tag(self, place: int) -> str:
        if place >= len(self.items):
            return ""
        item = self.items[place]
        return "NP" if isinstance(item, NounPhrase) else item.tag

    def _begins_clause(self, step: int, group: Group) -> bool:
        """Whether the joined noun phrase is the subject of what follows it rather than part of a list."""
        opening = self.clause is None or (self.mark == "SUB" and self.verb is None)
        if opening and not self.preposition:
            return False
        candidate = self.items[step]
        assert isinstance(candidate, NounPhrase)
        following = self._tag(step + 1)
        if following == "BE":
            return candidate.is_animate or self.finite
        if following == "VERB":
            verb = self.items[step + 1]
            assert isinstance(verb, Token)
            if verb.form in ("s", "base"):
                return candidate.is_animate or self.finite
            if self.preposition in ("with", "of"):
                return candidate.is_animate and self._clause_is_animate() and not group.is_animate
            return candidate.is_animate
        if self.preposition == "with" and self._is_word(step + 1, "with"):
            return True  # "a couch with pillows and a table with a lamp"
        # "a man on a bike and a dog on a leash"
        return following == "PREP" and candidate.is_animate and not group.is_animate and self._clause_is_animate()

    def _clause_is_animate(self) -> bool:
        return self.clause is not None and self.clause.is_animate

    # Tokens.

    def _on_token(self, token: Token) -> None:
        if token.tag == "VERB":
            self._on_verb(token)
        elif token.tag == "BE":
            self._on_be(token)
        elif token.tag == "PREP":
            self._on_preposition(token)
        elif token.tag == "PART":
            self._on_particle(token)
        elif token.tag == "PRON":
            self._on_pronoun(token)
        elif token.tag == "REL":
            self._end_relative()
            self.relative, self.mark, self.be = self.last, "REL", False
        elif token.tag in ("CONJ", "COMMA", "SUB", "TO"):
            # ", and" is "and"
            self.mark = token.tag if not (token.tag == "COMMA" and self.mark == "CONJ") else self.mark
            self.preposition = ""
            if token.tag == "SUB":
                self._end_relative()
                self.be = False
        elif token.tag == "STOP":
            self._end_sentence()
        self.adjacent = False

    def _end_sentence(self) -> None:
        self._end_relative()
        self.clause = self.subject = self.last = self.relative = None
        self.verb = None
        self.preposition = self.mark = self.link = ""
        self.be = False

    def _on_be(self, token: Token) -> None:
        self._end_relative()
        if self.mark == "REL":
            self.subject = self.relative or self.subject
            self.relative = None
        elif self.relative is not None:
            pass  # "a bench that a man is sitting on"
        elif self.mark in ("CONJ", "SUB") and self.adjacent:
            pass  # the noun phrase before it became the subject
        elif token.text not in ("being", "been", "be"):
            # A finite verb goes with the subject of the clause.
            self.subject = self.clause or self.subject
            self.finite = True
        elif self.adjacent and self.link not in ("subject", "") and not self._is_about_owner():
            self.subject = self.last
        self.be = True
        self.verb = None
        self.preposition = ""
        self.mark = ""

    def _is_about_owner(self) -> bool:
        """As in "a dog on a leash being walked": something is done to the dog."""
        last, subject = self.last, self.subject
        assert last is not None
        return self.link != "object" and subject is not None and subject.is_animate and not last.is_animate

    def _on_preposition(self, token: Token) -> None:
        text = token.text
        self.was_be = self.be
        self.preposition = f"{self.preposition} {text}" if self.preposition else text
        self.mark = ""

    def _on_particle(self, token: Token) -> None:
        if self.verb is not None and not self.verb.complete and not self.preposition:
            self.verb.surface.append(token.text)
            self.verb.lemma.append(token.text)
        self.preposition = ""

    def _on_pronoun(self, token: Token) -> None:
        del token  # pronouns are no entities, but they fill the place of an object
        if self.verb is not None:
            self.verb.complete = True
        self.preposition = self.mark = ""

    # Verbs.

    def _on_verb(self, token: Token) -> None:
        self._end_relative()
        previous = self.verb
        subject = self._subject_of(token)
        passive = token.form == "past" and (self.be or self.link in ("subject", "object") or bool(self.link))
        if self.mark == "TO" and self._is_perceived():
            subject = self.last
        elif self._continues(previous, token):
            assert previous is not None
            subject = previous.subject
        self.verb = _Verb(subject, [token.text], [token.lemma], token.lemma, passive=passive)
        if self.mark == "REL" and self.relative is not None:
            self.relative = None
        elif self.relative is not None:
            self.verb.antecedent, self.relative = self.relative, None
        self.finite = self.finite or (token.form in ("s", "base") and subject is self.clause)
        self.subject = subject or self.subject
        self.preposition = self.mark = ""
        self.be = False

    def _continues(self, previous: _Verb | None, token: Token) -> bool:
        """As in "waiting to cross", "goes skiing": the second verb has the subject of the first."""
        if previous is None or self.relative is not None:
            return False
        return (self.mark == "TO" and not self.adjacent) or (not previous.complete and not self.adjacent)

    def _subject_of(self, token: Token) -> Group | None:
        if self.mark == "REL":
            return self.relative or self.last
        if self.mark in ("CONJ", "COMMA", "SUB", "TO") and not self.adjacent:
            if token.form in ("s", "base") and self.mark == "CONJ" and self.verb is None:
                return self.clause
            return self.verb.subject if self.verb is not None and self.verb.subject is not None else self.subject
        if self.be or not self.adjacent or self.link == "subject" or self.last is None:
            return self.subject
        if token.form in ("s", "base") and not self._is_perceived():
            return self.clause
        return self.last if self._belongs_to_last(token) else self.subject

    def _is_perceived(self) -> bool:
        return self._is_object_of(*words("perception"))

    def _belongs_to_last(self, token: Token) -> bool:
        """Whether a participle right behind a noun phrase describes that phrase and not the subject."""
        last, subject = self.last, self.subject
        assert last is not None
        if subject is None or self._is_perceived():
            return True
        if (self.link == "in" and last.is_a("clothes")) or self.link in ("as", "like"):
            return False
        if token.form == "past":
            return self._past_belongs_to_last(token, last, subject)
        if last.is_animate and not subject.is_animate:
            return True
        if token.lemma in words("hanging") and not last.is_animate:
            return True
        if self.link in ("with", "of", "have") and subject.is_a("scenes") and not last.is_a("furniture", "clothes"):
            return self.link != "of"
        return last.is_a("people")

    def _past_belongs_to_last(self, token: Token, last: Group, subject: Group) -> bool:
        if token.lemma in words("intransitive"):
            return last.is_animate and not subject.is_animate
        if token.lemma in ("dress", "seat", "wear") and subject.is_animate:
            return last.is_animate
        return True

    # Noun phrases.

    def _on_nouns(self, group: Group) -> None:
        if self.preposition:
            self._on_object_of_preposition(group, self.preposition)
            self.preposition = ""
        elif self.mark == "REL" and self.relative is not None:
            self.subject, self.link, self.mark = group, "subject", ""
            self.verb = None
        elif self.verb is not None and not self.verb.complete and self.mark in ("", "TO"):
            self._on_object(group)
        elif self.mark in ("CONJ", "COMMA", "SUB") or self.clause is None:
            self._on_subject(group)
        else:
            self.link = "apposition" if self.be else self.link
        self.mark = ""
        self.last = self.container or group
        self.container = None
        self.be = False

    def _on_subject(self, group: Group) -> None:
        if self.mark == "COMMA" and self.clause is not None and not self._verb_follows():
            self.link = ""
            return
        self.clause = self.subject = group
        self.verb = None
        self.finite = False
        self.link = "subject"

    def _verb_follows(self) -> bool:
        return self._tag(self.place) in ("VERB", "BE", "PREP")

    def _on_object(self, group: Group) -> None:
        verb = self.verb
        assert verb is not None
        if not verb.passive or verb.name in ("name", "call"):
            self._relate(verb.subject, group, " ".join(verb.surface), " ".join(verb.lemma))
        elif len(verb.surface) == 1 and verb.subject is not None:
            self._relate(verb.subject, group, verb.surface[0], verb.name)  # a simple past: "a dog chased a cat"
        verb.complete = True
        self.link = "object"

    def _on_object_of_preposition(self, group: Group, text: str) -> None:
        verb = self.verb
        if verb is None and self.subject is None:
            self._on_subject(group)
            return
        if text == "full of" and self.last is not None and not self.was_be:
            self._relate(self.last, group, text, text)
            self.link = text
            return
        if text == "of" and self.last is not None:
            self._relate(self.last, group, "of", "of")
            self.whole = (self.last, self.link)
            step = self._joined(self.place)
            if step is not None and self._joins_container(step, group):
                self.place = step
                self._join(self.last, self._take())
                self.container = self.last
            self.link = "of"
            return
        if text == "by" and verb is not None and verb.passive and self._is_agent(verb, group):
            # The surface form would read the wrong way round: "ridden".
            self._relate(group, verb.subject, " ".join(verb.lemma), " ".join(verb.lemma))
            verb.complete, self.subject, verb.subject = True, group, group
            verb.passive = False
            self.link = "agent"
            return
        if verb is not None and not verb.complete:
            surface, lemma = ([*words_, text] for words_ in (verb.surface, verb.lemma))
            self._relate(verb.subject, group, " ".join(surface), " ".join(lemma))
            verb.complete = True
        else:
            self._relate(self._attachment(text, group), group, text, text)
        self.link = text

    def _join(self, group: Group, phrase: NounPhrase) -> None:
        """Another phrase for a group that may already stand in relations."""
        known = self.rank[group.last.number]
        group.phrases.append(phrase)
        rank = self.rank[phrase.number]
        for row in [row for row in self.rows.values() if known == row.object]:
            self.rows.setdefault((row.subject, rank, row.lemma_relation), replace(row, object=rank))

    def _is_agent(self, verb: _Verb, group: Group) -> bool:
        return verb.name not in words("placement") or group.is_animate

    def _attachment(self, text: str, group: Group) -> Group | None:
        """Whether a later prepositional phrase is about the last noun phrase or about the subject."""
        last, subject = self.last, self.subject
        if last is None or last is subject or subject is None:
            return subject or last
        target = group.last
        if self._is_held(text, target):
            return self.whole[0] if self.link == "of" else last
        if self.link == "of" and last.is_animate and not (subject.is_animate or subject.is_a("containers")):
            return last  # "a statue of a man on a horse"
        if self.link == "with" and last.is_a("body") and last.last.determiner in words("possessives"):
            return last
        if text == "with" and self._leads_back(last):
            return last
        if target.noun in ("background", "foreground", "distance"):
            return last
        if last.is_a("people") and (
            (text == "in" and target.is_a("clothes")) or (text == "with" and target.is_a("clothes", "body"))
        ):
            return last
        if last.is_animate and target.noun in ("leash", "leashes", "harness"):
            return last
        if self._is_perceived() and last.is_animate:
            return last
        if text == "with" and self._has_as_part(last, group):
            return last
        has = (self.link == "with" and self.verb is None) or self._is_object_of("have")
        if has and subject.is_a("scenes") and text != "with":
            return last
        return subject

    def _leads_back(self, last: Group) -> bool:
        """As in "pulling a cart with people in it"."""
        step = self.place + (self._tag(self.place) == "VERB")
        pronoun = self.items[step + 1] if self._tag(step) == "PREP" and self._tag(step + 1) == "PRON" else None
        return isinstance(pronoun, Token) and pronoun.text == "it" and not last.is_animate

    def _has_verb(self, *names: str) -> bool:
        return self.verb is not None and self.verb.name in names

    def _is_object_of(self, *names: str) -> bool:
        return self.link == "object" and self._has_verb(*names)

    def _is_held(self, text: str, target: NounPhrase) -> bool:
        """As in "with a stick in its mouth", "holding a bag on her shoulder"."""
        link = self.whole[1] if self.link == "of" else self.link
        held = link == "with" or (link == "object" and self._has_verb("hold", "carry", "have", "wear"))
        owned = target.determiner in words("possessives") or target.noun in ("hand", "hands", "mouth")
        return held and owned and target.is_a("body") and text in _HOLDING

    def _has_as_part(self, last: Group, group: Group) -> bool:
        if last.is_a("places_with_furniture", "furniture") and group.is_a("furniture"):
            return True  # also "a table with chairs"
        if last.is_a("vehicles") and self.link == "object" and group.is_animate:
            return True  # "pulling a carriage with two people"
        return last.is_a("food") and group.is_a("food") and not last.is_a("containers")

    def _end_relative(self) -> None:
        """The gap of "a bench that a man sits on"."""
        verb = self.verb
        if verb is None or verb.antecedent is None or verb.complete:
            return
        tail = [self.preposition] if self.preposition else []
        self._relate(verb.subject, verb.antecedent, " ".join(verb.surface + tail), " ".join(verb.lemma + tail))
        verb.complete = True
        self.preposition = ""

    def _relate(self, subjects: Group | None, objects: Group | None, surface: str, lemma: str) -> None:
        if subjects is None or objects is None:
            return
        for subject in subjects.phrases:
            for target in objects.phrases:
                ends = (self.rank[subject.number], self.rank[target.number])
                if ends[0] != ends[1]:
                    self.rows.setdefault((*ends, lemma), Relation(*ends, surface, lemma))


_HOLDING = ("in", "on", "over", "around", "under", "at", "to", "between", "across")
