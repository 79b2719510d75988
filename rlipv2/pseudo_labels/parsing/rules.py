"""The parser that needs no model: word lists, a dictionary of English forms, and one pass over the words."""

import hashlib
from importlib.metadata import version

from rlipv2.pseudo_labels.parsing.base import CaptionParser
from rlipv2.pseudo_labels.parsing.lexicon import WORDS
from rlipv2.pseudo_labels.parsing.noun_phrases import find_noun_phrases
from rlipv2.pseudo_labels.parsing.reading import read_relations
from rlipv2.pseudo_labels.parsing.tagging import tag
from rlipv2.pseudo_labels.parsing.text import tokenize
from rlipv2.pseudo_labels.records import SceneGraph

# Goes up whenever other graphs come out: files of another version are not mixed.
RULES_VERSION = "2"


class RuleParser(CaptionParser):
    """Scene graphs of captions by rules: "a man in a suit is riding a horse" has man in suit, man riding horse.

    Relations are a verb ("riding", lemma "ride"), a verb with its first preposition ("sitting on", "sit on"), or a
    preposition alone. Passives are turned round ("a horse being ridden by a man") and then hold the lemma as written
    form too. Measures and picture nouns ("a group of", "a photo of") and pronouns are no entities.
    """

    @property
    def identity(self) -> dict[str, str]:
        """Name, version of the rules, checksum of the word lists, version of the dictionary, longest caption."""
        return {
            "parser": "rules",
            "version": RULES_VERSION,
            "words": hashlib.sha256((WORDS / "english.json").read_bytes()).hexdigest(),
            "lemminflect": version("lemminflect"),
            **self.cleaning_identity,
        }

    def _graphs(self, texts: list[str]) -> list[SceneGraph]:
        return [read_caption(text) for text in texts]


def read_caption(text: str) -> SceneGraph:
    """The scene graph of one clean caption."""
    return read_relations(find_noun_phrases(tag(tokenize(text))))
