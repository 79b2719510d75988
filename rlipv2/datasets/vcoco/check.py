"""Checks a folder of V-COCO before anything is trained on it: `python -m rlipv2.datasets check vcoco`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.checks import SplitUnderCheck, check_boxes, check_images, check_relations
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.records import relation_images
from rlipv2.datasets.report import Level, Report
from rlipv2.datasets.vcoco.content import VCOCOContent
from rlipv2.datasets.vcoco.dataset import VALIDITY_FILE, read_ground_truth, read_validity
from rlipv2.datasets.vcoco.source import IMAGE_FOLDERS, README, Split, find_release, find_root, find_source
from rlipv2.vocabularies import VCOCOVocabulary, load

# relations of trainval in the release: all, without object although the action has a role, of actions without role
NUM_RELATIONS, NUM_MISSING, NUM_ROLELESS = 25_810, 4_551, 7_421


@dataclass
class VCOCOSplitUnderCheck(SplitUnderCheck):
    """What the checks of one split of V-COCO share."""

    content: VCOCOContent
    vocabulary: VCOCOVocabulary


def check_vcoco(
    root: str | Path,
    *,
    annotations: str | Path = "auto",
    decode: str = "200",
    vocabulary: VCOCOVocabulary | None = None,
) -> Report:
    """Everything found in a folder of V-COCO: files, annotations, image headers, decoded images.

    Args:
        root: folder `v-coco`, or the one that holds it.
        annotations: as for `VCOCO`.
        decode: how many images of each split to decode: a number, a fraction such as "0.01", or "all".
        vocabulary: other prompts than the default.
    """
    report, vocabulary = Report(), vocabulary or load("vcoco")
    try:
        root = find_root(root)
    except DatasetNotFoundError as error:
        report.add("both", "folder", offenders=[str(error)], note=f"see {README}")
        return report
    images: dict[str, set[int]] = {}
    splits: tuple[Split, ...] = ("trainval", "test")
    for split in splits:
        try:
            source = find_source(root, split, annotations)
            content = source.read(vocabulary)
        except (DatasetNotFoundError, AnnotationError) as error:
            report.add(split, "annotations can be read", offenders=[str(error)], note="nothing further is checked here")
            continue
        report.add(split, f"annotations can be read ({source.kind}: {source.files[0].name})")
        records = content.to_records(vocabulary)
        part = VCOCOSplitUnderCheck(split, content.path, records, report, content, vocabulary)
        images[split] = set(content.image_ids.tolist())
        _check_totals(part)
        check_boxes(part)
        _check_relations(part)
        _check_ground_truth(part, root, split)
        if source.kind == "hoia":
            _check_release(part, root, split)
        check_images(part, root / IMAGE_FOLDERS[split], decode, readme=README)
    shared = sorted(map(str, images.get("trainval", set()) & images.get("test", set())))
    report.add("both", "no image in trainval and test", offenders=shared, note="test images must not be trained on")
    _check_validity(report, root, vocabulary)
    return report


def _check_totals(part: VCOCOSplitUnderCheck) -> None:
    records, note, vocabulary = part.records, "expected for a subset or a miniature only", part.vocabulary
    images, expected = len(records), vocabulary.num_images[part.split]
    wrong = [] if images == expected else [f"{images:,} images, the release has {expected:,}"]
    part.add("number of images", offenders=wrong, found="warning", note=note)
    repeated = images - len(set(records.image_ids.tolist()))
    part.add("images listed once", count=repeated, found="warning", note="counted once by the evaluation")
    if part.split != "trainval":  # those of test are not published
        return
    verbs, objects = records.relations[:, 2], _object_labels(part)
    roleless, missing = ~vocabulary.has_role[verbs], objects < 0
    found = (len(verbs), int((missing & ~roleless).sum()), int(roleless.sum()))
    told = (NUM_RELATIONS, NUM_MISSING, NUM_ROLELESS)
    offenders = []
    if found != told:
        kinds = "{:,} relations, {:,} of them without the object of a role, {:,} of actions without role"
        offenders = [f"{kinds.format(*found)}; the release has {kinds.format(*told)}"]
    part.add("number of relations", offenders=offenders, found="warning", note=note)
    table = np.zeros(vocabulary.valid_pairs.shape, np.int64)
    np.add.at(table, (verbs[~missing], objects[~missing]), 1)
    expected_table = np.zeros_like(table)
    expected_table[vocabulary.pairs[:, 0], vocabulary.pairs[:, 1]] = vocabulary.pairs[:, 2]
    differing = np.argwhere(table != expected_table)
    lines = [
        f"{vocabulary.verbs[v]} {vocabulary.objects[o]}: {table[v, o]:,}, the release has {expected_table[v, o]:,}"
        for v, o in differing[:5]
    ]
    part.add("relations of each verb and object", offenders=lines, count=len(differing), found="warning", note=note)


def _object_labels(part: VCOCOSplitUnderCheck) -> Int[np.ndarray, " h"]:
    """The class of the object of each relation, -1 where it has none."""
    records = part.records
    rows = records.box_ptr[relation_images(records)] + records.relations[:, 1]
    labels = np.append(records.labels, -1)
    return labels[np.where(records.relations[:, 1] < 0, len(records.labels), rows)]


def _check_relations(part: VCOCOSplitUnderCheck) -> None:
    records, vocabulary = part.records, part.vocabulary
    subjects = records.labels[records.box_ptr[relation_images(records)] + records.relations[:, 0]]
    offenders = part.relation_offenders(subjects != vocabulary.PERSON)
    part.add("subjects are people", offenders=offenders, found="warning", note="kept")
    verbs, objects = records.relations[:, 2], _object_labels(part)
    offenders = part.relation_offenders(~vocabulary.has_role[verbs] & (objects >= 0))
    note = "stand, walk, run and smile never have one: ids of another order?"
    part.add("actions without role have no object", offenders=offenders, note=note)
    allowed = np.zeros((len(vocabulary.verbs), len(vocabulary.objects)), bool)
    for verb, listed in enumerate(vocabulary.role_objects):
        allowed[verb, list(listed) or slice(None)] = True
    offenders = part.relation_offenders((objects >= 0) & ~allowed[verbs, objects])
    note = "kept; annotators could not choose such an object: ids of another order?"
    part.add("objects are among those of the role", offenders=offenders, found="warning", note=note)
    missing = int((objects < 0).sum())
    part.add("relations without object", count=missing, found="ok", note='class "missing objects"')
    check_relations(part, self_relations="warning")


def _check_ground_truth(part: VCOCOSplitUnderCheck, root: Path, split: Split) -> None:
    """The role AP needs to know who was annotated; training does not."""
    try:
        truth = read_ground_truth(part.content, root, split, part.vocabulary)
    except (DatasetNotFoundError, AnnotationError) as error:
        level: Level = "error" if split == "test" else "ok"
        note = "no role AP without" if split == "test" else "needed for the role AP of this split only"
        part.add("annotated people are known", offenders=[str(error)], found=level, note=note)
        return
    part.add("annotated people are known")
    gone = (truth["area"] <= 0) | (truth["ignore"] == 1)
    part.add("boxes that the role AP leaves out", count=int(gone.sum()), found="ok", note="area 0, or marked ignore")
    part.add("crowd boxes", count=int(truth["iscrowd"].sum()), found="ok", note="boxes like all others")
    owners = np.repeat(np.arange(len(truth["id"])), np.diff(truth["person_ptr"]))
    used = np.zeros(len(gone), bool)
    rows = truth["box_ptr"][owners][:, None, None] + truth["roles"]
    used[rows[truth["roles"] >= 0]] = True
    used[truth["box_ptr"][owners] + truth["person"]] = True
    offenders = part.box_offenders(gone & used)
    part.add(
        "annotated boxes exist for the role AP", offenders=offenders, note="area 0 or ignore: the official one stops"
    )


def _check_release(part: VCOCOSplitUnderCheck, root: Path, split: Split) -> None:
    """A HOIA list must agree with the release, where that is there too."""
    try:
        records = find_release(root, split).read(part.vocabulary).to_records(part.vocabulary)
    except DatasetNotFoundError:
        return
    except AnnotationError as error:
        part.add("the release agrees", offenders=[str(error)], note="it is not read while the HOIA list is there")
        return
    order = {name: row for row, name in enumerate(records.file_names)}
    common = [row for row, name in enumerate(part.records.file_names) if name in order]
    offenders = [f"{len(part.records):,} images in the list, {len(records):,} in the release"]
    offenders = offenders if len(common) != len(records) or len(common) != len(part.records) else []
    for row in common:
        one, other = part.records[row], records[order[part.records.file_names[row]]]
        for field in dataclasses.fields(one)[2:]:
            mine, theirs = getattr(one, field.name).numpy(), getattr(other, field.name).numpy()
            # the order of relations has no meaning, and corners are sums that other code may have rounded
            if field.name == "relations":
                mine, theirs = (np.unique(rows, axis=0) for rows in (mine, theirs))
            if mine.shape != theirs.shape or not np.allclose(mine, theirs, rtol=0, atol=0.01):
                offenders.append(f"record {row} (image {one.file_name}): {field.name} differ")
    part.add("the release agrees", offenders=offenders, note="list and release are of different versions")


def _check_validity(report: Report, root: Path, vocabulary: VCOCOVocabulary) -> None:
    where = VALIDITY_FILE if (root / VALIDITY_FILE).is_file() else "not there: computed from what training shows"
    try:
        allowed = int((read_validity(root, vocabulary) > 0).sum())
    except AnnotationError as error:
        report.add("both", "verbs and objects that go together", offenders=[str(error)])
        return
    report.add(
        "both", "verbs and objects that go together", count=allowed, found="ok", note=f"corre_vcoco.npy: {where}"
    )
