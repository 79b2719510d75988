"""Where the parts of V-COCO lie, and which of two annotation formats is read."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlipv2.datasets.errors import DatasetNotFoundError
from rlipv2.datasets.vcoco.content import VCOCOContent
from rlipv2.datasets.vcoco.readers import hoia, release
from rlipv2.vocabularies import VCOCOVocabulary

logger = logging.getLogger(__name__)

Kind = Literal["hoia", "release"]
Split = Literal["train", "val", "trainval", "test"]

FOLDER = "v-coco"
README = f"data/{FOLDER}/README.md"
# all images of V-COCO are of COCO 2014: those of train, val and trainval from its training half
IMAGE_FOLDERS = {
    "train": "images/train2014",
    "val": "images/train2014",
    "trainval": "images/train2014",
    "test": "images/val2014",
}
HOIA_FILES = {"trainval": "annotations/trainval_vcoco.json", "test": "annotations/test_vcoco.json"}
ACTION_FILES = {
    "train": (("train",),),
    "val": (("val",),),
    "trainval": (("trainval",), ("train", "val")),
    "test": (("test",),),
}
# the first file that exists is read: the small extract of the release's own script before the two halves of COCO
INSTANCES = ("data/instances_vcoco_all_2014.json", "annotations/instances_vcoco_all_2014.json")
COCO_INSTANCES = {
    "train": "annotations/instances_train2014.json",
    "val": "annotations/instances_train2014.json",
    "trainval": "annotations/instances_train2014.json",
    "test": "annotations/instances_val2014.json",
}


@dataclass(frozen=True)
class Source:
    """The annotation files of one split.

    Attributes:
        kind: "hoia" or "release".
        files: the HOIA list, or the action files.
        instances: COCO's annotations, for the release.
        ids: list of the split's images in the release, None where it is not there.
    """

    kind: Kind
    files: tuple[Path, ...]
    instances: tuple[Path, ...] = ()
    ids: Path | None = None

    def read(self, vocabulary: VCOCOVocabulary) -> VCOCOContent:
        """The content of the files, see `readers`."""
        if self.kind == "hoia":
            return hoia.read(self.files[0], vocabulary)
        return release.read(self.files, self.instances, self.ids, vocabulary)


def find_root(root: str | Path) -> Path:
    """The folder `v-coco`: `root` itself, or the folder of that name in it.

    Raises:
        DatasetNotFoundError: neither has an image folder; the message shows the layout.
    """
    root = Path(root).expanduser()
    for folder in (root, root / FOLDER):
        if (folder / "images").is_dir():
            return folder
    expected = root if root.name == FOLDER else root / FOLDER
    raise DatasetNotFoundError(
        f"{root}: V-COCO not found. Nothing is downloaded here; put the images of COCO 2014 (or links to them) into\n"
        f"  {expected}/images/train2014/*.jpg and {expected}/images/val2014/*.jpg\n"
        f"and one of these\n"
        f"  {expected}/data/vcoco/vcoco_trainval.json and vcoco_test.json   (s-gupta/v-coco), with\n"
        f"  {expected}/annotations/instances_train2014.json and instances_val2014.json   (COCO 2014)\n"
        f"  {expected}/annotations/trainval_vcoco.json and test_vcoco.json   (HOIA lists)\n"
        f"see {README}"
    )


def find_source(root: Path, split: Split, annotations: str | Path = "auto") -> Source:
    """The annotation files of a split: by kind, by the path of a HOIA list, or with "auto" hoia before release.

    Raises:
        DatasetNotFoundError: there are none; the message lists what was looked for.
        ValueError: neither a kind nor a path.
    """
    if annotations not in ("auto", "hoia", "release"):
        if Path(annotations).suffix != ".json":
            raise ValueError(
                f"annotations={str(annotations)!r}: expected 'auto', 'hoia', 'release', or the path of a HOIA list"
            )
        return Source("hoia", (Path(annotations),))
    listed = root / HOIA_FILES[split] if split in HOIA_FILES else None
    if annotations in ("auto", "hoia") and listed is not None and listed.is_file():
        return Source("hoia", (listed,))
    if annotations in ("auto", "release"):
        return find_release(root, split, also=listed if annotations == "auto" else None)
    looked = f"\n  {listed}" if listed else f" nothing: such lists exist for {' and '.join(HOIA_FILES)} only"
    raise DatasetNotFoundError(f"{root}: no HOIA list of the {split} split. Looked for{looked}\nsee {README}")


def find_release(root: Path, split: Split, *, also: Path | None = None) -> Source:
    """The files of the original release for a split; `also` was looked for before.

    Raises:
        DatasetNotFoundError: the action files or COCO's instances are missing; names them.
    """
    folder = root / "data" / "vcoco"
    choices = [tuple(folder / f"vcoco_{name}.json" for name in names) for names in ACTION_FILES[split]]
    files = next((choice for choice in choices if all(path.is_file() for path in choice)), None)
    if files is None:
        looked = "\n  ".join([*([str(also)] if also else []), *(" and ".join(map(str, choice)) for choice in choices)])
        raise DatasetNotFoundError(f"{root}: no annotations of the {split} split. Looked for\n  {looked}\nsee {README}")
    places = [root / name for name in (*INSTANCES, COCO_INSTANCES[split])]
    instances = next((path for path in places if path.is_file()), None)
    if instances is None:
        looked = "\n  ".join(map(str, places))
        raise DatasetNotFoundError(
            f"{root}: the action files of V-COCO need COCO's instance annotations of 2014 (not 2017). Looked for\n"
            f"  {looked}\nsee {README}"
        )
    ids = root / "data" / "splits" / f"vcoco_{split}.ids"
    return Source("release", files, (instances,), ids if ids.is_file() else None)
