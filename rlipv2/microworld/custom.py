"""The micro-world written as a user's own data: one JSON file per split, names as plain words."""

import json
from pathlib import Path
from typing import Any, Unpack

from rlipv2.microworld.relations import NO_INTERACTION
from rlipv2.microworld.world import Drawn, Labels, Layout, Place, WorldOptions, write_world

FORMAT = "rlipv2-relations/1"


def write_custom(root: str | Path, **options: Unpack[WorldOptions]) -> Path:
    """Writes the micro-world in the format of docs/custom_data.md to `root`, or re-uses what is there.

    Near pairs that do nothing are not labelled, as in most data sets. Splits are train, val and test; see
    `write_world`.
    """
    return write_world(root, LAYOUT, **options)


def _image_path(place: Place) -> str:
    return f"images/{place.split}/{place.index + 1:06d}.jpg"


def _record(drawn: Drawn) -> dict[str, Any]:
    return {
        "file_name": Path(drawn.file).relative_to("images").as_posix(),
        "width": drawn.size[0],
        "height": drawn.size[1],
        "objects": [{"name": name, "box": list(box)} for name, box in zip(drawn.names, drawn.boxes, strict=True)],
        "relations": [
            {"subject": subject, "name": verb.replace("_", " "), "object": target}
            for subject, target, verb in drawn.relations
            if verb != NO_INTERACTION
        ],
    }


def _write_labels(root: Path, labels: Labels) -> dict[str, Any]:
    folder = root / "annotations"
    folder.mkdir()
    counts = {}
    for split, images in labels.items():
        records = [_record(drawn) for drawn in images]
        text = json.dumps({"format": FORMAT, "images": records}, indent=1)
        (folder / f"{split}.json").write_text(text + "\n", encoding="utf-8")
        counts[split] = {
            "images": len(records),
            "boxes": sum(len(record["objects"]) for record in records),
            "relations": sum(len(record["relations"]) for record in records),
        }
    return counts


LAYOUT = Layout("custom", "1", _image_path, _write_labels, validation=True)
