"""Recorded matches of names, overlaps of boxes and candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rlipv2.datasets.files import read_json
from rlipv2.parity.entry import Entry
from rlipv2.parity.pseudo_labels.exact import exact_entry
from rlipv2.pseudo_labels.candidates import boxes_overlap, image_candidates
from rlipv2.pseudo_labels.matching import OfficialMatcher
from rlipv2.pseudo_labels.paraphrases import ClassWords, class_words
from rlipv2.pseudo_labels.records import LabelledImage, SceneGraph
from rlipv2.vocabularies import load

HINT = " (our words for the classes; give the official table with --paraphrases)"


@dataclass(frozen=True)
class Words:
    """Where the words of classes come from.

    Attributes:
        files: in the form of the official tables; empty for ours.
    """

    files: Sequence[Path] = ()

    def of(self, names: Sequence[str]) -> tuple[list[ClassWords], str]:
        """The words of these classes, and what to say where they lead to another result.

        Raises:
            AnnotationError: files are given, and the last one lacks a class that the others lack as well.
        """
        for path in self.files:
            if path == self.files[-1] or set(names) <= set(read_json(path)):
                return class_words(names, path), ""
        return class_words(names), HINT


def check_matches(path: Path, rows: Sequence[Mapping[str, Any]], words: Words) -> list[Entry]:
    """One entry per (class name, span) of `paraphrase_match.json`."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    table, hint = words.of(names)
    matcher = OfficialMatcher(table)
    entries = []
    for row in rows:
        ours = bool(matcher.classes_of(row["span"], [names.index(row["name"])]))
        name = f"{row['name']} <- {row['span']!r}"
        entries.append(exact_entry(path.stem, name, ours, row["match"], hint=hint))
    return entries


def check_overlaps(path: Path, rows: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """One entry per pair of boxes of `check_overlap.json`."""
    entries = []
    for number, row in enumerate(rows):
        boxes = np.array([row["box1_xywh"], row["box2_xywh"]], np.float64)
        entries.append(exact_entry(path.stem, f"pair {number}", bool(boxes_overlap(boxes)[0, 1]), row["overlap"]))
    return entries


def check_candidates(path: Path, content: Mapping[str, Any], words: Words) -> list[Entry]:
    """One entry per setting and image of `candidates_*.json`."""
    names, images = labelled_images(content)
    graphs = {
        int(image): [SceneGraph.from_dict(row) for row in rows] for image, rows in content["scene_graphs"].items()
    }
    entries = []
    for setting, recorded in content["expected"].items():
        strategy, overlap = _settings(path, setting)
        table, hint = words.of(names)
        matcher = OfficialMatcher(table, strategy)
        hint = hint if strategy == "paraphrases" else ""
        # images without captions, and those without any box, are not in the official output
        told = [image for image in images if image in graphs and len(images[image].labels)]
        case = f"{path.stem} {setting}"
        entries.append(exact_entry(case, "images", sorted(map(str, told)), sorted(recorded)))
        for image in (image for image in told if str(image) in recorded):
            groups = image_candidates(graphs[image], images[image], matcher, mode="parity", box_overlap=overlap)
            ours = [group.to_json() for group in groups]
            entries.append(exact_entry(case, f"image {image}", ours, recorded[str(image)], hint=hint))
    return entries


def labelled_images(content: Mapping[str, Any]) -> tuple[list[str], dict[int, LabelledImage]]:
    """Class names and, by id, the images of both instance files, train first.

    Files without `categories` have those of Objects365.
    """
    categories = content["instances_train"].get("categories")
    if categories is None:
        vocabulary = load("objects365")
        names, rows = list(vocabulary.names), vocabulary.rows
    else:
        names = [row["name"] for row in categories]
        rows = {row["id"]: number for number, row in enumerate(categories)}
    suffix = "" if categories is None else "2017"
    images: dict[int, LabelledImage] = {}
    for split in ("train", "val"):
        part = content[f"instances_{split}"]
        annotations: dict[int, list[Any]] = {}
        for row in part["annotations"]:
            annotations.setdefault(row["image_id"], []).append(row)
        for row in part["images"]:
            images[row["id"]] = _image(row, split + suffix, annotations.get(row["id"], []), rows)
    return names, images


def _image(
    image: Mapping[str, Any], split: str, annotations: Sequence[Mapping[str, Any]], rows: Mapping[int, int]
) -> LabelledImage:
    return LabelledImage(
        image_id=image["id"],
        file_name=image["file_name"],
        split=split,
        size=(image["height"], image["width"]),
        boxes_xywh=np.array([row["bbox"] for row in annotations], np.float64).reshape(-1, 4),
        labels=np.array([rows[row["category_id"]] for row in annotations], np.int64),
        crowd=np.array([bool(row.get("iscrowd", 0)) for row in annotations], bool),
    )


def _settings(path: Path, setting: str) -> tuple[Literal["paraphrases", "original_text"], bool]:
    strategy, _, overlap = setting.partition("|")
    if overlap not in ("overlap=True", "overlap=False"):
        raise ValueError(f"{path}: expected: {setting!r}: unknown setting; expected <strategy>|overlap=<True or False>")
    if strategy == "paraphrases":
        return "paraphrases", overlap == "overlap=True"
    if strategy == "original_text":
        return "original_text", overlap == "overlap=True"
    raise ValueError(f"{path}: expected: {setting!r}: unknown strategy; expected paraphrases or original_text")
