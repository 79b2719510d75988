"""Lists that the rules on dependency trees use: verbs that keep their preposition, nouns that name places."""

import json
from functools import cache
from pathlib import Path

from rlipv2.pseudo_labels.parsing.lexicon import WORDS


@cache
def phrasal_verbs() -> frozenset[str]:
    """The embedded "verb preposition" entries, verbs as lemmas."""
    content = json.loads((WORDS / "phrasal_verbs.json").read_text(encoding="utf-8"))
    return frozenset(f"{verb} {second}" for second, verbs in content["verbs"].items() for verb in verbs.split())


@cache
def scenes() -> frozenset[str]:
    """Lemmas that make an entity a place."""
    content = json.loads((WORDS / "scenes.json").read_text(encoding="utf-8"))
    return frozenset(name.replace("_", " ") for name in content["nouns"].split())


def read_phrasal_verbs(path: str | Path) -> frozenset[str]:
    """The entries of a text file, one "verb preposition" a line; empty lines and lines with "#" in front are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a verb and a preposition.
    """
    entries = set()
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        entry = line.strip().lower()
        if not entry or entry.startswith("#"):
            continue
        if len(entry.split()) < 2:
            raise ValueError(f"{path}: record {number}: entry={entry!r}: one word; write a verb and its preposition")
        entries.add(" ".join(entry.split()))
    return frozenset(entries)
