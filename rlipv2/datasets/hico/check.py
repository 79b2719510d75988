"""Checks a folder of HICO-DET before anything is trained on it: `python -m rlipv2.datasets check hico`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.checks import SplitUnderCheck, check_boxes, check_images, check_relations, sizes_per_box
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.hico.dataset import FOLDER, IMAGE_FOLDERS, find_annotations, find_root
from rlipv2.datasets.hico.readers import Kind, Split, detect, ppdm, read_annotations
from rlipv2.datasets.hico.subsets import relation_hois
from rlipv2.datasets.records import out_of_range, relation_images
from rlipv2.datasets.report import Report
from rlipv2.structures import RelationRecords
from rlipv2.vocabularies import HICOVocabulary, load

NUM_IMAGES = {"train": 38_118, "test": 9_658}


@dataclass
class HICOSplitUnderCheck(SplitUnderCheck):
    """What the checks of one split of HICO-DET share."""

    kind: Kind
    vocabulary: HICOVocabulary


def check_hico(
    root: str | Path,
    *,
    annotations: str | Path = "auto",
    decode: str = "200",
    max_skip_rate: int | float = 0.001,
    vocabulary: HICOVocabulary | None = None,
) -> Report:
    """Everything found in a folder of HICO-DET: files, annotations, image headers, decoded images.

    Boxes are looked at as stored, before shifting and merging.

    Args:
        root: folder `hico_20160224_det`, or the one that holds it.
        annotations: as for `HICODet`.
        decode: how many images of each split to decode: a number, a fraction such as "0.01", or "all".
        max_skip_rate: share of training images that may be left out for relations to missing boxes.
        vocabulary: other classes than those of HICO-DET.
    """
    report, vocabulary = Report(), vocabulary or load("hico")
    try:
        root = find_root(root)
    except DatasetNotFoundError as error:
        report.add("both", "folder", offenders=[str(error)], note=f"see data/{FOLDER}/README.md")
        return report
    names: dict[str, set[str]] = {}
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        try:
            path = find_annotations(root, split, annotations)
            kind, content = detect(path)
            records = read_annotations(path, split, shift="none", merge_iou=None, vocabulary=vocabulary)
        except (DatasetNotFoundError, AnnotationError) as error:
            report.add(split, "annotations can be read", offenders=[str(error)], note="nothing further is checked here")
            continue
        part = HICOSplitUnderCheck(split, path, records, report, kind, vocabulary)
        report.add(split, f"annotations can be read ({kind}: {path.name})")
        names[split] = set(records.file_names)
        _check_totals(part)
        check_boxes(part)
        _check_relations(part, max_skip_rate)
        if kind == "ppdm":
            _check_hoi_ids(part, ppdm.read(content, path, vocabulary))
        headers = check_images(part, root / IMAGE_FOLDERS[split], decode, readme=f"data/{FOLDER}/README.md")
        if headers:
            _check_index_base(part, sizes_per_box(records, headers))
    shared = sorted(names.get("train", set()) & names.get("test", set()))
    report.add("both", "no image in train and test", offenders=shared, note="the test images must not be trained on")
    return report


def _check_totals(part: HICOSplitUnderCheck) -> None:
    records, note = part.records, "expected for a subset or a miniature only"
    images, expected = len(records), NUM_IMAGES[part.split]
    wrong = [] if images == expected else [f"{images:,} images, the release has {expected:,}"]
    part.add("number of images", offenders=wrong, found="warning", note=note)
    counts = part.vocabulary.train_counts if part.split == "train" else part.vocabulary.test_counts
    hois = relation_hois(*_valid(part))
    found = np.bincount(hois[hois >= 0], minlength=len(counts))
    differing = np.flatnonzero(found != counts)
    offenders = [f"{found.sum():,} relations in all, the release has {counts.sum():,}"]
    offenders += [f"interaction {hoi + 1}: {found[hoi]:,}, the release has {counts[hoi]:,}" for hoi in differing[:5]]
    part.add("relations of each interaction", offenders=offenders, count=len(differing), found="warning", note=note)
    repeated = len(records) - len(set(records.file_names))
    part.add("images listed once", count=repeated, found="warning", note="kept; few-shot files repeat on purpose")


def _check_relations(part: HICOSplitUnderCheck, max_skip_rate: int | float) -> None:
    records, vocabulary = _valid(part)
    broken = out_of_range(part.records)
    skipped = len(np.unique(relation_images(part.records)[broken]))
    tolerated = part.split == "train" and skipped <= max_skip_rate * len(part.records)
    part.add(
        "relations refer to boxes of their image",
        offenders=part.relation_offenders(broken),
        found="warning" if tolerated else "error",
        note=f"training leaves these {skipped:,} images out"
        if part.split == "train"
        else "evaluation needs every image: correct the records",
    )
    # the offenders of the checks below are found among the valid relations only
    part = dataclasses.replace(part, records=records)
    subjects = records.labels[records.box_ptr[relation_images(records)] + records.relations[:, 0]]
    offenders = part.relation_offenders(subjects != vocabulary.PERSON)
    part.add("subjects are people", offenders=offenders, found="warning", note="kept; the evaluation ignores them")
    offenders = part.relation_offenders(relation_hois(records, vocabulary) < 0)
    note = "kept; the evaluation ignores them; no interaction of HICO-DET: ids of another order?"
    part.add("verb and object are an interaction", offenders=offenders, found="warning", note=note)
    check_relations(part, self_relations="ok")


def _check_hoi_ids(part: HICOSplitUnderCheck, content: ppdm.HOIAContent) -> None:
    records, vocabulary = _valid(part)
    hoi_ids = content.hois[~out_of_range(part.records), 3]
    differing = (hoi_ids > 0) & (hoi_ids - 1 != relation_hois(records, vocabulary))
    part = dataclasses.replace(part, records=records)
    note = "verb and object count; files with relation noise leave hoi_category_id as it was"
    offenders = part.relation_offenders(differing)
    part.add("hoi_category_id agrees with verb and object", offenders=offenders, found="warning", note=note)


def _valid(part: HICOSplitUnderCheck) -> tuple[RelationRecords, HICOVocabulary]:
    """The records without relations to boxes that do not exist."""
    return part.records.keep_relations(~out_of_range(part.records)), part.vocabulary


def _check_index_base(part: HICOSplitUnderCheck, sizes: Int[np.ndarray, "n 2"]) -> None:
    """Tells of 1-based boxes: none begins before 1, and some end at the last pixel."""
    known = sizes[:, 0] > 0
    boxes = part.records.boxes[known]
    one_based = bool(len(boxes)) and boxes[:, :2].min() == 1 and bool((boxes[:, 2:] == sizes[known][:, ::-1]).any())
    expected = part.kind != "ppdm" or part.split == "test"
    part.report.add(
        part.split,
        "boxes seem to count from 1",
        count=int(one_based),
        found="ok" if expected else "warning",
        note="as released" if expected else "PPDM training boxes count from 0: made with another shift?",
    )
