"""Scored relations as annotations in the layout of Visual Genome, which relational pre-training reads."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from rlipv2.datasets.scene_graphs.index import index_scene_graphs
from rlipv2.datasets.store import Store
from rlipv2.ops.files import opened_atomically
from rlipv2.pseudo_labels.candidates import image_boxes_xywh, kept_boxes
from rlipv2.pseudo_labels.records import LabelledImage, Tags

Record = dict[str, Any]
FIRST_IDS = {"coco2017": 10_000_000, "o365": 20_000_000}
OTHER_FIRST_ID = 30_000_000


@dataclass
class RecordIds:
    """Numbers for objects and relations, counting up over the images of a part (official: of a split and segment).

    They tell the objects of one image apart; nothing refers to those of another.
    """

    objects: Iterator[int] = field(default_factory=lambda: count(OTHER_FIRST_ID))
    relations: Iterator[int] = field(default_factory=lambda: count(OTHER_FIRST_ID))

    @classmethod
    def starting(cls, dataset: str) -> "RecordIds":
        """From 10,000,000 for COCO and 20,000,000 for Objects365, as officially, else from 30,000,000."""
        first = FIRST_IDS.get(dataset, OTHER_FIRST_ID)
        return cls(count(first), count(first))


def image_record(
    image: LabelledImage, tags: Tags, ids: RecordIds, *, class_names: Sequence[str], dataset: str
) -> Record:
    """The annotation of an image, as `verb_tagger_with_text` in generate_relations_using_verb_tagger.py has it.

    Objects are all kept boxes; images without relations have a record too.

    Args:
        image: with its boxes.
        tags: whose pairs are rows of the kept boxes.
        ids: the next numbers.
        class_names: of the labels.
        dataset: "coco2017" and "o365" tell the reader where images lie; of "custom" the record tells the file name.
    """
    _, labels = kept_boxes(image)
    boxes = image_boxes_xywh(image).tolist()
    objects = [
        {"object_id": next(ids.objects), "x": x, "y": y, "w": w, "h": h, "names": class_names[label]}
        for (x, y, w, h), label in zip(boxes, labels.tolist(), strict=True)
    ]
    relations = [
        {
            "relationship_id": next(ids.relations),
            "predicate": text,
            "subject_id": objects[subject]["object_id"],
            "object_id": objects[object_]["object_id"],
            "confidence": score,
        }
        for (subject, object_), text, score in zip(tags.pairs.tolist(), tags.texts, tags.scores.tolist(), strict=True)
    ]
    record: Record = {"image_id": image.image_id, "dataset": dataset, "data_split": image.split}
    if dataset not in FIRST_IDS:
        record["file_name"] = image.file_name
    return {**record, "objects": objects, "relationships": relations}


def write_annotations(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Writes a JSON list of records, of which one at a time is in memory, and returns their number.

    The file takes the place of an older one when it is whole.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
        ValueError: a score that is no number.
    """
    number = 0
    with opened_atomically(path) as file:
        file.write(b"[")
        for number, record in enumerate(records, start=1):
            file.write(b",\n" if number > 1 else b"")
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False).encode())
        file.write(b"]\n")
    return number


def write_store(root: Path, path: Path, *, image_paths: Path | None = None, index: str | Path | None = None) -> Store:
    """The annotation store of a written file, in the place where `SceneGraphs` looks for it: it need not build it.

    Args:
        root: folder of the images, that `SceneGraphs` will be given.
        path: the written annotations.
        image_paths: `image_id_to_filepath.json` of Objects365.
        index: folder of the stores, by default `.rlipv2-index` in `root`.

    Raises:
        AnnotationError: no record in the file, or one that cannot be used.
        PermissionError: the store cannot be written.
    """
    return index_scene_graphs(root, path, image_paths=image_paths, index=index)
