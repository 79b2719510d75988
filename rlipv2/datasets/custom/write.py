"""Writes records of any dataset as annotation files of a user's own data."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.datasets.custom.layout import FORMAT, annotation_path
from rlipv2.ops.files import write_atomically
from rlipv2.structures import LabelSpace, RelationRecords


def write_custom(
    root: str | Path, split: str, records: RelationRecords, label_space: LabelSpace, *, list_names: bool = True
) -> Path:
    """Writes `ROOT/annotations/<split>.json` from records of any dataset and returns its path.

    One image per line. The images themselves are not copied: they belong in `ROOT/images/`, under the file names of the
    records. Reading the file again gives equal arrays, but for `image_ids`, which become 0, 1, 2, ...

    Args:
        root: folder of the dataset; made if it is not there.
        split: name of the file, such as "train".
        records: boxes x1 y1 x2 y2 in pixels, counted from 0.
        label_space: the names that labels and relations of the records count in.
        list_names: write the label space too, which fixes its order and keeps names that do not occur.

    Raises:
        ValueError: a relation without object, which this format cannot express.
    """
    if (records.relations[:, :2] < 0).any():
        raise ValueError("relations without object (-1) cannot be written in this format; drop them first")
    head: dict[str, Any] = {"format": FORMAT}
    if list_names:
        head |= {"objects": list(label_space.objects), "relations": list(label_space.relations)}
    lines = [json.dumps(_record(records, index, label_space), ensure_ascii=False) for index in range(len(records))]
    text = json.dumps(head, ensure_ascii=False)[:-1] + ', "images": [\n' + ",\n".join(lines) + "\n]}\n"
    path = annotation_path(root, split)
    write_atomically(path, text)
    return path


def _record(records: RelationRecords, index: int, label_space: LabelSpace) -> dict[str, Any]:
    boxes = slice(*records.box_ptr[index : index + 2])
    rows = slice(*records.relation_ptr[index : index + 2])
    height, width = records.sizes[index].tolist()
    return {
        "file_name": records.file_names[index],
        **({"width": width, "height": height} if height else {}),
        "objects": [
            {"name": label_space.objects[label], "box": [_shortest(value) for value in box]}
            for label, box in zip(records.labels[boxes], records.boxes[boxes], strict=True)
        ],
        "relations": [
            {"subject": subject, "name": label_space.relations[relation], "object": target}
            for subject, target, relation in records.relations[rows].tolist()
        ],
    }


def _shortest(value: np.floating[Any]) -> int | float:
    """A whole number as integer, others with the digits that give the same 32-bit number again."""
    number = float(str(value))
    return int(number) if number.is_integer() else number
