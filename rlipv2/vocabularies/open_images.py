"""The 601 object classes and 30 relations of Open Images v6, for comparison with the files of its annotations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlipv2.vocabularies.files import VocabularyError


@dataclass(frozen=True)
class OpenImagesVocabulary:
    """Class names in the order of the ids in annotation files.

    Models are not asked for these: the label space is read from the files. Source: the public class lists; how the
    annotation package spells and orders them was not seen, so a difference is no error of the files.

    Attributes:
        objects: as in the list of classes with boxes ("Man").
        relations: with underscores ("inside_of").
    """

    objects: tuple[str, ...]
    relations: tuple[str, ...]

    @classmethod
    def from_content(cls, content: Mapping[str, Any], path: Path) -> "OpenImagesVocabulary":
        """The vocabulary in a file of the format rlipv2-vocab/1; `path` is named in errors."""
        lists = {}
        for key in ("objects", "relations"):
            names = content.get(key)
            if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
                raise VocabularyError(f"{path}: {key}: expected a list of names")
            if len(set(names)) != len(names):
                raise VocabularyError(f"{path}: {key}: a name is listed twice")
            lists[key] = tuple(names)
        return cls(**lists)
