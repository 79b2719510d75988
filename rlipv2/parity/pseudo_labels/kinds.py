"""Which kind of recorded case a file holds, told by its content, and the check for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlipv2.datasets.files import read_json
from rlipv2.parity.entry import Entry
from rlipv2.parity.pseudo_labels.annotations import check_mixture, check_postprocess, check_ties, check_vg_preprocess
from rlipv2.parity.pseudo_labels.candidates import Words, check_candidates, check_matches, check_overlaps
from rlipv2.parity.pseudo_labels.parsing import check_captions, check_rules
from rlipv2.parity.pseudo_labels.tagging import check_tagger


@dataclass(frozen=True)
class CaseFile:
    """A file and what its check may need besides.

    Attributes:
        path: of the file.
        content: its JSON.
        words: which words stand for which class.
    """

    path: Path
    content: Any
    words: Words


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: for people.
        keys: what its content, or the first row of its list, has among others.
        is_list: whether its top level is a list.
        check: makes the entries.
    """

    name: str
    keys: frozenset[str]
    is_list: bool
    check: Callable[[CaseFile], list[Entry]]


def _kind(name: str, keys: str, check: Callable[[CaseFile], list[Entry]], *, is_list: bool = False) -> Kind:
    return Kind(name, frozenset(keys.split()), is_list, check)


KINDS = (
    _kind("matches of names", "name span match", lambda f: check_matches(f.path, f.content, f.words), is_list=True),
    _kind("overlap of boxes", "box1_xywh box2_xywh overlap", lambda f: check_overlaps(f.path, f.content), is_list=True),
    _kind(
        "candidates",
        "scene_graphs instances_train instances_val expected",
        lambda f: check_candidates(f.path, f.content, f.words),
    ),
    _kind("tagging", "logit_rule class_names candidates_case expected", lambda f: check_tagger(f.path, f.content)),
    _kind(
        "preprocessing of Visual Genome",
        "object_alias input expected",
        lambda f: check_vg_preprocess(f.path, f.content),
    ),
    _kind("post-processing", "input cases", lambda f: check_postprocess(f.path, f.content)),
    _kind("scene graphs of dependency trees", "spacy cases", lambda f: check_rules(f.path, f.content)),
    _kind("captions", "captions", lambda f: check_captions(f.path, f.content)),
    _kind("mixture or ties", "input expected", lambda f: _check_mixture_or_ties(f)),
)


def check_file(path: Path, *, paraphrases: Sequence[Path] = ()) -> list[Entry]:
    """The entries of a file of any kind.

    Args:
        path: of the file.
        paraphrases: files {class name: [phrase, ...]}; the first one that has all classes of a case is used instead of
            the built-in words.

    Raises:
        DatasetNotFoundError: no such file, or one that it refers to.
        AnnotationError: no JSON.
        ValueError: of no known kind, or a value in it is missing or of another form.
    """
    content = read_json(path)
    kind = kind_of(content)
    if kind is None:
        names = "; ".join(f"{kind.name}: {', '.join(sorted(kind.keys))}" for kind in KINDS)
        raise ValueError(f"{path}: not a recorded case of pseudo-labelling; expected the keys of one of: {names}")
    try:
        return kind.check(CaseFile(path, content, Words(paraphrases)))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path}: not as expected of {kind.name} ({type(error).__name__}: {error})") from error


def kind_of(content: Any) -> Kind | None:
    """The first kind that has all its keys in the content."""
    rows = content if isinstance(content, list) else [content]
    keys = set(rows[0]) if rows and isinstance(rows[0], dict) else set()
    return next((k for k in KINDS if k.is_list == isinstance(content, list) and k.keys <= keys), None)


def _check_mixture_or_ties(file: CaseFile) -> list[Entry]:
    check = check_ties if isinstance(file.content["expected"], list) else check_mixture
    return check(file.path, file.content)
