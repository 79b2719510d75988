"""Where the files of Open Images v6 (scene graphs) are, and its class names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.files import read_json

Split = Literal["train", "val", "test"]
Kind = Literal["vrd", "rlipv2"]
Annotations = Literal["auto", "vrd", "rlipv2"]

FOLDER = "open_image_v6"
OTHER_FOLDERS = ("open_images", "open-imagev6")
README = "data/open_image_v6/README.md"
SPLITS: tuple[Split, ...] = ("train", "val", "test")
# in the order in which annotations="auto" looks for them
ANNOTATION_FILES: dict[Kind, dict[Split, str]] = {
    "vrd": {split: f"annotations/vrd-{split}-anno.json" for split in SPLITS},
    "rlipv2": {"train": "annotations/OI_SGG_train_finetuning.json", "test": "annotations/OI_SGG_test.json"},
}
# the files that together show every object class of the benchmark
ALL_SPLITS: dict[Kind, tuple[str, ...]] = {
    "vrd": tuple(ANNOTATION_FILES["vrd"].values()),
    "rlipv2": ("annotations/OI_SGG_trainval_finetuning.json", "annotations/OI_SGG_test.json"),
}
CATEGORIES = "annotations/categories_dict.json"
OCCURRING_CATEGORIES = "annotations/OI_SGG_trainval_test_categories_dict.json"


@dataclass(frozen=True)
class Categories:
    """Names in the order of the ids in the annotation files, which count from 0."""

    path: Path
    objects: tuple[str, ...]
    relations: tuple[str, ...]


def find_root(root: str | Path) -> Path:
    """The folder of the dataset: `root` itself, or `open_image_v6` in it.

    Raises:
        DatasetNotFoundError: neither has an annotation folder; the message shows the layout.
    """
    root = Path(root).expanduser()
    for folder in (root, *(root / name for name in (FOLDER, *OTHER_FOLDERS))):
        if (folder / CATEGORIES).is_file():
            return folder
    expected = root if root.name in (FOLDER, *OTHER_FOLDERS) else root / FOLDER
    raise DatasetNotFoundError(
        f"{root}: Open Images v6 (scene graphs) not found. Nothing is downloaded here; there must be\n"
        f"  {expected}/images/*.jpg\n"
        f"  {expected}/{CATEGORIES}\n"
        f"  {expected}/annotations/vrd-train-anno.json, vrd-val-anno.json, vrd-test-anno.json\n"
        f"see {README}"
    )


def find_kind(root: Path, split: Split, annotations: Annotations = "auto") -> Kind:
    """Which of the two annotation formats a split is read from.

    Raises:
        DatasetNotFoundError: there is no such file; the message lists what was looked for.
        ValueError: neither "auto" nor a format.
    """
    if annotations != "auto" and annotations not in ANNOTATION_FILES:
        known = ", ".join(map(repr, ("auto", *ANNOTATION_FILES)))
        raise ValueError(f"annotations={annotations!r}: expected one of {known}")
    kinds: list[Kind] = [kind for kind in ANNOTATION_FILES if annotations in ("auto", kind)]
    looked = [root / ANNOTATION_FILES[kind][split] for kind in kinds if split in ANNOTATION_FILES[kind]]
    for kind in kinds:
        if split in ANNOTATION_FILES[kind] and (root / ANNOTATION_FILES[kind][split]).is_file():
            return kind
    listed = "\n  ".join(map(str, looked)) or f"nothing: the format {annotations!r} has no such file"
    raise DatasetNotFoundError(f"{root}: no annotations of the {split} split. Looked for\n  {listed}\nsee {README}")


def read_categories(path: Path) -> Categories:
    """The class names in `categories_dict.json` or a file like it.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: not two lists of names under "obj" and "rel", or a name comes twice.
    """
    if not path.is_file():
        raise DatasetNotFoundError.missing("file with the class names", path, f"see {README}")
    content = read_json(path)
    objects, relations = (_names(content, key, path) for key in ("obj", "rel"))
    return Categories(path, objects, relations)


def _names(content: Any, key: str, path: Path) -> tuple[str, ...]:
    names = content.get(key) if isinstance(content, dict) else None
    todo = 'expected {"obj": [names], "rel": [names]}'
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise AnnotationError.in_file(path, f"{key!r} is not a list of names", todo)
    if len(set(names)) != len(names):
        doubled = next(name for name in names if names.count(name) > 1)
        raise AnnotationError.in_file(path, f"{key!r} lists {doubled!r} twice", "every class has one name")
    return tuple(names)
