"""Scene graphs with free-form names: Visual Genome, and pseudo-labelled images in its layout."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Dataset

from rlipv2.datasets.errors import DatasetNotFoundError
from rlipv2.datasets.images import read_image
from rlipv2.datasets.scene_graphs.index import Rules, View, index_scene_graphs, view_of
from rlipv2.datasets.scene_graphs.names import NameCounts
from rlipv2.datasets.scene_graphs.reader import SceneGraphContent, limit_skipped
from rlipv2.datasets.scene_graphs.subsets import read_ids
from rlipv2.structures import Annotation, LabelSpace, RelationRecords, Sample

logger = logging.getLogger(__name__)

ANNOTATION_FILES = (
    "annotations/scene_graphs_preprocessv1.json",
    "annotations/scene_graphs_after_preprocessing.json",
)
NAME_FILES = ("annotations/vg_keep_names_v1_no_lias_freq.json",)


def find_annotations(root: str | Path, annotations: str | Path | None = None) -> Path:
    """The annotation file: the given one, looked for in `root` and then as it is, else the first of the usual names.

    Raises:
        DatasetNotFoundError: there is none; the message names the file, or shows the layout of Visual Genome.
    """
    root = Path(root).expanduser()
    names = ANNOTATION_FILES if annotations is None else (annotations,)
    places = [root / name for name in names]
    if annotations is not None:  # what another command of this project wrote, its folder of runs for example
        places.append(Path(annotations).expanduser())
    for path in places:
        if path.is_file():
            return path
    if annotations is not None:
        raise DatasetNotFoundError(
            f"{root / annotations}: scene graphs not found. Nothing is downloaded here; data/vg/README.md tells which "
            "file is which and where its images lie"
        )
    looked = " or ".join(str(root / name) for name in names)
    raise DatasetNotFoundError(
        f"{root}: no scene graphs. Nothing is downloaded here; looked for {looked}. The layout of Visual Genome is\n"
        f"  {root}/images/1.jpg ...   (both archives, VG_100K and VG_100K_2, in one folder)\n"
        f"  {root}/{ANNOTATION_FILES[0]}\n"
        "see data/vg/README.md"
    )


class SceneGraphs(Dataset[Sample]):
    """Images with boxes, free-form object names and relations, as `Sample`.

    Each sample has a label space of its own: the names of all objects of the record in order of first occurrence, also
    of those that augmentation crops away later, and likewise of the relations that are left. Boxes are clamped to the
    image; those without area go, with their relations.

    Order of the rules (official: datasets/vg.py and datasets/mixed_dataset.py): relations below the threshold go; those
    of boxes that do not overlap go, where asked for; names are counted; doubled relations go, where asked for; each
    image is cut to `max_relations`; images without relations go, where asked for.

    Args:
        root: folder of the dataset, with its images; see `paths.image_files` for their names.
        annotations: the JSON list, relative to `root` or to the working folder; by default
            `annotations/scene_graphs_preprocessv1.json` in `root`.
        image_paths: `image_id_to_filepath.json` of Objects365.
        names: `keep_names_freq` file with the counts of names; "auto" takes
            `annotations/vg_keep_names_v1_no_lias_freq.json` if `root` has it; None, and "auto" without it, count them.
        transform: applied to every sample.
        relation_threshold: least confidence of a relation; relations without a confidence (human labels) always stay.
            Published: 0.2.
        pair_overlap: keep only relations between boxes that overlap; off in every published run, and officially never
            for Visual Genome.
        max_relations: relations of an image that count; published: 200 for Visual Genome alone and for the tagger, 100
            in mixtures (`num_pairs`); None for all.
        relation_order: which relations are the first ones: "file" as in the official code, or "confidence".
        doubled_relations: "keep" as in the official code, or "drop" all but the most confident of equal triplets.
        unrelated_images: "keep" images without relations, as officially in Visual Genome alone, or "drop" them, as in
            mixtures.
        exclude_ids: images to leave out of the samples, by id or file name, or a JSON file with a list of them
            (relative to `root`). Their names stay in the counts.
        lower_case: see `read_scene_graphs`.
        max_skip_rate: share of objects, relations and images (files that are missing) that may be left out.
        index: folder of the index of the annotations, by default `.rlipv2-index` in `root`. It is built on first use
            and again when the annotations changed; see `rlipv2.datasets.store`.

    Attributes:
        names: how often each name occurs in the corpus.
        annotation_file: the file they came from.
        counts: what was read, skipped and dropped.

    Raises:
        DatasetNotFoundError: folder, annotations or images are not there.
        AnnotationError: the annotations cannot be used; names the record.
        PermissionError: the index has to be built but cannot be written.
        ValueError: an option out of range.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        annotations: str | Path | None = None,
        image_paths: str | Path | None = None,
        names: str | Path | None = "auto",
        transform: Callable[[Sample], Sample] | None = None,
        relation_threshold: float = 0.2,
        pair_overlap: bool = False,
        max_relations: int | None = 200,
        relation_order: Literal["file", "confidence"] = "file",
        doubled_relations: Literal["keep", "drop"] = "keep",
        unrelated_images: Literal["keep", "drop"] = "keep",
        exclude_ids: Sequence[int | str] | str | Path = (),
        lower_case: bool = False,
        max_skip_rate: int | float = 0.001,
        index: str | Path | None = None,
    ) -> None:
        _check("relation_order", relation_order, ("file", "confidence"))
        _check("doubled_relations", doubled_relations, ("keep", "drop"))
        _check("unrelated_images", unrelated_images, ("keep", "drop"))
        if max_relations is not None and max_relations < 1:
            raise ValueError(f"max_relations={max_relations}: expected at least 1, or None for all")
        self.root = Path(root).expanduser()
        self.transform = transform
        self.annotation_file = find_annotations(self.root, annotations)
        ids = read_ids(self.root / exclude_ids) if isinstance(exclude_ids, str | Path) else exclude_ids
        store = index_scene_graphs(
            self.root,
            self.annotation_file,
            image_paths=None if image_paths is None else self.root / image_paths,
            lower_case=lower_case,
            index=index,
        )
        limit_skipped(self.annotation_file, store.content["skipped"], store.content["totals"], max_skip_rate)
        rules = Rules(
            relation_threshold=relation_threshold,
            pair_overlap=pair_overlap,
            max_relations=max_relations,
            relation_order=relation_order,
            doubled_relations=doubled_relations,
            unrelated_images=unrelated_images,
            exclude_ids=tuple(ids),
        )
        self._rows: Int[np.ndarray, " i"] | None = None
        self._view = view_of(store, self.root, rules)
        self.counts: dict[str, int] = {
            "images in file": len(store.tables["images"]["image_ids"]),
            **store.content["skipped"],
            **self._view.counts,
        }
        self.names = self._names(names)
        self._limit_missing_images(max_skip_rate)
        self.counts |= {
            "images": len(self),
            "boxes": len(self.records.boxes),
            "relations": len(self.records.relations),
            "object names": len(self.names.objects),
            "relation names": len(self.names.relations),
        }
        described = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        logger.info("scene graphs from %s: %s", self.annotation_file, described)

    @property
    def content(self) -> SceneGraphContent:
        """The annotations in flat arrays, after all rules but the clamping; memory-mapped but for those of a part."""
        return self._view.content if self._rows is None else self._part

    @cached_property
    def _part(self) -> SceneGraphContent:
        assert self._rows is not None
        return self._view.content.select(self._rows)

    @property
    def records(self) -> RelationRecords:
        """Boxes and relations; labels are rows of `content.objects` and `content.relations`."""
        return self.content.records

    @property
    def related(self) -> Bool[np.ndarray, " i"]:
        """True for images with relations."""
        related = np.diff(self._view.content.records.relation_ptr) > 0
        return related if self._rows is None else related[self._rows]

    @property
    def image_ids(self) -> Int[np.ndarray, " i"]:
        """The id of every image, see `SceneGraphContent`."""
        ids = self._view.content.records.image_ids
        return ids if self._rows is None else ids[self._rows]

    def __getstate__(self) -> dict[str, Any]:
        # loader workers that are not forked open the files again instead of getting a copy of what is in them
        state = {name: value for name, value in self.__dict__.items() if name != "_part"}
        return state | {"_view": (self._view.folder, self._view.digest)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_view": View.open(*state["_view"])}

    def __len__(self) -> int:
        return len(self._view.content.records) if self._rows is None else len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        annotation = self.annotation(index)
        image = read_image(self.root / annotation.file_name)
        height, width = image.shape[1:]
        annotation, label_space = self._with_own_names(annotation)
        annotation = annotation.clipped(height, width)
        sample = Sample(image, annotation, label_space, (height, width))
        return sample if self.transform is None else self.transform(sample)

    def annotation(self, index: int) -> Annotation:
        """Boxes and relations of an image, without reading the image."""
        row = range(len(self))[index]
        return self._view.content.records[row if self._rows is None else int(self._rows[row])]

    def select(self, images: Int[np.ndarray, " k"]) -> "SceneGraphs":
        """The same dataset with only the images at these positions, in file order."""
        images = np.unique(np.asarray(images, np.int64))
        other = object.__new__(type(self))  # copy.copy would open the files again
        other.__dict__ |= {name: value for name, value in self.__dict__.items() if name != "_part"}
        other._rows = images if self._rows is None else self._rows[images]
        return other

    def _with_own_names(self, annotation: Annotation) -> tuple[Annotation, LabelSpace]:
        """Labels that count in the names of the record, in order of first occurrence."""
        objects, labels = _renumbered(annotation.labels)
        relations, predicates = _renumbered(annotation.relations[:, 2])
        space = LabelSpace(
            objects=tuple(self._view.content.objects[row] for row in objects),
            relations=tuple(self._view.content.relations[row] for row in relations),
        )
        triplets = torch.cat([annotation.relations[:, :2], predicates[:, None]], dim=1)
        return dataclasses.replace(annotation, labels=labels, relations=triplets), space

    def _names(self, names: str | Path | None) -> NameCounts:
        candidates = NAME_FILES if names == "auto" else () if names is None else (names,)
        for path in (self.root / name for name in candidates):
            if names != "auto" or path.is_file():
                return NameCounts.read(path)
        return self._view.names

    def _limit_missing_images(self, max_skip_rate: int | float) -> None:
        missing, first = self._view.missing
        if not missing:
            return
        total = len(self) + missing
        shown = f"({', '.join(first[:5])}{', ...' if missing > 5 else ''})"
        if missing > max_skip_rate * total:
            raise DatasetNotFoundError(
                f"{self.root}: {missing:,} of {total:,} images are missing {shown}, more than the share "
                f"max_skip_rate={max_skip_rate} that may be left out; unpack the image archives fully, then run "
                f"`python -m rlipv2.datasets check vg {self.root}`"
            )
        logger.warning("%s: %d images are missing and left out %s", self.root, missing, shown)
        self.counts["missing images dropped"] = missing


def _renumbered(labels: Int[Tensor, " n"]) -> tuple[list[int], Int[Tensor, " n"]]:
    """The distinct labels in order of first occurrence, and the position of each label among them."""
    distinct = list(dict.fromkeys(labels.tolist()))
    rows = {label: row for row, label in enumerate(distinct)}
    return distinct, torch.tensor([rows[label] for label in labels.tolist()], dtype=torch.int64)


def _check(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r}: expected one of {tuple(choices)}")
