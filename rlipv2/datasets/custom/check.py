"""Checks a folder of a user's own data before anything is trained on it: `python -m rlipv2.datasets check custom`."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from rlipv2.datasets.checks import SplitUnderCheck, check_boxes, check_images, check_relations
from rlipv2.datasets.custom.dataset import README, STANDARD_SPLITS, look_normalised, misplaced_images
from rlipv2.datasets.custom.layout import ANNOTATIONS, IMAGES, RULES, CustomContent
from rlipv2.datasets.custom.names import Choice
from rlipv2.datasets.custom.read import parse_custom
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.records import relation_images
from rlipv2.datasets.report import Level, Report

Kind = Literal["objects", "relations"]
KINDS: tuple[Kind, ...] = ("objects", "relations")

FEW = 10
"""A name with fewer examples in training is told of."""


def check_custom(root: str | Path, *, decode: str = "200", label_space: Choice = "train") -> Report:
    """Everything found in a folder of this format: files, records, names, image headers, decoded images, counts.

    Every record that breaks a rule is listed, where training stops at the first.

    Args:
        root: folder with `annotations/` and `images/`.
        decode: how many images of each split to decode: a number, a fraction such as "0.01", or "all".
        label_space: as for `CustomRelations`: with "all", names that training does not show are no error.
    """
    root, report = Path(root).expanduser(), Report()
    splits = _splits(root)
    if not splits:
        expected = [str(root / ANNOTATIONS / f"{split}.json") for split in STANDARD_SPLITS]
        report.add("all", "annotation files", offenders=expected, note=f"none is there; see {README}")
        return report
    for split in STANDARD_SPLITS:
        absent = [] if split in splits else [str(root / ANNOTATIONS / f"{split}.json")]
        report.add("all", f"{split}.json is there", offenders=absent, note=_stand_in(split, splits))
    contents: dict[str, CustomContent] = {}
    for split in splits:
        try:
            contents[split] = parse_custom(root / ANNOTATIONS / f"{split}.json")
        except (AnnotationError, DatasetNotFoundError) as error:
            report.add(split, "file can be read", offenders=[str(error)], note="nothing further is checked here")
            continue
        _check_split(split, contents[split], report, root, decode)
    _check_overlap(contents, report)
    _check_unlisted(contents, report, root / IMAGES)
    for kind in KINDS:
        _check_spelling(contents, report, kind)
        if "train" in contents:
            _check_names(contents, report, kind, label_space)
    return report


def _splits(root: Path) -> list[str]:
    """Names of the annotation files, the standard ones first."""
    found = sorted(path.stem for path in (root / ANNOTATIONS).glob("*.json"))
    standard = [split for split in STANDARD_SPLITS if split in found]
    return standard + [split for split in found if split not in standard]


def _stand_in(split: str, splits: Sequence[str]) -> str:
    """What to do about a standard split without a file, given those that there are."""
    own = f"expected the file that {README} describes"
    others = [name for name in splits if name not in (STANDARD_SPLITS if split == "train" else ("train",))]
    return f"{own}, or name another split in its place: data.{split}={others[0]}" if others else own


def _check_split(split: str, content: CustomContent, report: Report, root: Path, decode: str) -> None:
    part = SplitUnderCheck(split, content.path, content.records, report)
    part.add("file can be read")
    offenders: dict[str, list[str]] = defaultdict(list)
    for problem in content.problems:
        offenders[problem.rule].append(
            f"record {problem.record} (image {problem.image}): {problem.field}={problem.value!r}: {problem.wrong}; "
            f"{problem.todo}"
        )
    for rule, what in RULES.items():
        part.add(what, offenders=offenders[rule], note="training stops here: correct the records")
    ignored = [f"{key}, {count:,} times" for key, count in content.ignored.items()]
    part.add("keys mean something", offenders=ignored, found="warning", note="ignored: misspelt?")
    check_boxes(part)
    level: Level = "error" if split == "train" else "warning"  # what the others hold does not stop training
    _check_pixels(part, level)
    check_relations(part)
    for kind in KINDS:
        # records with problems stay without boxes and relations: theirs are told of above
        none = not content.problems and not _occurring(content, kind)
        note = "there is nothing to learn" if level == "error" else "there is nothing to evaluate"
        part.add(f"some image has {kind}", count=int(none), found=level, note=f"none has any: {note}")
    misplaced = misplaced_images(root, part.records.file_names)
    note = f"file_name is relative to {root / IMAGES}, not to {root}"
    part.add(f"file names are relative to {IMAGES}/", offenders=misplaced, note=note)
    check_images(part, root / IMAGES, decode, readme=README)
    _count(part, content)


def _check_pixels(part: SplitUnderCheck, level: Level) -> None:
    """Looks for boxes that are fractions of the image; `level` is that of the row."""
    boxes = part.records.boxes
    wrong = look_normalised(part.records)
    shown = part.box_offenders(np.arange(len(boxes)) < 3) if wrong else []
    note = "all lie within 0 to 1: pixels are expected; normalised boxes?"
    part.add("boxes are in pixels", offenders=shown, count=len(boxes) if wrong else 0, found=level, note=note)


def _count(part: SplitUnderCheck, content: CustomContent) -> None:
    """Statistics, which are never wrong."""
    records = part.records
    rows = np.concatenate([relation_images(records)[:, None], records.relations[:, :2]], axis=1)
    pairs = np.unique(rows, axis=0)
    per_image = np.bincount(pairs[:, 0], minlength=1).max()
    part.add("images", count=len(records), found="ok")
    part.add("boxes", count=len(records.boxes), found="ok", note=_most(content.objects, records.labels))
    note = _most(content.relations, records.relations[:, 2])
    part.add("relations", count=len(records.relations), found="ok", note=note)
    note = f"at most {per_image} in one image: num_pairs should not be smaller"
    part.add("related pairs", count=len(pairs), found="ok", note=note)


def _most(names: Sequence[str], labels: np.ndarray) -> str:
    """How many names occur, and the most frequent of them."""
    counts = Counter(labels.tolist()).most_common()
    return f"{len(counts)} names: " + ", ".join(f"{names[label]} {count:,}" for label, count in counts[:3])


def _check_overlap(contents: dict[str, CustomContent], report: Report) -> None:
    for one, other in combinations(contents, 2):
        shared = sorted(set(contents[one].records.file_names) & set(contents[other].records.file_names))
        found: Level = "error" if "train" in (one, other) else "warning"
        note = "images that are evaluated must not be trained on" if found == "error" else "is this meant?"
        report.add("all", f"no image in {one} and {other}", offenders=shared, found=found, note=note)


def _check_spelling(contents: dict[str, CustomContent], report: Report, kind: Kind) -> None:
    """Names that differ in case, blanks and underscores only, and names with superfluous blanks."""
    names = sorted({name for content in contents.values() for name in getattr(content, kind)})
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in names:
        spellings[" ".join(name.casefold().replace("_", " ").split())].append(name)
    alike = [" / ".join(map(repr, group)) for group in spellings.values() if len(group) > 1]
    note = "these are different classes: spell them alike if they are meant to be one"
    report.add("all", f"names of {kind} differ in more than spelling", offenders=alike, found="warning", note=note)
    spaced = [repr(name) for name in names if name != " ".join(name.split())]
    note = "blanks at the ends, or several in a row, reach the text encoder"
    report.add("all", f"names of {kind} have no superfluous blanks", offenders=spaced, found="warning", note=note)


def _check_names(contents: dict[str, CustomContent], report: Report, kind: Kind, label_space: Choice) -> None:
    """Names that training hardly ever shows, and names of other splits that it never shows."""
    names, counts = getattr(contents["train"], kind), _occurring(contents["train"], kind)
    few = sorted((counts[name], name) for name in names if counts[name] < FEW)
    offenders = [f"{name!r}: {count}" for count, name in few]
    note = f"fewer than {FEW}: hardly to be learnt; {', '.join(offenders[:3])}"
    report.add("train", f"{kind} with few examples", offenders=offenders, found="ok", note=note)
    found: Level = "ok" if label_space == "all" else "error"
    note = "training stops here: correct them, or give data.label_space=all"
    if found == "ok":
        note = "evaluated without having been trained on"
    for split, content in contents.items():
        if split != "train":
            unknown = [repr(name) for name in sorted(_occurring(content, kind).keys() - set(names))]
            report.add(split, f"{kind} are known from training", offenders=unknown, found=found, note=note)


def _check_unlisted(contents: dict[str, CustomContent], report: Report, images: Path) -> None:
    listed = {name for content in contents.values() for name in content.records.file_names}
    files = {path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file()}
    report.add("all", "files without annotations", count=len(files - listed), found="ok", note="not used")


def _occurring(content: CustomContent, kind: str) -> Counter[str]:
    """How often each name occurs."""
    labels = content.records.labels if kind == "objects" else content.records.relations[:, 2]
    names: tuple[str, ...] = getattr(content, kind)
    return Counter(names[label] for label in labels.tolist())
