"""The label spaces of the datasets by name, for asking a model about all of their words."""

from functools import cache

import numpy as np
from jaxtyping import Float

from rlipv2.structures import LabelSpace
from rlipv2.vocabularies.coco import ObjectVocabulary
from rlipv2.vocabularies.files import VocabularyError
from rlipv2.vocabularies.named import load

LABEL_SPACES = ("hico", "vcoco", "open_images")
OBJECT_LISTS = ("coco", "hico", "objects365", "open_images", "vcoco")


def label_space_names() -> tuple[str, ...]:
    """The names that `named_label_space` knows."""
    return LABEL_SPACES


@cache
def named_label_space(name: str) -> LabelSpace:
    """All objects and relations of a dataset: "hico" (80, 117), "vcoco" (81, 29) or "open_images" (601, 30).

    The words are those that models are fine-tuned with; for Open Images those of its class lists, spelled as there
    ("Man", "inside_of").

    Raises:
        VocabularyError: another name.
    """
    if name not in LABEL_SPACES:
        hint = f"; {name!r} has objects but no relations: combine object_names({name!r}) with relations of your own"
        raise VocabularyError(
            f"unknown label space {name!r}; use one of {', '.join(LABEL_SPACES)}, or give the words themselves"
            + (hint if name in OBJECT_LISTS else "")
        )
    if name == "hico":
        return load("hico").label_space
    if name == "vcoco":
        return load("vcoco").label_space
    vocabulary = load("open_images")
    return LabelSpace(vocabulary.objects, vocabulary.relations)


@cache
def object_names(name: str) -> tuple[str, ...]:
    """The object names of "coco" (80), "hico" (80), "objects365" (365), "open_images" (601) or "vcoco" (80).

    Raises:
        VocabularyError: another name.
    """
    if name not in OBJECT_LISTS:
        raise VocabularyError(f"unknown list of objects {name!r}; use one of {', '.join(OBJECT_LISTS)}")
    if name in LABEL_SPACES:
        return tuple(text for text in named_label_space(name).objects if text != LabelSpace.MISSING_OBJECT)
    vocabulary = load(name)
    assert isinstance(vocabulary, ObjectVocabulary)
    return vocabulary.names


@cache
def possible_combinations(label_space: LabelSpace) -> Float[np.ndarray, "r o"] | None:
    """1 where HICO-DET or V-COCO know the (relation, object), if this is their whole label space; None for any other.

    What their evaluations multiply scores with. Relations of V-COCO without object always are possible.
    """
    if label_space == named_label_space("hico"):
        hois = load("hico").hois
        valid = np.zeros((len(label_space.relations), len(label_space.objects)), np.float32)
        valid[hois[:, 0], hois[:, 1]] = 1
        return valid
    if label_space == named_label_space("vcoco"):
        valid = load("vcoco").valid_pairs
        return np.concatenate([valid, np.ones((len(valid), 1), np.float32)], axis=1)
    return None
