"""The 80 object classes of COCO and their ids."""

from collections.abc import Mapping
from dataclasses import dataclass
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
        category_ids: id of each name in annotation files (COCO: 1 to 90 with gaps).
    """

    names: tuple[str, ...]
    category_ids: Int[np.ndarray, " o"]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_content(cls, content: Mapping[str, Any], path: Path, *, object_prompt: str = "raw") -> "ObjectVocabulary":
        """The vocabulary in a file of the format rlipv2-vocab/1; `path` is named in errors."""
        names = word(object_prompt, content.get("names", ()))
        category_ids = index_array(content, "category_ids", path, shape=(len(names),))
        if len(set(names)) != len(names) or len(set(category_ids.tolist())) != len(names):
            raise VocabularyError(f"{path}: names or category_ids repeat")
        return cls(names=names, category_ids=category_ids)
