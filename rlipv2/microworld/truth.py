"""What is true in the pictures of a detection layout: their whole scene graphs, kept apart from the annotations.

Only scores of pseudo-labels read them. Captions are made from them too (`captions`), with errors.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlipv2.microworld.instances import annotation_id, crowd
from rlipv2.microworld.relations import NO_INTERACTION
from rlipv2.microworld.spatial import spatial_relations
from rlipv2.microworld.words import RELATION_WORDS, accepted_texts
from rlipv2.microworld.world import Drawn

TRUTH_FILE = "truth/scene_graphs.json"

Rows = tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class TrueGraph:
    """The scene graph of an image over its labelled boxes: the annotations that are no crowd, in file order.

    Attributes:
        image_id: as in the annotation files.
        annotation_ids: of the boxes.
        names: their categories by COCO names.
        relations: (subject, object, relation) with the names of `RELATION_WORDS`: what persons do, and where things
            without such a relation are to each other.
        implied: where things are to each other that are related already. True, but nothing that has to be said.
    """

    image_id: int
    annotation_ids: tuple[int, ...]
    names: tuple[str, ...]
    relations: Rows
    implied: Rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "image_id": self.image_id,
            "annotation_ids": list(self.annotation_ids),
            "names": list(self.names),
            "relations": [list(row) for row in self.relations],
            "implied": [list(row) for row in self.implied],
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "TrueGraph":
        """The inverse of `to_dict`.

        Raises:
            KeyError: a key is missing.
        """
        rows = {key: tuple((int(s), int(o), str(r)) for s, o, r in content[key]) for key in ("relations", "implied")}
        return cls(content["image_id"], tuple(content["annotation_ids"]), tuple(content["names"]), **rows)


def true_graph(drawn: Drawn) -> TrueGraph:
    """The graph of a picture; the persons of a crowd are not in it."""
    together = crowd(drawn)
    kept = [row for row in range(len(drawn.names)) if row not in together]
    number = {row: position for position, row in enumerate(kept)}

    def among_kept(rows: Iterable[tuple[int, int, str]]) -> Rows:
        return tuple((number[s], number[o], name) for s, o, name in rows if s in number and o in number)

    planned = [row for row in drawn.relations if row[2] != NO_INTERACTION]
    spatial = spatial_relations(drawn)
    everywhere = spatial_relations(replace(drawn, relations=()))
    return TrueGraph(
        image_id=drawn.place.number,
        annotation_ids=tuple(annotation_id(drawn, row) for row in kept),
        names=tuple(drawn.names[row] for row in kept),
        relations=among_kept([*planned, *spatial]),
        implied=among_kept(row for row in everywhere if row not in spatial),
    )


def write_truth(root: Path, graphs: Sequence[TrueGraph]) -> None:
    """Writes `truth/scene_graphs.json`: the texts that name each relation, then the graphs, a line each."""
    texts = json.dumps({name: accepted_texts(name) for name in RELATION_WORDS})
    lines = ",\n".join(json.dumps(graph.to_dict()) for graph in graphs)
    path = root / TRUTH_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'{{"texts": {texts},\n"images": [\n{lines}\n]}}\n', encoding="utf-8")


def read_truth(root: Path) -> list[TrueGraph]:
    """The graphs of a folder in order.

    Raises:
        FileNotFoundError: the folder has no truth.
    """
    content = json.loads((root / TRUTH_FILE).read_text(encoding="utf-8"))
    return [TrueGraph.from_dict(record) for record in content["images"]]
