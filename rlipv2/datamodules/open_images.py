"""Open Images v6 for scene graph generation: trains on "train", evaluates on "test"."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from rlipv2.datamodules.base import RelationDataModule
from rlipv2.datasets.open_images.dataset import OpenImagesSGG
from rlipv2.datasets.open_images.files import Annotations, find_kind, find_root
from rlipv2.datasets.open_images.names import Objects, Spelling, read_label_space
from rlipv2.structures import LabelSpace, Sample


class OpenImagesDataModule(RelationDataModule):
    """Trains on the train split only and evaluates on the test split, as the official code does every epoch.

    The validation split only counts for which object classes there are.

    Args:
        root: folder `open_image_v6`, or the one that holds it.
        annotations: "auto", "vrd" or "rlipv2" (see `OpenImagesSGG`).
        num_pairs: pairs the model predicts: only the first 2 * num_pairs boxes of a training image count
            (official: as many boxes as queries, which are two per pair); None for all boxes.
        max_skip_rate: share of the training images that may be left out (see `OpenImagesSGG`).
        rescale_boxes: fit boxes to image files of another scale (see `OpenImagesSGG`).
        label_space: "occurring" asks for the 288 objects that occur, "all" for all 601 (see `read_label_space`).
        spelling: "raw" for names as in the files, "words" for lower case and blanks.
        loading: arguments of `RelationDataModule`.

    Raises:
        DatasetNotFoundError: from `setup`, if the dataset is not there.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        annotations: Annotations = "auto",
        num_pairs: int | None = 100,
        max_skip_rate: float = 0.001,
        rescale_boxes: bool = True,
        label_space: Objects = "occurring",
        spelling: Spelling = "raw",
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        if label_space not in ("occurring", "all"):
            raise ValueError(f"label_space={label_space!r}: expected 'occurring' or 'all'")
        if spelling not in ("raw", "words"):
            raise ValueError(f"spelling={spelling!r}: expected 'raw' or 'words'")
        self.root = Path(root)
        self.annotations: Annotations = annotations
        self.objects: Objects = label_space
        self.spelling: Spelling = spelling
        self.rescale_boxes = rescale_boxes
        self.training_options: dict[str, Any] = {
            "max_boxes": None if num_pairs is None else 2 * num_pairs,
            "max_skip_rate": max_skip_rate,
        }

    def require_data(self) -> None:
        """Finds the annotation file of the test split.

        Raises:
            DatasetNotFoundError: no Open Images under `root`, and nothing that would generate it.
        """
        if self.prepare is None:
            find_kind(find_root(self.root), "test", self.annotations)

    def load_datasets(self, stage: str) -> Mapping[str, Dataset[Sample]]:
        """The training split for "fit", and the test split for everything else."""
        datasets: dict[str, Dataset[Sample]] = {"val": self._test, "test": self._test}
        if stage == "fit":
            datasets["train"] = self._split("train", **self.training_options)
        return datasets

    @cached_property
    def label_space(self) -> LabelSpace:
        """The words that batches count in; needs the data."""
        return read_label_space(self.root, annotations=self.annotations, objects=self.objects, spelling=self.spelling)

    def metric_arguments(self) -> dict[str, Any]:
        """`triplets` (subject, relation, object) that the test split shows, and the numbers of names."""
        return {
            "triplets": np.unique(self._test.triplets, axis=0),
            "num_objects": len(self.label_space.objects),
            "num_relations": len(self.label_space.relations),
        }

    @cached_property
    def _test(self) -> OpenImagesSGG:
        return self._split("test")

    def _split(self, split: Any, **options: Any) -> OpenImagesSGG:
        return OpenImagesSGG(
            self.root,
            split,
            annotations=self.annotations,
            label_space=self.label_space,
            rescale_boxes=self.rescale_boxes,
            **options,
        )
