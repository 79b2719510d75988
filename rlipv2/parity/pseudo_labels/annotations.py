"""Recorded filters of annotations, mixtures and the preprocessing of Visual Genome."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from rlipv2.datasets.scene_graphs import NameCounts, SceneGraphs
from rlipv2.datasets.scene_graphs.index import content_in, index_scene_graphs
from rlipv2.datasets.scene_graphs.preprocess import convert
from rlipv2.datasets.scene_graphs.subsets import overlapping
from rlipv2.ops.boxes import cxcywh_to_xyxy
from rlipv2.parity.entry import Entry
from rlipv2.parity.pseudo_labels.exact import exact_entry
from rlipv2.pseudo_labels.filters import count_names, deduplicate, filter_out_of_distribution, top_k_per_pair

Record = dict[str, Any]
LEFT_BEHIND = ("subject_id_local", "object_id_local")
"""What the official reader writes into the relations that it is given, before they are filtered."""
MIXTURE = re.compile(r"^threshold=([\d.]+)\|pair_overlap=(True|False)$")


def check_postprocess(path: Path, content: Mapping[str, Any]) -> list[Entry]:
    """One or two entries per case of `postprocess.json`."""
    records = content["input"]
    deduplicated, top = _each(records, lambda rows: deduplicate(rows, ties="all")), _each(records, top_k_per_pair)
    counts = {"keep_names_freq": count_names(records), "top2_per_pair.keep_names": count_names(top)}
    entries = []
    for name, case in content["cases"].items():
        if name == "deduplicate":
            ours: Any = deduplicated
        elif name == "top2_per_pair":
            ours = top
        elif name == "filter_out_of_distribution":
            ours = [filter_out_of_distribution(record, case["allowed"]) for record in records]
        elif name == "keep_names_freq":
            ours = names_file(counts[name])
        elif name == "fuse_keep_names_freq":
            ours = names_file(NameCounts.sum([counts[part] for part in case["inputs"]]))
        else:
            raise ValueError(f"{path}: cases: {name!r}: unknown case")
        entries.append(exact_entry(path.stem, name, ours, _without_traces(case["expected"])))
        if "keep_names" in case:
            ours = names_file(counts["top2_per_pair.keep_names"])
            entries.append(exact_entry(path.stem, f"{name} keep_names", ours, case["keep_names"]))
    return entries


def check_ties(path: Path, content: Mapping[str, Any]) -> list[Entry]:
    """The entry of `deduplicate_ties.json`."""
    ours = _each(content["input"], lambda rows: deduplicate(rows, ties="all"))
    return [exact_entry(path.stem, "deduplicate", ours, content["expected"])]


def check_mixture(path: Path, content: Mapping[str, Any]) -> list[Entry]:
    """Entries of `mixed_filter.json`: images and relations that pre-training keeps, and the first target."""
    entries = []
    with TemporaryDirectory() as folder:
        root = Path(folder)
        file = root / "annotations" / "recorded.json"
        file.parent.mkdir()
        file.write_text(json.dumps(content["input"]))
        _draw_images(root, content)
        for setting, recorded in content["expected"].items():
            if setting == "target_first":
                entries += _target_entries(path, root, file, recorded)
                continue
            options = MIXTURE.match(setting)
            if options is None:
                raise ValueError(f"{path}: expected: {setting!r}: unknown setting")
            threshold, overlap = float(options[1]), options[2] == "True"
            data = _mixture(root, file, threshold=threshold, overlap=overlap)
            kept = _kept_relations(root, file, content["input"], threshold=threshold, overlap=overlap)
            ours = {"kept_image_ids": data.image_ids.tolist(), "kept_relationship_ids": kept}
            entries += [exact_entry(f"{path.stem} {setting}", name, ours[name], recorded[name]) for name in recorded]
    return entries


def check_vg_preprocess(path: Path, content: Mapping[str, Any]) -> list[Entry]:
    """One entry per frequency filter of `vg_preprocess.json`, from the files that the conversion command writes."""
    entries = []
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "scene_graphs.json").write_text(json.dumps(content["input"]))
        for kind in ("object", "relationship"):
            (root / f"{kind}_alias.txt").write_text(content[f"{kind}_alias"])
        for setting, recorded in content["expected"].items():
            convert(
                root,
                root / "preprocessed.json",
                iou_threshold=content["iou_threshold"],
                max_relations=content["max_relationships"],
                min_count=int(setting.removeprefix("min_count=")),
            )
            ours = json.loads((root / "preprocessed.json").read_text())
            entries.append(exact_entry(path.stem, setting, ours, recorded))
    return entries


def names_file(names: NameCounts) -> dict[str, Any]:
    """What `NameCounts.write` writes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "names.json"
        names.write(path)
        content: dict[str, Any] = json.loads(path.read_text())
    return content


def _each(records: Sequence[Record], change: Any) -> list[Record]:
    return [record | {"relationships": change(record["relationships"])} for record in records]


def _without_traces(expected: Any) -> Any:
    if not isinstance(expected, list):
        return expected
    return [
        record
        | {
            "relationships": [
                {key: value for key, value in row.items() if key not in LEFT_BEHIND} for row in record["relationships"]
            ]
        }
        for record in expected
    ]


def _mixture(root: Path, file: Path, *, threshold: float, overlap: bool) -> SceneGraphs:
    return SceneGraphs(
        root,
        annotations=file,
        names=None,
        relation_threshold=threshold,
        pair_overlap=overlap,
        max_relations=None,
        unrelated_images="drop",
    )


def _kept_relations(
    root: Path, file: Path, records: Sequence[Record], *, threshold: float, overlap: bool
) -> list[list[int]]:
    content = content_in(index_scene_graphs(root, file))
    if content.skipped:
        raise ValueError(f"{file}: rows that cannot be used: {content.skipped}")
    kept = content.confidences >= threshold
    if overlap:
        kept &= overlapping(content)
    ids = np.array([row["relationship_id"] for record in records for row in record["relationships"]], np.int64)
    ends = content.records.relation_ptr.tolist()
    return [ids[a:b][kept[a:b]].tolist() for a, b in pairwise(ends)]


def _draw_images(root: Path, content: Mapping[str, Any]) -> None:
    """An image for every record where the reader looks for it; the first has its recorded size."""
    target = content["expected"].get("target_first", {})
    height, width = target.get("orig_size", (8, 8))
    for record in content["input"]:
        file = root / record["data_split"] / f"{record['image_id']:012d}.jpg"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (width, height) if record["image_id"] == target.get("image_id") else (8, 8)).save(file)


def _target_entries(path: Path, root: Path, file: Path, recorded: Mapping[str, Any]) -> list[Entry]:
    from rlipv2.datamodules.collate import build_target  # loads Lightning, which no other check needs

    data = _mixture(root, file, threshold=0.2, overlap=False)
    row = data.image_ids.tolist().index(recorded["image_id"])
    sample = data[row]
    annotation, space = sample.annotation, sample.label_space
    target = build_target(annotation, sample.original_size, num_relations=len(space.relations))
    height, width = sample.original_size
    scale = target.subject_boxes.new_tensor([width, height, width, height])
    ours = {
        "image_id": annotation.image_id,
        "orig_size": list(sample.original_size),
        "boxes": annotation.boxes_xyxy.tolist(),
        "labels": annotation.labels.tolist(),
        "obj_classes": list(space.objects),
        "verb_classes": list(space.relations),
        "obj_labels": target.object_labels.tolist(),
        "sub_labels": target.subject_labels.tolist(),
        "verb_labels": target.relations.tolist(),
        "sub_boxes": (cxcywh_to_xyxy(target.subject_boxes) * scale).tolist(),
        "obj_boxes": (cxcywh_to_xyxy(target.object_boxes) * scale).tolist(),
    }
    case = f"{path.stem} target_first"
    # the reader keeps no areas and no crowds, and does not resize; pixels of hundreds in float32 have 1e-4 to spare
    entries = []
    for name, values in ours.items():
        if name.endswith("boxes"):
            a, b = np.array(values), np.array(recorded[name])
            entries.append(Entry.compare(case, name, a, b, atol=1e-4, rtol=0))
        else:
            entries.append(exact_entry(case, name, values, recorded[name]))
    return entries
