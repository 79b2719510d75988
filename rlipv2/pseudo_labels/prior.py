"""Which relations Visual Genome has between two classes: candidates without captions, and what merging may keep."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json
from rlipv2.datasets.json_stream import iterate_records
from rlipv2.ops.files import write_atomically
from rlipv2.pseudo_labels.candidates import Mode, prior_candidates
from rlipv2.pseudo_labels.matching import Matcher
from rlipv2.pseudo_labels.records import LabelledImage
from rlipv2.pseudo_labels.stages import box_counts
from rlipv2.pseudo_labels.units import UnitResult

Prior = dict[str, dict[str, list[str]]]
"""Relation texts by class of the subject and class of the object, most frequent first."""
EXPECTED = 'expected {"subject": {"object": ["relation", ...]}} with names of classes'


def count_prior(records: Iterable[Mapping[str, Any]], matcher: Matcher, *, min_count: int = 1) -> Prior:
    """The predicates of relationships whose ends are named as two classes, over all images.

    Official: OD_rel_cand_select.py, which has no `min_count` and takes a class where one of its phrases is a part of a
    name (`OfficialMatcher`).

    Args:
        records: in the layout of Visual Genome.
        matcher: tells which classes a name stands for.
        min_count: how often a predicate must occur between two classes.
    """
    names = [words.name for words in matcher.class_words]
    every = range(len(names))
    classes: dict[str, Sequence[int]] = {}
    counts: Counter[tuple[int, int, str]] = Counter()
    for record in records:
        named = {row["object_id"]: row["names"] for row in record["objects"]}
        for row in record["relationships"]:
            ends = []
            for key in ("subject_id", "object_id"):
                name = named[row[key]].lower()
                if name not in classes:
                    classes[name] = [label for label in every if matcher.classes_of(name, [label])]
                ends.append(classes[name])
            text = row["predicate"].lower()
            counts.update((subject, target, text) for subject in ends[0] for target in ends[1] if text)
    prior: Prior = {}
    for (subject, target, text), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count >= min_count:
            prior.setdefault(names[subject], {}).setdefault(names[target], []).append(text)
    return prior


def write_prior(annotations: Path, path: Path, matcher: Matcher, *, min_count: int = 1) -> int:
    """Writes the prior of a file of annotations as JSON, and returns how many relations of classes it has.

    Raises:
        DatasetNotFoundError: no such annotations.
        AnnotationError: they cannot be used.
    """
    try:
        prior = count_prior(iterate_records(annotations), matcher, min_count=min_count)
    except (KeyError, TypeError, AttributeError) as error:
        wrong, todo = f"a record without {error}", "expected the layout of `python -m rlipv2.datasets convert vg`"
        raise AnnotationError.in_file(annotations, wrong, todo) from error
    write_atomically(path, json.dumps(prior, indent=1) + "\n")
    return sum(len(texts) for some in prior.values() for texts in some.values())


class CandidatesOfPrior:
    """Pairs of boxes whose classes have relations in a prior, which are asked about them; no captions are read.

    Args:
        prior: texts by class of the subject and class of the object, see `prior_of_classes`.
        mode: "parity" or "fast", see `prior_candidates`.
        group_size: pairs that the tagger takes at once.
    """

    def __init__(self, prior: Mapping[int, Mapping[int, Sequence[str]]], *, mode: Mode, group_size: int) -> None:
        self.prior, self.mode, self.group_size = prior, mode, group_size

    def __call__(self, images: list[LabelledImage], before: Mapping[int, Any]) -> UnitResult:
        """A row per image with its groups."""
        counts: Counter[str] = Counter()
        rows = []
        for image in images:
            groups = prior_candidates(image, self.prior, mode=self.mode, group_size=self.group_size)
            counts.update(box_counts(image))
            counts["pairs"] += sum(len(group.pairs) for group in groups)
            counts["groups"] += len(groups)
            counts["images without candidates"] += not any(len(group.pairs) for group in groups)
            rows.append({"image_id": image.image_id, "groups": [group.to_json() for group in groups]})
        return UnitResult(rows, (), counts)


def read_prior(path: str | Path) -> Prior:
    """A file `{"subject": {"object": [text, ...]}}`, without empty texts.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: not such a file.
    """
    path = Path(path).expanduser()
    try:
        return {
            subject: {target: _texts(texts) for target, texts in some.items()}
            for subject, some in read_json(path).items()
        }
    except (AttributeError, TypeError) as error:
        raise AnnotationError.in_file(path, f"no prior ({error})", EXPECTED) from error


def prior_of_classes(path: str | Path, names: Sequence[str]) -> dict[int, dict[int, list[str]]]:
    """What a file says of these classes, by their rows.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: not such a file, or none of its classes is among these names.
    """
    rows = {name: row for row, name in enumerate(names)}
    prior = {
        rows[subject]: {rows[target]: texts for target, texts in some.items() if target in rows}
        for subject, some in read_prior(path).items()
        if subject in rows
    }
    if not any(prior.values()):
        raise AnnotationError.in_file(Path(path).expanduser(), "none of its classes is one of the images'", EXPECTED)
    return prior


def _texts(texts: Any) -> list[str]:
    if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
        raise TypeError(f"{texts!r} is no list of relations")
    return [text for text in texts if text.strip()]
