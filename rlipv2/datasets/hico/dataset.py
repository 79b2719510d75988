"""HICO-DET: human-object interactions, 80 objects, 117 verbs, 600 combinations of both."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from torch.utils.data import Dataset

from rlipv2.datasets.errors import DatasetNotFoundError
from rlipv2.datasets.hico.readers import Kind, Shift, Split, read_annotations
from rlipv2.datasets.hico.subsets import add_relation_noise, drop_unseen, few_shot
from rlipv2.datasets.images import read_image
from rlipv2.datasets.records import drop_broken, first_boxes, require_images
from rlipv2.structures import LabelSpace, RelationRecords, Sample
from rlipv2.vocabularies import HICOVocabulary, load

logger = logging.getLogger(__name__)

FOLDER = "hico_20160224_det"
IMAGE_FOLDERS = {"train": "images/train2015", "test": "images/test2015"}
# in the order in which annotations="auto" looks for them
ANNOTATION_FILES: dict[Kind, dict[Split, tuple[str, ...]]] = {
    "ppdm": {"train": ("annotations/trainval_hico.json",), "test": ("annotations/test_hico.json",)},
    "hicodet_json": {
        "train": ("instances_train2015.json", "annotations/instances_train2015.json"),
        "test": ("instances_test2015.json", "annotations/instances_test2015.json"),
    },
    "mat": {
        "train": ("anno_bbox.mat", "annotations/anno_bbox.mat"),
        "test": ("anno_bbox.mat", "annotations/anno_bbox.mat"),
    },
}


def find_root(root: str | Path) -> Path:
    """The folder `hico_20160224_det`: `root` itself, or the folder of that name in it.

    Raises:
        DatasetNotFoundError: neither has an image folder; the message shows the layout.
    """
    root = Path(root).expanduser()
    for folder in (root, root / FOLDER):
        if (folder / "images").is_dir():
            return folder
    expected = root if root.name == FOLDER else root / FOLDER
    raise DatasetNotFoundError(
        f"{root}: HICO-DET not found. Nothing is downloaded here; unpack hico_20160224_det.tar.gz so that there are\n"
        f"  {expected}/images/train2015/*.jpg and {expected}/images/test2015/*.jpg\n"
        f"and one of these (published results are measured with the first; the last is part of the archive)\n"
        f"  {expected}/annotations/trainval_hico.json and test_hico.json   (PPDM)\n"
        f"  {expected}/instances_train2015.json and instances_test2015.json   (fredzzhang/hicodet)\n"
        f"  {expected}/anno_bbox.mat   (the original release)\n"
        f"see data/{FOLDER}/README.md"
    )


def find_annotations(root: Path, split: Split, annotations: str | Path = "auto") -> Path:
    """The annotation file of a split: by kind, by path, or with "auto" the first of ppdm, hicodet_json, mat.

    Raises:
        DatasetNotFoundError: there is none; the message lists what was looked for.
        ValueError: neither a kind nor a path.
    """
    if annotations != "auto" and annotations not in ANNOTATION_FILES:
        if Path(annotations).suffix not in (".json", ".mat"):
            known = ", ".join(map(repr, ("auto", *ANNOTATION_FILES)))
            raise ValueError(f"annotations={str(annotations)!r}: expected one of {known}, or the path of a file")
        return Path(annotations)
    kinds: Sequence[Kind] = [kind for kind in ANNOTATION_FILES if annotations in ("auto", kind)]
    candidates = [root / name for kind in kinds for name in ANNOTATION_FILES[kind][split]]
    found = [path for path in candidates if path.is_file()]
    if not found:
        looked = "\n  ".join(map(str, candidates))
        raise DatasetNotFoundError(
            f"{root}: no annotations of the {split} split. Looked for\n  {looked}\nsee data/{FOLDER}/README.md"
        )
    if len(found) > 1:
        logger.info("HICO-DET %s: %s is used, %s is not", split, found[0], ", ".join(map(str, found[1:])))
    return found[0]


class HICODet(Dataset[Sample]):
    """Images of HICO-DET with their boxes and interactions, as `Sample`.

    Evaluation (split "test") gives the records untouched. Training follows the official reader
    (datasets/hico/dataset.py): an image with a relation to a box that does not exist is left out altogether,
    images without relations stay, the first `max_boxes` boxes count, boxes are clamped to the image
    and those without area are dropped with their relations. Everything left out is counted in `counts`
    and logged.

    Relations are rows (subject box, object box, verb). Labels are real ones: a subject is a person,
    class 0. Published training sets every subject to class 1 in its targets instead; that is a choice
    of the collate function, not of the dataset.

    Args:
        root: folder `hico_20160224_det`, or the one that holds it.
        split: "train" or "test".
        annotations: "auto" takes the first that exists of "ppdm", "hicodet_json", "mat"; or one of
            these; or the path of a file, whose kind is told from its content.
        transform: applied to every sample.
        training: follow the rules of training; by default only for the split "train".
        max_boxes: boxes of an image that count in training, in file order; `None` for all. Official:
            the number of queries, 200, but 128 for full fine-tuning and unseen combinations.
        max_skip_rate: share of the images in the file that training may leave out for a relation to a
            missing box; more is an error. With 0.001, fewer than 1,000 images may lose none.
        shift: see `read_annotations`; without effect on PPDM files.
        merge_iou: see `read_annotations`; without effect on PPDM files.
        zero_shot: "uc_rf", "uc_nf", "uo" or "uv" drops the relations that this setting leaves unseen.
        few_shot_percent: 1 or 10 keeps so many percent of the images.
        few_shot_file: the published list; by default `annotations/trainval_hico_<p>percent.json` if it
            exists, else the subset is drawn from `few_shot_seed`.
        few_shot_seed: seed of the draw.
        cache_dir: where a drawn subset is stored; by default the folder `cache` in `root`.
        relation_noise: probability with which a verb is replaced by another one; not together with
            `few_shot_percent` or `zero_shot` (official: files of the full data only).
        noise_seed: seed of the replacement.
        vocabulary: other names or prompts than those of `vocabularies.load("hico")`.

    Attributes:
        records: the annotations in flat arrays, after all of the above but the clamping.
        annotation_file: the file they came from.
        counts: what was read, skipped and dropped.

    Raises:
        DatasetNotFoundError: folder, annotations or images are not there.
        AnnotationError: the annotations cannot be used, or more images than `max_skip_rate` allows would
            be left out; names the record.
        ValueError: options out of range or that do not go together.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        *,
        annotations: str | Path = "auto",
        transform: Callable[[Sample], Sample] | None = None,
        training: bool | None = None,
        max_boxes: int | None = 200,
        max_skip_rate: int | float = 0.001,
        shift: Shift = "ppdm",
        merge_iou: int | float | Literal["ppdm"] | None = "ppdm",
        zero_shot: str | None = None,
        few_shot_percent: int | float | None = None,
        few_shot_file: str | Path | None = None,
        few_shot_seed: int = 42,
        cache_dir: str | Path | None = None,
        relation_noise: int | float = 0.0,
        noise_seed: int = 42,
        vocabulary: HICOVocabulary | None = None,
    ) -> None:
        if split not in IMAGE_FOLDERS:
            raise ValueError(f"split={split!r}: expected 'train' or 'test'")
        if split == "test" and (few_shot_percent is not None or zero_shot is not None or relation_noise):
            raise ValueError(
                "few_shot_percent, zero_shot and relation_noise change training only; test is always whole"
            )
        if relation_noise and (few_shot_percent is not None or zero_shot is not None):
            raise ValueError(
                f"relation_noise={relation_noise} with few_shot_percent={few_shot_percent}, zero_shot={zero_shot!r}: "
                "noise is defined on the full training data only; leave out one of them"
            )
        if not 0 <= max_skip_rate <= 1:
            raise ValueError(f"max_skip_rate={max_skip_rate}: expected a share of the images, 0 to 1")
        if few_shot_file is not None and few_shot_percent is None:
            raise ValueError("few_shot_file is given without few_shot_percent")
        self.root = find_root(root)
        self.split = split
        self.training = split == "train" if training is None else training
        self.transform = transform
        self.vocabulary = vocabulary or load("hico")
        self.image_folder = self.root / IMAGE_FOLDERS[split]
        self.annotation_file = find_annotations(self.root, split, annotations)
        self.counts: dict[str, int] = {}
        records = read_annotations(
            self.annotation_file, split, shift=shift, merge_iou=merge_iou, vocabulary=self.vocabulary
        )
        self.counts["images in file"] = len(records)
        records = self._drop_broken(records, max_skip_rate)
        if few_shot_percent is not None:
            cache = self.root / "cache" if cache_dir is None else Path(cache_dir)
            records = self._few_shot(
                records, few_shot_percent, seed=few_shot_seed, published=few_shot_file, cache=cache
            )
        if zero_shot is not None:
            seen = drop_unseen(records, self.vocabulary, zero_shot)
            records = self._count("relations of unseen interactions", seen, records)
        if relation_noise:
            num_relations = len(self.vocabulary.verbs)
            records = add_relation_noise(records, relation_noise, num_relations, seed=noise_seed)
        if self.training and max_boxes is not None:
            records = self._count("relations beyond max_boxes", first_boxes(records, max_boxes), records)
        self.records = records
        check = f"python -m rlipv2.datasets check hico {self.root}"
        require_images(self.image_folder, records.file_names, readme=f"data/{FOLDER}/README.md", check=check)
        self.counts |= {"images": len(records), "boxes": len(records.boxes), "relations": len(records.relations)}
        described = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        logger.info("HICO-DET %s from %s: %s", split, self.annotation_file, described)

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

    def _drop_broken(self, records: RelationRecords, max_skip_rate: int | float) -> RelationRecords:
        kept = drop_broken(
            records,
            self.annotation_file,
            training=self.training,
            max_skip_rate=max_skip_rate,
            field="hoi_annotation",
        )
        if len(kept) < len(records):
            self.counts["images skipped for a relation to a missing box"] = len(records) - len(kept)
        return kept

    def _few_shot(
        self, records: RelationRecords, percent: int | float, *, seed: int, published: str | Path | None, cache: Path
    ) -> RelationRecords:
        """The few-shot subset: the given list, else the published file where there is one, else drawn from the seed."""
        usual = self.root / "annotations" / f"trainval_hico_{percent:g}percent.json"
        if published is None and usual.is_file():
            published = usual
        return few_shot(
            records,
            percent,
            seed=seed,
            published=None if published is None else Path(published),
            stored=cache / f"hico_fewshot_{percent:g}pct_seed{seed}.json",
        )

    def _count(self, what: str, records: RelationRecords, before: RelationRecords) -> RelationRecords:
        self.counts[f"{what} dropped"] = len(before.relations) - len(records.relations)
        return records
