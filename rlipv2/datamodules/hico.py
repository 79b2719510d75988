"""HICO-DET: which images train and evaluate in the full, few-shot and zero-shot regimes."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int
from torch.utils.data import Dataset

from rlipv2.datamodules.base import RelationDataModule
from rlipv2.datamodules.resumable import RelabelledDataset
from rlipv2.datasets.hico.dataset import HICODet, find_annotations, find_root
from rlipv2.datasets.hico.readers import Shift
from rlipv2.datasets.hico.subsets import relation_hois
from rlipv2.structures import LabelSpace, RelationRecords, Sample
from rlipv2.vocabularies import HICOVocabulary, load

RARE_BELOW = 10
"""An interaction with fewer training instances is rare (HICO-DET's own definition)."""


class HICODetDataModule(RelationDataModule):
    """Trains on `train2015` (or a part of it), evaluates on `test2015`, as the official code does every epoch.

    Args:
        root: folder `hico_20160224_det`, or the one that holds it.
        annotations: "auto", "ppdm", "hicodet_json", "mat" or a path (see `HICODet`).
        num_pairs: pairs the model predicts: only the first 2 * num_pairs boxes of a training image count
            (official: as many boxes as queries, which are two per pair); None for all boxes.
        shift: 1-based boxes of the latter two kinds, see `read_annotations`.
        merge_iou: doubled boxes of the latter two kinds, see `read_annotations`.
        max_skip_rate: share of the training images that may be left out (see `HICODet`).
        zero_shot: "uc_rf", "uc_nf", "uo" or "uv" hides these interactions in training and reports them
            as unseen; None for all.
        few_shot_percent: percent of the training images, None for all.
        few_shot_file: published list of these images (see `HICODet`).
        few_shot_seed: seed where the list is drawn anew.
        relation_noise: part of the training relations replaced at random; full training data only.
        label_space: "vocabulary" asks for all 80 objects and 117 relations, "occurring" only for those
            that train or test images show (the micro-world).
        rare: which interactions count as rare: those of the "vocabulary" (HICO-DET's official 138), or
            those with fewer than 10 instances in all "training" images of this root (the micro-world).
        loading: arguments of `RelationDataModule`.

    Raises:
        DatasetNotFoundError: from `setup`, if the dataset is not there.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        annotations: str | Path = "auto",
        num_pairs: int | None = 100,
        shift: Shift = "ppdm",
        merge_iou: float | Literal["ppdm"] | None = "ppdm",
        max_skip_rate: float = 0.001,
        zero_shot: str | None = None,
        few_shot_percent: float | None = None,
        few_shot_file: str | Path | None = None,
        few_shot_seed: int = 42,
        relation_noise: float = 0.0,
        label_space: Literal["vocabulary", "occurring"] = "vocabulary",
        rare: Literal["vocabulary", "training"] = "vocabulary",
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        if label_space not in ("vocabulary", "occurring"):
            raise ValueError(f"label_space={label_space!r}: expected 'vocabulary' or 'occurring'")
        if rare not in ("vocabulary", "training"):
            raise ValueError(f"rare={rare!r}: expected 'vocabulary' or 'training'")
        self.vocabulary: HICOVocabulary = load("hico")
        if zero_shot is not None and zero_shot not in self.vocabulary.unseen:
            raise ValueError(f"zero_shot={zero_shot!r}: expected one of {sorted(self.vocabulary.unseen)} or null")
        self.root = Path(root)
        self.reading: dict[str, Any] = {"annotations": annotations, "shift": shift, "merge_iou": merge_iou}
        self.zero_shot = zero_shot
        self.reduce = label_space == "occurring"
        self.rare = rare
        self.max_skip_rate = max_skip_rate
        self.training_options: dict[str, Any] = {
            "max_boxes": None if num_pairs is None else 2 * num_pairs,
            "zero_shot": zero_shot,
            "few_shot_percent": few_shot_percent,
            "few_shot_file": few_shot_file,
            "few_shot_seed": few_shot_seed,
            "relation_noise": relation_noise,
        }

    def require_data(self) -> None:
        """Finds the annotation file of the test split.

        Raises:
            DatasetNotFoundError: no HICO-DET under `root`, and nothing that would generate it.
        """
        if self.prepare is None:
            find_annotations(find_root(self.root), "test", self.reading["annotations"])

    def load_datasets(self, stage: str) -> Mapping[str, Dataset[Sample]]:
        """The training split for "fit", and the test split for everything else."""
        test = self.datasets.get("test") or self._labelled(self._test)
        datasets = {"val": test, "test": test}
        if stage == "fit":
            datasets["train"] = self._labelled(self._train(**self.training_options))
        return datasets

    @cached_property
    def _test(self) -> HICODet:
        return HICODet(self.root, "test", **self.reading)

    def _train(self, **options: Any) -> HICODet:
        return HICODet(self.root, "train", max_skip_rate=self.max_skip_rate, **self.reading, **options)

    @cached_property
    def all_training_records(self) -> RelationRecords:
        """The training split before any few-shot or zero-shot choice."""
        return self._train(max_boxes=None).records

    @cached_property
    def label_space(self) -> LabelSpace:
        """The words that batches count in; needs the data for `label_space="occurring"`."""
        full = self.vocabulary.label_space
        if not self.reduce:
            return full
        splits = (self.all_training_records, self._test.records)
        objects = np.unique(np.concatenate([records.labels for records in splits]))
        relations = np.unique(np.concatenate([records.relations[:, 2] for records in splits]))
        return LabelSpace(
            objects=tuple(full.objects[row] for row in objects),
            relations=tuple(full.relations[row] for row in relations),
        )

    def metric_arguments(self) -> dict[str, Any]:
        """`hois` (relation, object) in rows of `label_space`, and which of them are `rare` and `unseen`."""
        vocabulary, space = self.vocabulary, self.label_space
        hois = np.stack(
            [
                _rows(vocabulary.label_space.relations, space.relations)[vocabulary.hois[:, 0]],
                _rows(vocabulary.label_space.objects, space.objects)[vocabulary.hois[:, 1]],
            ],
            axis=1,
        )
        rare = vocabulary.rare
        if self.rare == "training":
            shown = relation_hois(self.all_training_records, vocabulary)
            rare = np.bincount(shown[shown >= 0], minlength=len(hois)) < RARE_BELOW
        asked = (hois >= 0).all(axis=1)
        unseen = None if self.zero_shot is None else vocabulary.unseen[self.zero_shot][asked]
        return {"hois": hois[asked], "rare": rare[asked], "unseen": unseen}

    def _labelled(self, dataset: HICODet) -> Dataset[Sample]:
        if not self.reduce:
            return dataset
        return RelabelledDataset(dataset, self.label_space)


def _rows(names: Sequence[str], among: Sequence[str]) -> Int[np.ndarray, " n"]:
    """Position of each name in another list, -1 where it is not in it."""
    rows = {name: row for row, name in enumerate(among)}
    return np.array([rows.get(name, -1) for name in names], np.int64)
