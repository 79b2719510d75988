"""Scene graphs from dependency trees: the rules of sng_parser on records that any dependency parser can fill.

Official: sng_parser/backends/spacy_parser.py, `SpacyParser.parse`. The lists of phrasal verbs and of places are this
project's own, much shorter ones; give a file for another list of verbs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from rlipv2.pseudo_labels.parsing.dependency_words import phrasal_verbs, scenes
from rlipv2.pseudo_labels.parsing.lexicon import words
from rlipv2.pseudo_labels.records import Entity, Relation, SceneGraph

Profile = Literal["official", "improved"]

PHRASAL_PREPOSITIONS = frozenset(
    (
        "in addition to", "in front of", "in reference to", "in regard to", "in spite of", "on account of", "on top of",
        "on side of", "on the side of", "with regard to",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DependencyToken:
    """A token of a dependency tree, labels as spaCy's English models have them.

    Attributes:
        text: as written.
        lemma: base form.
        pos: coarse part of speech ("NOUN", "VERB", "AUX", ...).
        head: position of the head, its own for the root.
        dep: relation to the head ("nsubj", "dobj", "pobj", ...).
        space: whether a space follows in the text.
    """

    text: str
    lemma: str
    pos: str
    head: int
    dep: str
    space: bool = True


class Chunk(NamedTuple):
    """A noun chunk: tokens from `start` to before `end`, and its head noun."""

    start: int
    end: int
    root: int


@dataclass(frozen=True)
class Modifier:
    """A determiner, number or adjective of an entity."""

    dep: str
    span: str
    lemma_span: str


@dataclass(frozen=True)
class DependencyEntity:
    """An entity with everything that sng_parser records.

    Attributes:
        span: text of the noun chunk, in its own case.
        lemma_span: the same in lemmas.
        head: the noun with its compounds.
        lemma_head: the same in lemmas.
        span_bounds: first token and the one behind the last.
        modifiers: of the noun and its compounds.
        type: "scene" for places, else "unknown".
    """

    span: str
    lemma_span: str
    head: str
    lemma_head: str
    span_bounds: tuple[int, int]
    modifiers: tuple[Modifier, ...]
    type: str


@dataclass(frozen=True)
class DependencyGraph:
    """Scene graph with everything that sng_parser records."""

    entities: tuple[DependencyEntity, ...]
    relations: tuple[Relation, ...]

    def to_dict(self) -> dict[str, Any]:
        """The dictionary that sng_parser returns."""
        content = asdict(self)
        for entity in content["entities"]:
            entity["span_bounds"] = list(entity["span_bounds"])
            entity["modifiers"] = list(entity["modifiers"])
        return {"entities": list(content["entities"]), "relations": list(content["relations"])}

    def to_scene_graph(self) -> SceneGraph:
        """What the pipeline keeps: spans in lower case, relations unchanged."""
        entities = tuple(Entity(row.span.lower(), row.head.lower(), row.lemma_head.lower()) for row in self.entities)
        return SceneGraph(entities, self.relations)


class _Row(NamedTuple):
    """A relation between tokens."""

    subject: int
    object: int
    relation: str
    lemma_relation: str


def read_dependencies(
    tokens: Sequence[DependencyToken],
    chunks: Sequence[Chunk] | None = None,
    *,
    profile: Profile = "official",
    verbs: frozenset[str] | None = None,
) -> DependencyGraph:
    """The scene graph of a dependency tree.

    Args:
        tokens: the tree.
        chunks: its noun chunks; None finds them as spaCy does for English.
        profile: "official" reproduces sng_parser. "improved" keeps every verb with its preposition ("looking at"), also
            with "on top of" and "next to", follows relative clauses and coordinated verbs to their subject, and leaves
            out measures ("a group of people").
        verbs: "lemma preposition" entries that the official rules keep together; None for the embedded list.
    """
    tree = _Tree(tokens, find_chunks(tokens) if chunks is None else chunks)
    reader = _Reader(tree, verbs if verbs is not None else phrasal_verbs(), improved=profile == "improved")
    return reader.run()


class _Tree:
    """Tokens with children and texts of stretches."""

    def __init__(self, tokens: Sequence[DependencyToken], chunks: Sequence[Chunk]) -> None:
        self.tokens, self.chunks = tokens, list(chunks)
        self.children: list[list[int]] = [[] for _ in tokens]
        for place, token in enumerate(tokens):
            if not 0 <= token.head < len(tokens):
                raise ValueError(f"token {place} ({token.text!r}): head={token.head}: there are {len(tokens)} tokens")
            if token.head != place:
                self.children[token.head].append(place)

    def head(self, place: int) -> int:
        return self.tokens[place].head

    def text(self, start: int, end: int, field: Literal["text", "lemma"] = "text") -> str:
        parts = [(getattr(token, field), token.space) for token in self.tokens[start:end]]
        return "".join(part + (" " if space else "") for part, space in parts).rstrip()

    def coordinated(self, place: int) -> Iterator[int]:
        """The token and what is coordinated with it."""
        yield place
        for child in self.children[place]:
            if self.tokens[child].dep == "conj":
                yield from self.coordinated(child)


_CHUNK_ROOTS = frozenset(("oprd", "nsubj", "dobj", "nsubjpass", "pcomp", "pobj", "dative", "appos", "attr", "ROOT"))


def find_chunks(tokens: Sequence[DependencyToken]) -> list[Chunk]:
    """Noun chunks by spaCy's rules for English (spacy/lang/en/syntax_iterators.py): flat, up to the head noun."""
    chunks: list[Chunk] = []
    for place, token in enumerate(tokens):
        left = min((row for row in range(len(tokens)) if _is_under(tokens, row, place)), default=place)
        covered = chunks[-1].end if chunks else 0
        if token.pos not in ("NOUN", "PROPN", "PRON") or left < covered:
            continue
        anchor = token
        if token.dep == "conj":
            anchor = tokens[token.head]
            while anchor.dep == "conj" and tokens[anchor.head] is not anchor:
                anchor = tokens[anchor.head]
        if anchor.dep in _CHUNK_ROOTS:
            chunks.append(Chunk(left, place + 1, place))
    return chunks


def _is_under(tokens: Sequence[DependencyToken], place: int, top: int) -> bool:
    for _ in range(len(tokens)):
        if place == top:
            return True
        if tokens[place].head == place:
            return False
        place = tokens[place].head
    return False


class _Reader:
    """Entities, subjects of verbs, then one relation at most per noun chunk."""

    def __init__(self, tree: _Tree, verbs: frozenset[str], *, improved: bool) -> None:
        self.tree, self.tokens, self.verbs, self.improved = tree, tree.tokens, verbs, improved
        self.skipped: set[int] = set()  # inner nouns of "in front of", measures
        self.stands_for: dict[int, int] = {}  # a measure -> what is measured
        self.subjects = self._subjects()

    def run(self) -> DependencyGraph:
        if self.improved:
            self._find_measures()
        rows = [row for chunk in self.tree.chunks if (row := self._relation(chunk.root)) is not None]
        kept = [chunk for chunk in self.tree.chunks if self._is_entity(chunk)]
        found = [relation for row in rows for relation in self._expanded(row, kept)]
        # The official list may repeat a relation, a graph of the improved rules does not.
        relations = dict.fromkeys(found) if self.improved else found
        return DependencyGraph(tuple(self._entity(chunk) for chunk in kept), tuple(relations))

    # Entities.

    def _is_entity(self, chunk: Chunk) -> bool:
        return self.tokens[chunk.root].pos != "PRON" and chunk.root not in self.skipped

    def _entity(self, chunk: Chunk) -> DependencyEntity:
        heads = self._heads(chunk.root)
        lemma_head = " ".join(self.tokens[place].lemma for place in heads)
        is_scene = lemma_head in scenes() or lemma_head.rsplit(" ", 1)[-1] in scenes()
        return DependencyEntity(
            self.tree.text(chunk.start, chunk.end),
            self.tree.text(chunk.start, chunk.end, "lemma"),
            " ".join(self.tokens[place].text for place in heads),
            lemma_head,
            (chunk.start, chunk.end),
            tuple(self._modifiers(chunk.root)),
            "scene" if is_scene else "unknown",
        )

    def _heads(self, root: int) -> list[int]:
        """The noun with its compounds. Officially each is put in front, so that two of one noun change places."""
        found = [root]
        pending = [root]
        while pending:
            for child in self.tree.children[pending.pop()]:
                if self.tokens[child].dep == "compound":
                    found.insert(0, child)
                    pending.append(child)
        return sorted(found) if self.improved else found

    def _modifiers(self, place: int) -> Iterator[Modifier]:
        for child in self.tree.children[place]:
            dep = self.tokens[child].dep
            if dep == "compound":
                yield from self._modifiers(child)
            elif dep in ("det", "nummod", "amod"):
                for one in self.tree.coordinated(child) if dep == "amod" else (child,):
                    yield Modifier(dep, self.tokens[one].text, self.tokens[one].lemma)

    def _find_measures(self) -> None:
        roots = {chunk.root for chunk in self.tree.chunks}
        for root in roots:
            if self.tokens[root].lemma not in words("partitives") | words("pictures"):
                continue
            for preposition in self.tree.children[root]:
                if self.tokens[preposition].text.lower() == "of":
                    inner = [row for row in self.tree.children[preposition] if self.tokens[row].dep == "pobj"]
                    if inner and inner[0] in roots:
                        self.skipped.add(root)
                        self.stands_for[root] = inner[0]

    # Subjects.

    def _subjects(self) -> dict[int, int]:
        """Verb -> its subject; later ones overwrite earlier ones."""
        found: dict[int, int] = {}
        for place, token in enumerate(self.tokens):
            head = self.tokens[token.head]
            if token.dep == "nsubj":
                found[token.head] = place
            elif token.dep == "acl":
                found[place] = token.head
            elif token.dep == "pobj" and head.dep == "agent" and self.tokens[head.head].pos == "VERB":
                found[head.head] = place
        if self.improved:
            self._add_subjects(found)
        return found

    def _add_subjects(self, found: dict[int, int]) -> None:
        """Relative clauses are about their noun; verbs without a subject share that of the verb they hang from."""
        for place, token in enumerate(self.tokens):
            if token.dep == "relcl" and (place not in found or self.tokens[found[place]].pos == "PRON"):
                found[place] = token.head
            elif token.dep in ("conj", "advcl", "xcomp") and place not in found and token.head in found:
                found[place] = found[token.head]

    # Relations, the rows of the specification in their order.

    def _relation(self, root: int) -> _Row | None:
        token = self.tokens[root]
        verb = token.head
        if token.dep in ("dobj", "attr") and verb in self.subjects:
            return self._row(self.subjects[verb], root, verb, verb + 1)
        if token.dep == "pobj":
            return self._prepositional(root)
        if token.dep == "nsubjpass" and verb in self.subjects:
            return self._row(self.subjects[verb], root, verb, verb + 1)
        return None

    def _row(self, subject: int, target: int, start: int, end: int) -> _Row:
        return _Row(subject, target, self.tree.text(start, end), self.tree.text(start, end, "lemma"))

    def _prepositional(self, root: int) -> _Row | None:
        preposition = self.tree.head(root)
        if self.tokens[preposition].dep == "agent":
            return None
        above = self.tree.head(preposition)
        governor = self.tokens[above]
        if governor.pos == "VERB" and above in self.subjects and self._stays_with_verb(above, preposition):
            return self._joined(self.subjects[above], root, above, preposition)
        if (governor.pos == "VERB" or governor.dep == "acl") and above in self.subjects:
            return self._row(self.subjects[above], root, preposition, preposition + 1)
        if governor.dep == "pobj":
            found = self._phrasal_preposition(root, preposition, above)
            if found is not None:
                return found
        if governor.pos == "NOUN":
            return self._row(above, root, preposition, preposition + 1)
        if governor.dep in ("amod", "advmod", "acomp"):
            return self._adverbial(root, preposition, above)
        if governor.pos == "AUX" and above in self.subjects:
            return self._row(self.subjects[above], root, preposition, preposition + 1)
        return None

    def _joined(self, subject: int, target: int, *places: int) -> _Row:
        texts = (" ".join(getattr(self.tokens[place], name) for place in places) for name in ("text", "lemma"))
        return _Row(subject, target, *texts)

    def _stays_with_verb(self, verb: int, preposition: int) -> bool:
        if preposition != verb + 1:
            return False
        return self.improved or f"{self.tokens[verb].lemma} {self.tokens[preposition].text}" in self.verbs

    def _phrasal_preposition(self, root: int, preposition: int, inner: int) -> _Row | None:
        """As in "in front of": from the first preposition to the last; its noun is no entity."""
        first = self.tree.head(inner)
        if self.tree.text(first, preposition + 1).lower() not in PHRASAL_PREPOSITIONS:
            return None
        self.skipped.add(inner)
        above = self.tree.head(first)
        surface = self.tree.text(first, preposition + 1)
        # The official lemma ends before the last word.
        lemma = self.tree.text(first, preposition + self.improved, "lemma")
        if self.tokens[above].pos == "AUX" and above in self.subjects:
            return _Row(self.subjects[above], root, surface, lemma)
        if self.improved and self.tokens[above].pos == "VERB":
            if above not in self.subjects:
                return None
            verb = self.tokens[above]
            joined = above + 1 == first
            surface, lemma = (f"{verb.text} {surface}", f"{verb.lemma} {lemma}") if joined else (surface, lemma)
            return _Row(self.subjects[above], root, surface, lemma)
        # Officially the verb itself becomes the subject, and the relation is lost because it is no entity.
        return _Row(above, root, surface, lemma)

    def _adverbial(self, root: int, preposition: int, adverb: int) -> _Row | None:
        """As in "next to": of a noun, of "be", of a verb."""
        above = self.tree.head(adverb)
        governor = self.tokens[above]
        if governor.pos == "NOUN" and self.tokens[adverb].dep != "acomp":
            return self._joined(above, root, adverb, preposition)
        if above not in self.subjects:
            return None
        if governor.pos == "AUX":
            return self._joined(self.subjects[above], root, adverb, preposition)
        if governor.pos == "VERB" and self.tokens[adverb].dep != "acomp":
            verb = (above,) if self.improved and above + 1 == adverb else ()
            return self._joined(self.subjects[above], root, *verb, adverb, preposition)
        return None

    def _expanded(self, row: _Row, kept: Iterable[Chunk]) -> Iterator[Relation]:
        """One relation for each pair of what is coordinated with subject and object, both inside an entity."""
        places = {place: rank for rank, chunk in enumerate(kept) for place in range(chunk.start, chunk.end)}
        for subject in self.tree.coordinated(self.stands_for.get(row.subject, row.subject)):
            for target in self.tree.coordinated(self.stands_for.get(row.object, row.object)):
                ends = [places.get(self.stands_for.get(end, end)) for end in (subject, target)]
                if ends[0] is None or ends[1] is None or (self.improved and ends[0] == ends[1]):
                    continue
                yield Relation(ends[0], ends[1], row.relation, row.lemma_relation)
