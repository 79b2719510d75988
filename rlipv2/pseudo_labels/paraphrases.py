"""Which words of captions stand for which class of boxes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json

FOLDER = Path(__file__).parent / "words"
TABLES = {"coco": "classes_coco.json", "objects365": "classes_objects365.json"}
FORMAT = "rlipv2-class-words/1"


@dataclass(frozen=True)
class ClassWords:
    """The words of one class.

    Attributes:
        name: of the class; words of its own are the name, of a compound name ("bowl/basin") its parts.
        phrases: what counts for the class where a phrase is looked for anywhere in a text, letter by letter: some are
            short on purpose ("man" is in "fireman").
        further: what counts as well where whole words are compared.
    """

    name: str
    phrases: tuple[str, ...]
    further: tuple[str, ...] = ()

    @property
    def own(self) -> tuple[str, ...]:
        """The name, or the parts of a compound one."""
        return own_words(self.name)


def own_words(name: str) -> tuple[str, ...]:
    """The name of a class in lower case, or the parts of a compound name.

    >>> own_words("Cabinet/shelf")
    ('cabinet', 'shelf')
    """
    return tuple(part.strip() for part in name.lower().split("/") if part.strip())


def class_words(class_names: Sequence[str], table: str | Path = "auto") -> list[ClassWords]:
    """The words of each class.

    Which words count for a class is a fact of the official pipeline (RLIPv2, datasets/priors/hico_obj_paraphrase.json
    and o365_obj_paraphrase.json), found out for the built-in tables by reading and asking those. Matched letter by
    letter, "coco" leads to the official classes, "objects365" does so for most words: for equal labels give that file.

    Args:
        class_names: of the boxes.
        table: "coco", "objects365", "own" for the names alone, a JSON file {name: [phrase, ...]} as the official ones,
            or "auto": the table that has all the names, else whatever one of them has of each name, and the name.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: a file of another form, or one that lacks a class.
        ValueError: a built-in table that lacks a class.
    """
    if table == "own":
        return [ClassWords(name, own_words(name)) for name in class_names]
    if table == "auto":
        rows = _of_any_table(class_names)
    elif table in TABLES:
        rows = built_in(str(table))
        missing = [name for name in class_names if name not in rows]
        if missing:
            raise ValueError(f"paraphrases={table}: no class {missing[0]!r} in that table; give a file, or auto")
    else:
        rows = _read(Path(table), class_names)
    return [rows.get(name) or ClassWords(name, own_words(name)) for name in class_names]


@cache
def built_in(table: str) -> dict[str, ClassWords]:
    """A table of ours by class name."""
    content = json.loads((FOLDER / TABLES[table]).read_text(encoding="utf-8"))
    assert content["format"] == FORMAT
    return {name: _entry(name, entry) for name, entry in content["classes"].items()}


def expanded(text: str) -> tuple[str, ...]:
    """The phrases of an entry of our tables: between commas; "~" stands for a space, or for nothing.

    >>> expanded("pup, hot~dog")
    ('pup', 'hot dog', 'hotdog')
    """
    phrases: list[str] = []
    for phrase in (part.strip() for part in text.split(",")):
        if phrase:
            phrases += [phrase.replace("~", " "), phrase.replace("~", "")] if "~" in phrase else [phrase]
    return tuple(dict.fromkeys(phrases))


def _entry(name: str, entry: str | Mapping[str, str]) -> ClassWords:
    groups = {"": entry} if isinstance(entry, str) else dict(entry)
    same = built_in("coco")[groups.pop("as")] if "as" in groups else ClassWords(name, ())
    further = (*same.further, *expanded(groups.pop("further", "")))
    phrases = (phrase for text in groups.values() for phrase in expanded(text))
    return ClassWords(name, tuple(dict.fromkeys([*own_words(name), *same.phrases, *phrases])), further)


def _of_any_table(class_names: Sequence[str]) -> dict[str, ClassWords]:
    tables = [built_in(table) for table in TABLES]
    for rows in tables:
        if all(name in rows for name in class_names):
            return rows
    return {name: rows[name] for rows in reversed(tables) for name in class_names if name in rows}


def _read(path: Path, class_names: Sequence[str]) -> dict[str, ClassWords]:
    content: Any = read_json(path)
    todo = 'expected {"class name": ["phrase", ...], ...}'
    if not isinstance(content, dict):
        raise AnnotationError.in_file(path, "not an object", todo)
    for name, phrases in content.items():
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) and phrase for phrase in phrases):
            raise AnnotationError.in_file(path, f"{name!r}: not a list of phrases", todo)
    missing = [name for name in class_names if name not in content]
    if missing:
        raise AnnotationError.in_file(path, f"no phrases for the class {missing[0]!r}", "add them, if only its name")
    return {name: ClassWords(name, tuple(dict.fromkeys(phrases))) for name, phrases in content.items()}
