"""The vocabularies that come with the package, by name."""

from pathlib import Path
from typing import Literal, overload

from rlipv2.vocabularies.coco import ObjectVocabulary
from rlipv2.vocabularies.files import VocabularyError, read_vocabulary
from rlipv2.vocabularies.hico import HICOVocabulary
from rlipv2.vocabularies.open_images import OpenImagesVocabulary
from rlipv2.vocabularies.vcoco import VCOCOVocabulary

FILES = {
    "hico": "hico_det.json",
    "coco": "coco.json",
    "objects365": "objects365.json",
    "vcoco": "vcoco.json",
    "open_images": "open_images.json",
}


@overload
def load(name: Literal["hico"], *, prompt: str = "raw", object_prompt: str = "raw") -> HICOVocabulary: ...
@overload
def load(name: Literal["vcoco"], *, prompt: str = "raw", object_prompt: str = "raw") -> VCOCOVocabulary: ...
@overload
def load(
    name: Literal["coco", "objects365"], *, prompt: str = "raw", object_prompt: str = "raw"
) -> ObjectVocabulary: ...
@overload
def load(name: Literal["open_images"], *, prompt: str = "raw", object_prompt: str = "raw") -> OpenImagesVocabulary: ...
@overload
def load(
    name: str | Path, *, prompt: str = "raw", object_prompt: str = "raw"
) -> HICOVocabulary | ObjectVocabulary | OpenImagesVocabulary | VCOCOVocabulary: ...


def load(
    name: str | Path, *, prompt: str = "raw", object_prompt: str = "raw"
) -> HICOVocabulary | ObjectVocabulary | OpenImagesVocabulary | VCOCOVocabulary:
    """The vocabulary `name`: "hico", "vcoco", "coco", "objects365", "open_images" or the path of a file.

    Args:
        name: a name of the list above, or a path that ends in `.json`, of a file in the format rlipv2-vocab/1.
        prompt: how a relation is worded for the text encoder. "raw" is the base form that RLIPv2 was
            trained with ("sit on"), "ing" the participle ("sitting on"); anything with `{raw}` or `{ing}`
            in it is a template ("a person {ing} something").
        object_prompt: "raw" or a template with `{raw}` ("a photo of a {raw}"); objects have no `{ing}`.

    Raises:
        VocabularyError: unknown name, other format, or entries that contradict each other.
        ValueError: a prompt that is neither a name nor a template, or that words two classes alike.
    """
    path = Path(name)
    if path.suffix != ".json":
        if str(name) not in FILES:
            raise VocabularyError(f"unknown vocabulary {str(name)!r}; use one of {sorted(FILES)} or a path to a .json")
        path = Path(__file__).parent / FILES[str(name)]
    content = read_vocabulary(path)
    if content.get("dataset") in ("coco", "objects365_v2"):
        return ObjectVocabulary.from_content(content, path, object_prompt=object_prompt)
    if content.get("dataset") == "open_images_v6_sgg":
        return OpenImagesVocabulary.from_content(content, path)
    if content.get("dataset") == "vcoco":
        return VCOCOVocabulary.from_content(content, path, prompt=prompt, object_prompt=object_prompt)
    return HICOVocabulary.from_content(content, path, prompt=prompt, object_prompt=object_prompt)
