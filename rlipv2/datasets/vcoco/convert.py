"""Converts the release of V-COCO to HOIA lists: `python -m rlipv2.datasets convert vcoco`."""

from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.datasets.files import sha256, write_json
from rlipv2.datasets.vcoco.content import VCOCOContent
from rlipv2.datasets.vcoco.source import FOLDER, Split, find_release
from rlipv2.vocabularies import load


def convert(root: str | Path, target: str | Path, split: Split) -> dict[str, Any]:
    """Writes the HOIA list of a split and, next to it, `<target>.meta.json`; returns the metadata.

    The list holds what the official converter writes, in its order, and beside it what the role AP needs (see
    `readers/hoia.py`), so that neither the release nor COCO's annotations are needed afterwards.

    Args:
        root: folder `v-coco` with the release and COCO's instances, or the one that holds it; no images needed.
        target: file to write; replaced if it exists.
        split: which one.

    Raises:
        DatasetNotFoundError: the release or COCO's instances are not there.
        AnnotationError: a file, or a record of it, cannot be used.
    """
    root, target = Path(root).expanduser(), Path(target)
    source = find_release(root / FOLDER if (root / FOLDER).is_dir() else root, split)
    content = source.read(load("vcoco"))
    inputs = [*source.files, *source.instances]
    metadata = {
        "format": "rlipv2-conversion/1",
        "source": [path.name for path in inputs],
        "source_sha256": [sha256(path) for path in inputs],
        "split": split,
        "to": "hoia",
        "note": "same records as the official converter, with more fields",
        "images": len(content.image_ids),
        "boxes": len(content.boxes_xyxy),
        "relations": len(content.relations),
    }
    write_json(target, to_hoia(content))
    write_json(target.with_name(target.name + ".meta.json"), metadata)
    return metadata


def to_hoia(content: VCOCOContent) -> list[dict[str, Any]]:
    """The records of a HOIA list, with image sizes, annotation ids and annotated people where they are known."""
    result = []
    for index, name in enumerate(content.file_names):
        boxes = slice(*content.box_ptr[index : index + 2])
        rows = slice(*content.relation_ptr[index : index + 2])
        record: dict[str, Any] = {
            "file_name": name,
            "annotations": [
                {"bbox": box, "category_id": category}
                for box, category in zip(
                    content.boxes_xyxy[boxes].tolist(), content.categories[boxes].tolist(), strict=True
                )
            ],
            "hoi_annotation": [
                {"subject_id": subject, "object_id": target, "category_id": verb}
                for subject, target, verb in content.relations[rows].tolist()
            ],
        }
        result.append(record | _more(content, index, record["annotations"]))
    return result


def _more(content: VCOCOContent, index: int, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """The further fields of a record; those of its boxes are added to `annotations`."""
    instances = content.instances
    if instances is None:
        return {}
    boxes = slice(*content.box_ptr[index : index + 2])
    columns: dict[str, np.ndarray] = {
        "id": instances.ids,
        "bbox_xywh": instances.boxes_xywh,
        "iscrowd": instances.crowd,
        "area": instances.area,
        "ignore": instances.ignore,
    }
    for field, values in columns.items():
        for annotation, value in zip(annotations, values[boxes].tolist(), strict=True):
            annotation[field] = value
    height, width = content.sizes[index].tolist()
    people = instances.people[slice(*instances.person_ptr[index : index + 2])].tolist()
    return {"image_id": int(content.image_ids[index]), "width": width, "height": height, "people": people}
