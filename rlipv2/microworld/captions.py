"""What a captioner would say about the pictures of a detection layout: free words, much left out, some of it wrong.

They stand in for sampled captions of a real captioner, where no weights are at hand, and come from the true graphs
(`truth`). Same seed, image and options, same captions.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from rlipv2.microworld.relations import OBJECTS, PERSON
from rlipv2.microworld.storage import read_settings
from rlipv2.microworld.truth import TRUTH_FILE, TrueGraph, read_truth
from rlipv2.microworld.words import OBJECT_WORDS, RELATION_WORDS, SPATIAL, VERB_FORMS, Choices, choose, split_verb
from rlipv2.ops.files import write_atomically

CAPTIONS_FILE = "annotations/captions.json"

_PEOPLE: Choices = {"man": 8, "woman": 6, "person": 4, "guy": 2, "boy": 2, "girl": 2, "lady": 1, "child": 1, "kid": 1}
_LOOKS = ("young", "little", "tall", "old")
_ADJECTIVES = ("small", "big", "little", "old", "red", "blue", "white", "black")
_PLACES = ("in a field", "on a street", "in the park", "on the beach", "in a room", "near some grass", "at night")
_OPENINGS = ("a picture of", "a photo of", "a close up of", "a drawing of", "there is", "an image of")

_DOING = tuple(name for name in RELATION_WORDS if name not in SPATIAL)


@dataclass(frozen=True)
class CaptionOptions:
    """How captions are made.

    Attributes:
        per_image: captions of an image.
        error_rate: share of the captions with an error, of one kind each. Where an image has no relation, only
            "noise" does something.
        errors: weight of each kind. "omission": object or relation is not said. "wrong_relation", "wrong_object":
            another one is said. "noise": words twice, missing, or cut off at the end.
        synonyms: share of the words that are drawn by their frequency; the others are the most frequent one.
        extras: share of the captions with a second relation; half as many have a place ("in a field"), a quarter an
            opening ("a photo of"); a quarter is also the share of the nouns with an adjective.
    """

    per_image: int = 10
    error_rate: float = 0.3
    errors: Mapping[str, float] = field(
        default_factory=lambda: {"omission": 2, "wrong_relation": 3, "wrong_object": 3, "noise": 2}
    )
    synonyms: float = 1.0
    extras: float = 0.4

    def __post_init__(self) -> None:
        if self.per_image < 1:
            raise ValueError(f"per_image={self.per_image}: must be at least 1")
        for name in ("error_rate", "synonyms", "extras"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be between 0 and 1")
        if not self.errors or set(self.errors) - _ERRORS.keys() or min(self.errors.values()) < 0:
            raise ValueError(f"errors={dict(self.errors)}: expected weights of {sorted(_ERRORS)}")
        if not sum(self.errors.values()):
            raise ValueError(f"errors={dict(self.errors)}: all weights are 0")


def captions_of(graph: TrueGraph, world: str, options: CaptionOptions | None = None) -> list[str]:
    """The captions of an image, lower case; `world` names the random streams."""
    options = options or CaptionOptions()
    rng = Random(f"{world}/{graph.image_id}/captions")
    return [_caption(graph, rng, options) for _ in range(options.per_image)]


def write_captions(path: Path, graphs: Iterable[TrueGraph], world: str, options: CaptionOptions | None = None) -> None:
    """Writes `{"<image id>": [caption, ...]}`, the format of the official captions, an image in a line."""
    lines = (
        f"{json.dumps(str(graph.image_id))}: {json.dumps(captions_of(graph, world, options), ensure_ascii=False)}"
        for graph in graphs
    )
    write_atomically(path, "{\n" + ",\n".join(lines) + "\n}\n")


def rewrite_captions(root: Path, path: Path | None = None, options: CaptionOptions | None = None) -> Path:
    """Writes the captions of a finished folder anew, with other options for example, and returns their path.

    With default options that is what the folder got when it was written.

    Args:
        root: a folder of `write_coco` or `write_objects365`.
        path: of the file; default: the captions of the folder.
        options: of the captions.

    Raises:
        FileNotFoundError: there is no such folder, or it holds no truth.
    """
    content = read_settings(root)
    if content is None or not (root / TRUTH_FILE).is_file():
        raise FileNotFoundError(
            f"{root}: no {TRUTH_FILE} there; write the folder with `python -m rlipv2.microworld coco {root}`"
        )
    settings = content["settings"]
    path = path or root / CAPTIONS_FILE
    write_captions(path, read_truth(root), f"{settings['layout']}/{settings['seed']}", options)
    return path


@dataclass
class _Statement:
    """What a caption says: rows of the graph and a relation; the phrase for every row, the share of synonyms."""

    subject: int
    relation: str
    object: int
    words: dict[int, str]
    synonyms: float

    def verb(self, rng: Random) -> tuple[str | None, str]:
        """A word for the relation, see `split_verb`."""
        return split_verb(_word(RELATION_WORDS[self.relation], self.synonyms, rng))


def _word(choices: Choices, synonyms: float, rng: Random) -> str:
    """One of the words by weight, or the most frequent one."""
    return choose(choices, rng) if rng.random() < synonyms else max(choices, key=lambda word: choices[word])


def _caption(graph: TrueGraph, rng: Random, options: CaptionOptions) -> str:
    error = choose(options.errors, rng) if rng.random() < options.error_rate else ""
    spoken = _spoken(graph, rng)
    if spoken is None:
        text = _without_relation(graph, rng, options)
        return _noise(text, rng) if error == "noise" else text
    subject, relation, target = spoken
    said = _Statement(subject, relation, target, _words(graph, rng, options), options.synonyms)
    text = _ERRORS[error](said, graph, rng) if error else _sentence(said, rng)
    if error != "omission" and rng.random() < options.extras:
        text += _second(graph, said, rng)
    if rng.random() < options.extras / 2:
        text += f" {rng.choice(_PLACES)}"
    if rng.random() < options.extras / 4:
        text = f"{rng.choice(_OPENINGS)} {text}"
    return _noise(text, rng) if error == "noise" else text


def _spoken(graph: TrueGraph, rng: Random) -> tuple[int, str, int] | None:
    """The relation that a caption is about: what somebody does rather than where something is."""
    if not graph.relations:
        return None
    weights = [1 if row[2] in SPATIAL else 6 for row in graph.relations]
    subject, target, relation = rng.choices(graph.relations, weights)[0]
    return subject, relation, target


def _words(graph: TrueGraph, rng: Random, options: CaptionOptions) -> dict[int, str]:
    """A noun phrase for every box of the graph, with its article."""
    words = {}
    for row, name in enumerate(graph.names):
        choices, adjectives = (_PEOPLE, _LOOKS) if name == PERSON else (OBJECT_WORDS[name], _ADJECTIVES)
        word = _word(choices, options.synonyms, rng)
        adjective = rng.choice(adjectives) if rng.random() < options.extras / 4 else ""
        words[row] = _with_article(f"{adjective} {word}".strip(), rng)
    return words


def _with_article(noun: str, rng: Random) -> str:
    if noun.endswith("kites"):
        return noun
    if rng.random() < 0.12:
        return f"the {noun}"
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _without_relation(graph: TrueGraph, rng: Random, options: CaptionOptions) -> str:
    words = list(_words(graph, rng, options).values())
    if not words:
        return f"a picture of people {rng.choice(_PLACES)}"
    chosen = rng.sample(words, min(len(words), rng.choice((1, 2))))
    return f"{' and '.join(chosen)} {rng.choice(_PLACES)}"


def _sentence(said: _Statement, rng: Random) -> str:
    subject, target = said.words[said.subject], said.words[said.object]
    verb, rest = said.verb(rng)
    if verb is not None and not rest and verb not in ("having", "wearing") and rng.random() < 0.05:
        return f"{target} {rng.choice(('being ', ''))}{VERB_FORMS[verb][2]} by {subject}"
    return f"{subject} {_predicate(verb, rest, rng, can_stand=said.relation in SPATIAL)} {target}"


def _predicate(verb: str | None, rest: str, rng: Random, *, can_stand: bool) -> str:
    """The words between subject and object."""
    style = rng.random()
    if verb is None and can_stand and style > 0.9:
        verb = "standing"
    if verb is None:
        return f"is {rest}" if style < 0.15 else rest
    if verb == "having" or (style < 0.12 and verb != "seated"):
        predicate = VERB_FORMS[verb][1]
    elif style < 0.25:
        predicate = f"is {verb}"
    elif style < 0.3:
        predicate = f"that is {verb}"
    else:
        predicate = verb
    return f"{predicate} {rest}".strip()


def _second(graph: TrueGraph, said: _Statement, rng: Random) -> str:
    """Another relation of the image: of the same subject ("... and holding a bottle"), or of another one."""
    same = [row for row in graph.relations if row[0] == said.subject and row[1] != said.object]
    others = [row for row in graph.relations if said.subject not in row[:2] and said.object not in row[:2]]
    if same and (not others or rng.random() < 0.7):
        _, target, relation = rng.choice(same)
        verb, rest = replace(said, relation=relation).verb(rng)
        if verb is None or verb == "having":
            return f" {rest if verb is None else 'with'} {said.words[target]}"
        return f" {rng.choice(('and', 'while'))} {f'{verb} {rest}'.strip()} {said.words[target]}"
    if others:
        subject, target, relation = rng.choice(others)
        return f" and {_sentence(replace(said, subject=subject, relation=relation, object=target), rng)}"
    return ""


def _omission(said: _Statement, graph: TrueGraph, rng: Random) -> str:
    subject, target = said.words[said.subject], said.words[said.object]
    if rng.random() < 0.5:
        return f"{subject} and {target}"
    verb, rest = said.verb(rng)
    return f"{subject} {verb} {rest}".strip() if verb else subject


def _wrong_relation(said: _Statement, graph: TrueGraph, rng: Random) -> str:
    """Persons do something else, things are somewhere else."""
    kinds = _DOING if graph.names[said.subject] == PERSON else SPATIAL
    other = rng.choice([name for name in kinds if name != said.relation])
    return _sentence(replace(said, relation=other), rng)


def _wrong_object(said: _Statement, graph: TrueGraph, rng: Random) -> str:
    """Half of the time a thing that is in the image too, if there is one: only the boxes can tell then."""
    category = graph.names[said.object]
    near = [name for name in graph.names if name not in (category, PERSON)]
    anywhere = [name for name in OBJECTS if name != category]
    name = rng.choice(near if near and rng.random() < 0.5 else anywhere)
    wrong = _with_article(_word(OBJECT_WORDS[name], said.synonyms, rng), rng)
    return _sentence(replace(said, words={**said.words, said.object: wrong}), rng)


def _noise(text: str, rng: Random) -> str:
    """Words twice, a small word missing, or the end cut off."""
    words = text.split()
    kind = rng.choice(("stutter", "stutter", "missing", "cut"))
    if kind == "missing":
        small = [k for k, word in enumerate(words) if word in ("a", "an", "the", "is", "on", "at", "to")]
        if small:
            del words[rng.choice(small)]
    elif kind == "cut":
        words = words[: max(2, len(words) - rng.choice((1, 2)))]
    else:
        length = rng.choice((1, 1, 2, 3))
        start = rng.randrange(max(1, len(words) - length + 1))
        words[start:start] = words[start : start + length]
    return " ".join(words)


def _grammar(said: _Statement, graph: TrueGraph, rng: Random) -> str:
    return _sentence(said, rng)  # the noise comes over the whole caption, at the end


_ERRORS: dict[str, Callable[[_Statement, TrueGraph, Random], str]] = {
    "omission": _omission,
    "wrong_relation": _wrong_relation,
    "wrong_object": _wrong_object,
    "noise": _grammar,
}
"""The first part of a caption with an error of each kind."""
