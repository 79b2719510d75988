"""Which caption parser is used."""

import warnings
from typing import Literal

from rlipv2.pseudo_labels.parsing.base import SceneGraphParser
from rlipv2.pseudo_labels.parsing.dependency import Profile
from rlipv2.pseudo_labels.parsing.rules import RuleParser
from rlipv2.pseudo_labels.parsing.spacy import SpacyModelError, SpacyParser


def build_parser(
    name: Literal["auto", "rules", "spacy"] = "auto",
    *,
    model: str = "en_core_web_sm",
    profile: Profile = "improved",
    phrasal_verbs: str | None = None,
    cleaning: bool = True,
    max_words: int = 60,
    batch_size: int = 512,
) -> SceneGraphParser:
    """A caption parser by name.

    Args:
        name: "rules" needs no model; "spacy" needs spaCy with a model; "auto" takes spaCy if its model loads, else the
            rules with a warning.
        model: name or folder of the spaCy model.
        profile: "official" for the rules of sng_parser with their oddities, "improved" without; of spaCy only.
        phrasal_verbs: file with one "verb preposition" a line for the official profile; None for the embedded list.
        cleaning: see `CaptionParser`.
        max_words: longer captions are cut.
        batch_size: captions that spaCy parses at once.

    Raises:
        ValueError: no such parser.
        SpacyModelError: "spacy" was asked for and is not there.
    """
    if name == "rules":
        return RuleParser(max_words, cleaning=cleaning)
    if name not in ("auto", "spacy"):
        raise ValueError(f"parser={name}: no such caption parser; take auto, rules or spacy")
    try:
        return SpacyParser(
            model,
            profile=profile,
            phrasal_verbs=phrasal_verbs,
            cleaning=cleaning,
            max_words=max_words,
            batch_size=batch_size,
        )
    except SpacyModelError as error:
        if name == "spacy":
            raise
        warnings.warn(f"captions are parsed by the embedded rules: {error}", stacklevel=2)
        return RuleParser(max_words, cleaning=cleaning)
