"""V-COCO: training on train and val together, evaluation on test."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset

from rlipv2.datamodules.base import RelationDataModule
from rlipv2.datamodules.resumable import RelabelledDataset
from rlipv2.datasets.vcoco import VCOCO, metric_arguments
from rlipv2.datasets.vcoco.dataset import read_validity
from rlipv2.datasets.vcoco.source import find_root, find_source
from rlipv2.structures import LabelSpace, Sample
from rlipv2.vocabularies import VCOCOVocabulary, load


class VCOCODataModule(RelationDataModule):
    """Trains on the 5,400 images of train and val, evaluates on the 4,946 of test, as the official code does.

    Images without any relation left stay in training: they show only background (official too).

    Args:
        root: folder `v-coco`, or the one that holds it.
        annotations: "auto", "hoia", "release" or the path of a HOIA list for both splits (see `VCOCO`).
        num_pairs: pairs the model predicts: only the first 2 * num_pairs boxes of a training image count
            (official: as many boxes as queries, which are two per pair); None for all boxes.
        label_space: "vocabulary" asks for all 81 objects and 29 relations, "occurring" only for those that train
            or test images show (the micro-world), "missing objects" always being the last object.
        loading: arguments of `RelationDataModule`.

    Raises:
        DatasetNotFoundError: from `setup`, if the dataset is not there.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        annotations: str = "auto",
        num_pairs: int | None = 100,
        label_space: Literal["vocabulary", "occurring"] = "vocabulary",
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        if label_space not in ("vocabulary", "occurring"):
            raise ValueError(f"label_space={label_space!r}: expected 'vocabulary' or 'occurring'")
        self.vocabulary: VCOCOVocabulary = load("vcoco")
        self.root = Path(root)
        self.annotations = annotations
        self.max_boxes = None if num_pairs is None else 2 * num_pairs
        self.reduce = label_space == "occurring"

    def require_data(self) -> None:
        """Finds the annotation files of the test split.

        Raises:
            DatasetNotFoundError: no V-COCO under `root`, and nothing that would generate it.
        """
        if self.prepare is None:
            find_source(find_root(self.root), "test", self.annotations)

    def load_datasets(self, stage: str) -> Mapping[str, Dataset[Sample]]:
        """The training split for "fit", and the test split for everything else."""
        test = self.datasets.get("test") or self._labelled(self._test)
        datasets = {"val": test, "test": test}
        if stage == "fit":
            datasets["train"] = self._labelled(self._train)
        return datasets

    @cached_property
    def _test(self) -> VCOCO:
        return VCOCO(self.root, "test", annotations=self.annotations)

    @cached_property
    def _train(self) -> VCOCO:
        return VCOCO(self.root, "trainval", annotations=self.annotations, max_boxes=self.max_boxes)

    @cached_property
    def label_space(self) -> LabelSpace:
        """The words that batches count in; needs the data for `label_space="occurring"`."""
        full, vocabulary = self.vocabulary.label_space, self.vocabulary
        if not self.reduce:
            return full
        splits = [self._train.records, self._test.records]
        objects = np.union1d(*(records.labels for records in splits))
        shown = np.union1d(*(records.relations[:, 2] for records in splits))
        # the evaluation counts all roles of an action
        rows = vocabulary.verb_rows[np.isin(vocabulary.verb_rows, shown).any(axis=1)]
        return LabelSpace(
            objects=(*(full.objects[row] for row in objects), full.objects[vocabulary.missing_object]),
            relations=tuple(full.relations[row] for row in np.unique(rows[rows >= 0])),
        )

    def metric_arguments(self) -> dict[str, Any]:
        """Ground truth of the test split, names and valid combinations, see `rlipv2.datasets.vcoco.evaluation`."""
        validity = read_validity(self._test.root, self.vocabulary)
        return metric_arguments(self._test.ground_truth, validity, self.vocabulary, self.label_space)

    def _labelled(self, dataset: VCOCO) -> Dataset[Sample]:
        return RelabelledDataset(dataset, self.label_space) if self.reduce else dataset
