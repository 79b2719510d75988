"""Class names, interaction tables and splits of the datasets, kept as JSON next to this file.

`load("hico")` gives a `HICOVocabulary`, `load("vcoco")` a `VCOCOVocabulary`, `load("coco")` and
`load("objects365")` an `ObjectVocabulary`, `load("open_images")` an `OpenImagesVocabulary`; a path to a file of the
same format gives whichever it holds. `named_label_space("hico")` gives what a model is asked for.
"""

from rlipv2.vocabularies.coco import ObjectVocabulary
from rlipv2.vocabularies.files import VocabularyError
from rlipv2.vocabularies.hico import ZERO_SHOT_SETTINGS, HICOVocabulary
from rlipv2.vocabularies.label_spaces import (
    label_space_names,
    named_label_space,
    object_names,
    possible_combinations,
)
from rlipv2.vocabularies.named import load
from rlipv2.vocabularies.open_images import OpenImagesVocabulary
from rlipv2.vocabularies.vcoco import VCOCOVocabulary

__all__ = [
    "ZERO_SHOT_SETTINGS",
    "HICOVocabulary",
    "ObjectVocabulary",
    "OpenImagesVocabulary",
    "VCOCOVocabulary",
    "VocabularyError",
    "label_space_names",
    "load",
    "named_label_space",
    "object_names",
    "possible_combinations",
]
