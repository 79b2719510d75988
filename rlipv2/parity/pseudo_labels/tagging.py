"""The recorded loop around the tagger, with the rule that stood in for its network when it was recorded."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from jaxtyping import Float, Int

from rlipv2.datasets.files import read_json
from rlipv2.parity.entry import Entry
from rlipv2.parity.pseudo_labels.candidates import labelled_images
from rlipv2.parity.pseudo_labels.exact import exact_entry
from rlipv2.pseudo_labels.annotations import RecordIds, image_record
from rlipv2.pseudo_labels.candidates import kept_boxes
from rlipv2.pseudo_labels.chunks import chunks, emit, joined
from rlipv2.pseudo_labels.records import Group, LabelledImage

Logit = Callable[[int, int, str], float]
RULE = re.compile(r"crc32\(utf8\(\"\{sub\}\|\{obj\}\|\{text\}\"\)\) mod (\d+)\)/(\d+)\*([\d.]+) - ([\d.]+) ")
REFERENCE = re.compile(r"^(?P<file>\S+\.json) expected\[\"(?P<setting>[^\"]+)\"\]")
SETTING = re.compile(r"^threshold=(?P<threshold>[\d.]+)\|img_inference_batch=(?P<size>\d+)$")


def check_tagger(path: Path, content: Mapping[str, Any]) -> list[Entry]:
    """Three entries per setting of `tagger_output.json`: annotations, texts and sizes of the chunks.

    The candidates and boxes are those of the file that it names, next to it.

    Raises:
        DatasetNotFoundError: that file is not there.
        ValueError: a rule, reference or setting in another form.
    """
    logit = _rule(path, content["logit_rule"])
    reference = _found(REFERENCE, content["candidates_case"], path, "candidates_case")
    candidates = read_json(path.parent / reference["file"])
    _, images = labelled_images(candidates)
    groups = candidates["expected"][reference["setting"]]
    entries = []
    for setting, recorded in content["expected"].items():
        options = _found(SETTING, setting, path, "expected")
        ours = _tagged(
            [images[row["image_id"]] for row in recorded["annotations"]],
            groups,
            logit,
            class_names=content["class_names"],
            threshold=float(options["threshold"]),
            size=int(options["size"]),
        )
        case = f"{path.stem} {setting}"
        entries += [exact_entry(case, name, ours[name], recorded[name]) for name in recorded]
    return entries


def _tagged(
    images: Sequence[LabelledImage],
    candidates: Mapping[str, Any],
    logit: Logit,
    *,
    class_names: Sequence[str],
    threshold: float,
    size: int,
) -> dict[str, Any]:
    dataset = "coco2017" if len(class_names) == 80 else "o365"
    ids = RecordIds.starting(dataset)
    records, texts_of_chunks, calls = [], [], []
    for image in images:
        groups = [Group.from_json(group) for group in candidates[str(image.image_id)]]
        labels, parts = kept_boxes(image)[1], []
        for some, texts in chunks(groups, size):
            texts_of_chunks.append(list(texts))
            calls.append([len(some), len(texts)])
            parts.append(emit(some, texts, _scores(some, texts, labels, logit), threshold=threshold))
        records.append(image_record(image, joined(parts), ids, class_names=class_names, dataset=dataset))
    return {"annotations": records, "text_lists": texts_of_chunks, "calls": calls}


def _scores(
    groups: Sequence[Group], texts: Sequence[str], labels: Int[np.ndarray, " n"], logit: Logit
) -> Float[np.ndarray, "g p t"]:
    slots = max((len(group.pairs) for group in groups), default=0)
    logits = np.full((len(groups), slots, len(texts)), -20, np.float32)
    for row, group in enumerate(groups):
        for slot, (subject, object_) in enumerate(group.pairs.tolist()):
            classes = int(labels[subject]), int(labels[object_])
            logits[row, slot] = [logit(*classes, text) for text in texts]
    return np.asarray(1 / (1 + np.exp(-logits)))


def _rule(path: Path, text: str) -> Logit:
    values = _found(RULE, text, path, "logit_rule")
    modulus, divisor, scale, shift = int(values[1]), int(values[2]), float(values[3]), float(values[4])

    def logit(subject: int, object_: int, relation: str) -> float:
        return crc32(f"{subject}|{object_}|{relation}".encode()) % modulus / divisor * scale - shift

    return logit


def _found(pattern: re.Pattern[str], text: str, path: Path, field: str) -> re.Match[str]:
    found = pattern.search(text)
    if found is None:
        raise ValueError(
            f"{path}: {field}: {text!r}: not in the form of the recorded files; expected {pattern.pattern}"
        )
    return found
