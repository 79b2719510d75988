"""Converts annotations of HICO-DET between the three formats: `python -m rlipv2.datasets convert hico`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import sha256, write_json
from rlipv2.datasets.hico.readers import Kind, Shift, Split, detect, read_annotations
from rlipv2.datasets.hico.readers.pairs import PPDM_MERGE_IOU, PPDM_SHIFT, SHIFTS
from rlipv2.datasets.hico.scene_graphs import to_scene_graphs
from rlipv2.datasets.hico.subsets import relation_hois
from rlipv2.datasets.images import read_header
from rlipv2.datasets.records import out_of_range, relation_images
from rlipv2.structures import RelationRecords
from rlipv2.vocabularies import HICOVocabulary, load

Target = Literal["hoia", "hicodet_json", "scene_graphs"]


def convert(
    source: str | Path,
    target: str | Path,
    split: Split,
    *,
    to: Target = "hoia",
    shift: Shift = "ppdm",
    merge_iou: int | float | Literal["ppdm"] | None = "ppdm",
    images: str | Path | None = None,
) -> dict[str, Any]:
    """Writes `target` and, next to it, `<target>.meta.json`; returns the metadata.

    To "hoia" (PPDM lists) from `anno_bbox.mat` or fredzzhang/hicodet: every interaction becomes one
    `hoi_annotation`. The defaults give files like those of PPDM, but not the same ones: how PPDM merged
    boxes is not published.

    To "scene_graphs" from any of them: the layout of Visual Genome, for mixtures in pre-training.

    To "hicodet_json" from the other two: boxes are written 1-based, whatever they were. For a PPDM list
    `shift` names what had been subtracted and is added again; boxes without interaction are lost.

    Args:
        source: annotation file, whose kind is told from its content.
        target: file to write; replaced if it exists.
        split: which half of `anno_bbox.mat`, and whose PPDM conventions `"ppdm"` means.
        to: format to write.
        shift: see `read_annotations`.
        merge_iou: see `read_annotations`; not for "hicodet_json".
        images: folder of the images; their sizes are read where the source has none ("hicodet_json" only).

    Raises:
        AnnotationError: the source cannot be used, or has the format asked for.
        ValueError: the sizes of the images are needed and unknown.
    """
    source, target, vocabulary = Path(source), Path(target), load("hico")
    kind, _ = detect(source)
    if (kind, to) in (("ppdm", "hoia"), ("hicodet_json", "hicodet_json")):
        raise AnnotationError.in_file(source, f"it already is in the format {to}", "nothing is to be converted")
    named = PPDM_SHIFT[split] if shift == "ppdm" else shift
    if to != "hicodet_json":
        merge = PPDM_MERGE_IOU[split] if merge_iou == "ppdm" else merge_iou
        if kind == "ppdm":  # boxes that PPDM moved and merged stay, unless asked for otherwise
            named, merge = "none" if shift == "ppdm" else named, None if merge_iou == "ppdm" else merge
        records = read_annotations(source, split, shift=named, merge_iou=merge, vocabulary=vocabulary)
        content: Any = to_hoia(records, vocabulary, split) if to == "hoia" else to_scene_graphs(records, vocabulary)
    else:
        merge = None
        records = read_annotations(source, split, shift="none", merge_iou=None, vocabulary=vocabulary)
        _require_complete(records, source)
        added = SHIFTS[named] if kind == "ppdm" else SHIFTS["none"]
        content = to_hicodet_json(records, vocabulary, added, _sizes(records, source, images))
    metadata = _metadata(source, kind, split, to, records) | {"shift": named, "merge_iou": merge}
    write_json(target, content)
    write_json(target.with_name(target.name + ".meta.json"), metadata)
    return metadata


def to_hoia(records: RelationRecords, vocabulary: HICOVocabulary, split: Split) -> list[dict[str, Any]]:
    """A PPDM list; like PPDM, only the training list has `img_id`."""
    hois = relation_hois(records, vocabulary) + 1
    result = []
    for index, name in enumerate(records.file_names):
        boxes = slice(*records.box_ptr[index : index + 2])
        rows = slice(*records.relation_ptr[index : index + 2])
        coco_ids = vocabulary.coco_ids[records.labels[boxes]].tolist()
        record = {
            "file_name": name,
            "annotations": [
                {"bbox": _plain(box), "category_id": category}
                for box, category in zip(records.boxes[boxes].tolist(), coco_ids, strict=True)
            ],
            "hoi_annotation": [
                {"subject_id": subject, "object_id": target, "category_id": verb + 1, "hoi_category_id": hoi}
                for (subject, target, verb), hoi in zip(
                    records.relations[rows].tolist(), hois[rows].tolist(), strict=True
                )
            ],
        }
        result.append(record | ({"img_id": int(records.image_ids[index])} if split == "train" else {}))
    return result


def to_hicodet_json(
    records: RelationRecords, vocabulary: HICOVocabulary, added: Sequence[int], sizes: Int[np.ndarray, "i 2"]
) -> dict[str, Any]:
    """The content of a file of fredzzhang/hicodet; `added` is added to x1 y1 x2 y2."""
    names = [name.replace(" ", "_") for name in vocabulary.objects]
    objects = sorted(names)
    alphabetical = np.array([objects.index(name) for name in names])
    hois, verbs = relation_hois(records, vocabulary), records.relations[:, 2]
    classes = alphabetical[vocabulary.hois[hois, 1]]
    first = records.box_ptr[relation_images(records)]
    boxes = records.boxes + np.array(added, np.float32)
    annotation = []
    for start, end in zip(records.relation_ptr[:-1], records.relation_ptr[1:], strict=True):
        rows = slice(start, end)
        annotation.append(
            {
                "boxes_h": boxes[first[rows] + records.relations[rows, 0]].tolist(),
                "boxes_o": boxes[first[rows] + records.relations[rows, 1]].tolist(),
                "hoi": hois[rows].tolist(),
                "object": classes[rows].tolist(),
                "verb": verbs[rows].tolist(),
            }
        )
    return {
        "annotation": annotation,
        "filenames": list(records.file_names),
        "empty": np.flatnonzero(np.diff(records.relation_ptr) == 0).tolist(),
        "objects": objects,
        "verbs": list(vocabulary.verbs),
        "correspondence": [
            [hoi, int(alphabetical[row]), verb] for hoi, (verb, row) in enumerate(vocabulary.hois.tolist())
        ],
        "size": sizes[:, ::-1].tolist(),
        "rare": np.flatnonzero(vocabulary.rare).tolist(),
        "non_rare": np.flatnonzero(~vocabulary.rare).tolist(),
    }


def _require_complete(records: RelationRecords, source: Path) -> None:
    """Pairs need two boxes and an interaction each; the first relation without them is an error."""
    vocabulary = load("hico")
    broken = out_of_range(records)
    bad = broken.copy()
    bad[~broken] = relation_hois(records.keep_relations(~broken), vocabulary) < 0
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        image = int(relation_images(records)[row])
        raise AnnotationError.in_record(
            source,
            image,
            records.file_names[image],
            field="relation",
            value=records.relations[row].tolist(),
            wrong="refers to a missing box" if broken[row] else "verb and object are no interaction of HICO-DET",
            todo="correct or remove it; `python -m rlipv2.datasets check hico` lists all of them",
            more=int(bad.sum()) - 1,
        )


def _sizes(records: RelationRecords, source: Path, images: str | Path | None) -> Int[np.ndarray, "i 2"]:
    if records.sizes.all():
        return records.sizes
    if images is None:
        raise ValueError(f"{source} does not tell the sizes of the images; give their folder with --images")
    return np.array([read_header(Path(images) / name).size for name in records.file_names], np.int64)


def _plain(box: list[float]) -> list[int | float]:
    """Whole numbers as integers, as PPDM writes them."""
    return [int(value) if value.is_integer() else value for value in box]


def _metadata(source: Path, kind: Kind, split: Split, to: Target, records: RelationRecords) -> dict[str, Any]:
    note = "same boxes and interactions as the source"
    if to == "hoia":
        note = (
            "like the annotations of PPDM, not identical to them: use their download to compare with published numbers"
        )
    return {
        "format": "rlipv2-conversion/1",
        "source": source.name,
        "source_sha256": sha256(source),
        "source_kind": kind,
        "split": split,
        "to": to,
        "note": note,
        "images": len(records),
        "boxes": len(records.boxes),
        "relations": len(records.relations),
    }
