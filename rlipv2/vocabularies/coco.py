"""Object classes of detection datasets and their ids: the 80 of COCO, the 365 of Objects365 v2."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rlipv2.vocabularies.files import VocabularyError, index_array, word


@dataclass(frozen=True, eq=False)
class ObjectVocabulary:
    """Object names of a detection dataset.

    Attributes:
        names: class names in the order of the ids.
        category_ids: id of each name in annotation files (COCO: 1 to 90 with gaps; Objects365: 1 to 365).
        raw_names: names as annotation files spell them (Objects365: with capitals and misspellings).
    """

    names: tuple[str, ...]
    category_ids: Int[np.ndarray, " o"]
    raw_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def rows(self) -> dict[int, int]:
        """Row of `names` of each category id."""
        return {int(number): row for row, number in enumerate(self.category_ids)}

    @classmethod
    def from_content(cls, content: Mapping[str, Any], path: Path, *, object_prompt: str = "raw") -> "ObjectVocabulary":
        """The vocabulary in a file of the format rlipv2-vocab/1; `path` is named in errors."""
        names = word(object_prompt, content.get("names", ()))
        raw_names = tuple(content.get("names_raw", content.get("names", ())))
        if "category_id_base" in content:
            category_ids = np.arange(len(names)) + int(content["category_id_base"])
        else:
            category_ids = index_array(content, "category_ids", path, shape=(len(names),))
        if len(set(names)) != len(names) or len(set(category_ids.tolist())) != len(names):
            raise VocabularyError(f"{path}: names or category_ids repeat")
        if len(raw_names) != len(names):
            raise VocabularyError(f"{path}: {len(raw_names)} names_raw for {len(names)} names")
        return cls(names=names, category_ids=category_ids, raw_names=raw_names)
