"""V-COCO: people in images of COCO, 26 actions with up to two roles, objects that may be missing."""

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch.utils.data import Dataset

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.images import read_image
from rlipv2.datasets.records import first_boxes, require_images
from rlipv2.datasets.vcoco.content import UNKNOWN_PEOPLE, VCOCOContent
from rlipv2.datasets.vcoco.source import IMAGE_FOLDERS, README, Split, find_release, find_root, find_source
from rlipv2.structures import LabelSpace, Sample
from rlipv2.vocabularies import VCOCOVocabulary, load

logger = logging.getLogger(__name__)

VALIDITY_FILE = "annotations/corre_vcoco.npy"


class VCOCO(Dataset[Sample]):
    """Images of V-COCO with their boxes and actions, as `Sample`.

    Relations are rows (person, object, verb); the object is -1 where an action has no role or nothing fills it.
    Evaluation gives the records untouched. Training follows the official reader (datasets/vcoco.py): no image is
    left out, the first `max_boxes` boxes count, boxes are clamped to the image and those without area are
    dropped with their relations. Everything left out is counted in `counts` and logged.

    Boxes are all annotations of COCO, those of crowds too. Labels are real ones: a subject is a person, class 0.
    Published training sets every subject to class 1 in its targets instead; that is a choice of the collate
    function, not of the dataset.

    Args:
        root: folder `v-coco`, or the one that holds it.
        split: "train", "val", "trainval" (images of COCO's train2014) or "test" (val2014).
        annotations: "auto" takes the first that exists of "hoia" and "release"; or one of these; or the path of a
            HOIA list. Both give the same records.
        transform: applied to every sample.
        training: follow the rules of training; by default for all splits but "test".
        max_boxes: boxes of an image that count in training, in file order; `None` for all. Official: the number of
            queries, 200.
        vocabulary: other prompts than those of `vocabularies.load("vcoco")`.

    Attributes:
        records: the annotations in flat arrays, after all of the above but the clamping.
        source: the files they came from.
        counts: what was read and dropped.

    Raises:
        DatasetNotFoundError: folder, annotations or images are not there.
        AnnotationError: the annotations cannot be used; names the record.
        ValueError: options out of range.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "trainval",
        *,
        annotations: str | Path = "auto",
        transform: Callable[[Sample], Sample] | None = None,
        training: bool | None = None,
        max_boxes: int | None = 200,
        vocabulary: VCOCOVocabulary | None = None,
    ) -> None:
        if split not in IMAGE_FOLDERS:
            raise ValueError(f"split={split!r}: expected one of {sorted(IMAGE_FOLDERS)}")
        self.root = find_root(root)
        self.split: Split = split
        self.training = split != "test" if training is None else training
        self.transform = transform
        self.vocabulary = vocabulary or load("vcoco")
        self.image_folder = self.root / IMAGE_FOLDERS[split]
        self.source = find_source(self.root, split, annotations)
        self._content = self.source.read(self.vocabulary)
        records = self._content.to_records(self.vocabulary)
        self.counts = {"images": len(records)}
        if self.training and max_boxes is not None:
            cut = first_boxes(records, max_boxes)
            self.counts["relations beyond max_boxes dropped"] = len(records.relations) - len(cut.relations)
            records = cut
        self.records = records
        require_images(
            self.image_folder,
            records.file_names,
            readme=README,
            check=f"python -m rlipv2.datasets check vcoco {self.root}",
            todo="these are images of COCO 2014, put or link them there",
        )
        self.counts |= {
            "boxes": len(records.boxes),
            "relations": len(records.relations),
            "of them without object": int((records.relations[:, 1] < 0).sum()),
        }
        described = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        logger.info("V-COCO %s from %s: %s", split, self.source.files[0], described)

    @property
    def label_space(self) -> LabelSpace:
        """The words that labels and relations count in."""
        return self.vocabulary.label_space

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        annotation = self.records[range(len(self))[index]]
        image = read_image(self.image_folder / annotation.file_name)
        height, width = image.shape[1:]
        if self.training:
            annotation = annotation.clipped(height, width)
        sample = Sample(image, annotation, self.label_space, (height, width))
        return sample if self.transform is None else self.transform(sample)

    @cached_property
    def ground_truth(self) -> dict[str, np.ndarray]:
        """What the role AP counts against, see `read_ground_truth`."""
        return read_ground_truth(self._content, self.root, self.split, self.vocabulary)


def read_ground_truth(
    content: VCOCOContent, root: Path, split: Split, vocabulary: VCOCOVocabulary
) -> dict[str, np.ndarray]:
    """What the role AP counts against, see `VCOCOContent.ground_truth`.

    A HOIA list that does not tell which people were annotated is completed from the release beside it.

    Raises:
        DatasetNotFoundError: nothing tells which people were annotated.
        AnnotationError: a file cannot be used, or list and release hold other images.
    """
    if content.instances is not None:
        return content.ground_truth(vocabulary)
    try:
        source = find_release(root, split)
    except DatasetNotFoundError as error:
        raise DatasetNotFoundError(f"{content.path}: {UNKNOWN_PEOPLE}\n{error}") from None
    logger.info("V-COCO %s: the annotated people come from %s", split, source.files[0])
    release = source.read(vocabulary)
    differing = sorted({*content.image_ids.tolist()} ^ {*release.image_ids.tolist()})
    if differing:
        raise AnnotationError.in_file(
            content.path,
            f"holds other images than {release.path} ({len(differing):,} differ, the first is {differing[0]})",
            "both must be of the same split",
        )
    return release.ground_truth(vocabulary)


def read_validity(root: Path, vocabulary: VCOCOVocabulary) -> Float[np.ndarray, "r o"]:
    """Which (verb, object) may be predicted: `annotations/corre_vcoco.npy` where it exists, else what training shows.

    Official: the file, made from the priors of VSGNet. Without it `VCOCOVocabulary.valid_pairs`, which changes the
    figures a little. Without a column for "missing objects", which every verb allows.

    Raises:
        AnnotationError: the file is no such table.
    """
    path = root / VALIDITY_FILE
    if not path.is_file():
        return vocabulary.valid_pairs
    try:
        table = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise AnnotationError.in_file(path, f"not a NumPy array ({error})", "remove it to do without") from None
    shape = (len(vocabulary.verbs), len(vocabulary.coco_ids))
    if table.shape != shape or table.dtype.kind not in "fiub" or not np.isfinite(table).all() or (table < 0).any():
        wrong = f"shape {table.shape}, type {table.dtype}"
        raise AnnotationError.in_file(path, wrong, f"expected {shape} numbers from 0, or remove it to do without")
    logger.info("V-COCO: %s tells which verbs and objects go together", path)
    return table.astype(np.float32)
