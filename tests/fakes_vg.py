"""Writes a miniature of Visual Genome's scene graphs, with one record of every odd kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fakes import write_image, write_json

FILE = "annotations/scene_graphs_preprocessv1.json"
NAMES = ("man", "street sign", "dog", "shirt", "Tree", "kite")


def graph(
    image: int | str,
    objects: Sequence[tuple[str, tuple[float, float, float, float]]],
    relations: Sequence[tuple[Any, ...]] = (),
    **fields: Any,
) -> dict[str, Any]:
    """A record: objects (name, x y w h), relations (subject row, predicate, object row) and perhaps a confidence."""
    first = 1000 * (image if isinstance(image, int) else 7)
    return {
        "image_id": image,
        "objects": [
            {"object_id": first + row, "names": name, "synsets": [], **dict(zip("xywh", box, strict=True))}
            for row, (name, box) in enumerate(objects)
        ],
        "relationships": [
            {
                "relationship_id": first + 500 + row,
                "predicate": predicate,
                "subject_id": first + subject,
                "object_id": first + target,
                "synsets": [],
                **({"confidence": confidence[0]} if confidence else {}),
            }
            for row, (subject, predicate, target, *confidence) in enumerate(relations)
        ],
        **fields,
    }


def graphs(count: int = 8) -> list[dict[str, Any]]:
    """`count` records of images of 64 x 48 (w h); the odd ones are listed in `write_vg`."""
    records = []
    for number in range(1, count + 1):
        boxes = [(name, (3 * row, 2 * row + 1, 20, 15)) for row, name in enumerate(NAMES[: 3 + number % 3])]
        relations = [(0, "on", 1), (2, "next to", 0), (0, f"relation {number % 4}", 2)]
        records.append(graph(number, boxes, relations))
    records[0]["relationships"] += graph(1, [], [(0, "holding", 1), (0, "on", 1), (1, "on", 1)])["relationships"]
    records[1]["relationships"] = []
    records[2]["objects"][1].update({"x": 50, "w": 30})
    return records


def write_vg(root: Path, records: Sequence[dict[str, Any]] | None = None, *, file: str = FILE) -> Path:
    """Writes records (by default `graphs`) and their images to `root`, and returns it.

    Odd records: image 1 has two relations of one pair, one of them twice, and an object related to itself; image 2 is
    greyscale and has no relations; box 1 of image 3 reaches over the edge.
    """
    records = graphs() if records is None else records
    (root / "images").mkdir(parents=True, exist_ok=True)
    for record in records:
        number = record["image_id"]
        if isinstance(number, int):
            write_image(root / f"images/{number}.jpg", (48, 64), mode="L" if number == 2 else "RGB", seed=number)
    write_json(root / file, records)
    return root
