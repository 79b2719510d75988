"""What the stages of pseudo-labelling hand to each other, per image."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Entity:
    """A thing that a caption names: the words of its noun chunk, and the head noun as written and as lemma."""

    span: str
    head: str
    lemma_head: str


@dataclass(frozen=True)
class Relation:
    """A relation between two entities of the same graph, by their positions; as written ("riding") and as lemma."""

    subject: int
    object: int
    relation: str
    lemma_relation: str


@dataclass(frozen=True)
class SceneGraph:
    """What one caption says."""

    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "SceneGraph":
        """The inverse of `to_dict`; further keys, as sng_parser's files have, are left out.

        Raises:
            KeyError: a key is missing.
            ValueError: a relation between entities that do not exist.
        """
        entities = tuple(
            Entity(row["span"], row.get("head", row["span"]), row.get("lemma_head", row["span"]))
            for row in content["entities"]
        )
        relations = tuple(
            Relation(row["subject"], row["object"], row["relation"], row.get("lemma_relation", row["relation"]))
            for row in content["relations"]
        )
        for row in relations:
            if not (0 <= row.subject < len(entities) and 0 <= row.object < len(entities)):
                raise ValueError(f"relation between entities {row.subject} and {row.object} of {len(entities)}")
        return cls(entities, relations)


@dataclass(frozen=True)
class LabelledImage:
    """An image of a detection dataset with its boxes, as the annotation file has them.

    Attributes:
        image_id: unique in the dataset.
        file_name: relative to the root of the dataset.
        split: name of the part it belongs to, "train2017" for example.
        size: (height, width) in pixels as the annotation file tells them.
        boxes_xywh: of all annotations in file order, pixels, crowd and degenerate ones too.
        labels: row of the class names for each box.
        crowd: true for regions that are not labelled one by one.
    """

    image_id: int
    file_name: str
    split: str
    size: tuple[int, int]
    boxes_xywh: Float[np.ndarray, "n 4"]
    labels: Int[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class Group:
    """Candidates that are asked about together: pairs of boxes (rows of the kept boxes) and relation texts."""

    pairs: Int[np.ndarray, "p 2"]
    texts: tuple[str, ...]

    def to_json(self) -> list[Any]:
        """[[[subject, object], ...], [text, ...]], as in the official files."""
        return [self.pairs.tolist(), list(self.texts)]

    @classmethod
    def from_json(cls, content: list[Any]) -> "Group":
        """The inverse of `to_json`."""
        pairs, texts = content
        return cls(np.asarray(pairs, dtype=np.int64).reshape(-1, 2), tuple(texts))


@dataclass(frozen=True)
class Tags:
    """Scored relations of one image, in the order (group, pair, text).

    Attributes:
        pairs: rows of the kept boxes, subject and object.
        texts: the relation of each row.
        scores: probability of each row.
    """

    pairs: Int[np.ndarray, "k 2"]
    texts: tuple[str, ...]
    scores: Float[np.ndarray, " k"]

    def __len__(self) -> int:
        return len(self.texts)
