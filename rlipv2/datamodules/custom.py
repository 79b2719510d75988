"""A user's own data: which of its splits train, validate and test."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from torch.utils.data import Dataset

from rlipv2.datamodules.base import RelationDataModule
from rlipv2.datasets.custom.dataset import CustomRelations, require_split
from rlipv2.datasets.custom.layout import annotation_path
from rlipv2.datasets.custom.names import Choice, read_label_space
from rlipv2.datasets.custom.read import parse_custom
from rlipv2.datasets.errors import AnnotationError
from rlipv2.structures import LabelSpace, Sample


class CustomDataModule(RelationDataModule):
    """Trains, validates and tests on the annotation files that are named; docs/custom_data.md describes them.

    One file may be named twice: `val="test"` validates on the test images where there are no others. Nothing stands
    in for a missing file by itself.

    Args:
        root: folder with `annotations/` and `images/`.
        train: split that is trained on.
        val: split that is evaluated while training.
        test: split that is evaluated at the end.
        label_space: "train" asks for the names of the training split, and names of the others that it lacks are an
            error; "all" adds them: the model is then evaluated on words that it was not trained on.
        max_boxes: boxes of a training image that count, in file order; None for all. Published recipes for other
            datasets use the number of queries, two per pair.
        loading: arguments of `RelationDataModule`.

    Raises:
        DatasetNotFoundError: from `setup`, if a file or an image is not there.
        AnnotationError: from `setup`, if a file cannot be used, or images are trained on and evaluated.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        train: str = "train",
        val: str = "val",
        test: str = "test",
        label_space: Choice = "train",
        max_boxes: int | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        if label_space not in ("train", "all"):
            raise ValueError(f"label_space={label_space!r}: expected 'train' or 'all'")
        self.root = Path(root).expanduser()
        self.splits = {"train": train, "val": val, "test": test}
        self.choice: Choice = label_space
        self.max_boxes = max_boxes
        self._evaluated: dict[str, CustomRelations] = {}
        self._names: dict[str, set[str]] = {}

    def require_data(self) -> None:
        """Finds the annotation file of the test split.

        Raises:
            DatasetNotFoundError: it is not there, and nothing would generate it.
        """
        if self.prepare is None:
            require_split(self.root, self.splits["test"])

    def load_datasets(self, stage: str) -> Mapping[str, Dataset[Sample]]:
        """The splits named for training and validation ("fit"), validation, or testing."""
        if stage != "fit":
            part = "val" if stage == "validate" else "test"
            evaluated = self._evaluation(self.splits[part])
            if stage != "predict":  # predicting on images that were trained on does no harm
                self._require_apart(part)
            return {part: evaluated}
        train = CustomRelations(
            self.root, self.splits["train"], label_space=self.label_space, training=True, max_boxes=self.max_boxes
        )
        val = self._evaluation(self.splits["val"])
        for part in ("val", "test"):  # training on test images must not wait until they are evaluated
            self._require_apart(part)
        return {"train": train, "val": val}

    @cached_property
    def label_space(self) -> LabelSpace:
        """The words that batches count in; needs the data."""
        return read_label_space(self.root, self.choice, list(self.splits.values()))

    def metric_arguments(self) -> dict[str, Any]:
        """Numbers of objects and relations; the triplets that count are those that the evaluated images show."""
        return {"num_objects": len(self.label_space.objects), "num_relations": len(self.label_space.relations)}

    def _evaluation(self, split: str) -> CustomRelations:
        """One split for evaluation, read once however often it is named."""
        if split not in self._evaluated:
            self._evaluated[split] = CustomRelations(self.root, split, label_space=self.label_space, training=False)
        return self._evaluated[split]

    def _require_apart(self, part: str) -> None:
        """Compares the file names of a part with those of training, where both files are there."""
        train, other = (annotation_path(self.root, self.splits[name]) for name in ("train", part))
        # the same split twice is meant: to look at over-fitting
        if train == other or not (train.is_file() and other.is_file()):
            return
        shared = sorted(self._file_names(self.splits["train"]) & self._file_names(self.splits[part]))
        if shared:
            raise AnnotationError.in_file(
                other,
                f"{len(shared)} images are in {train.name} too ({', '.join(shared[:5])})",
                "images that are evaluated must not be trained on: remove them from one of the files",
            )

    def _file_names(self, split: str) -> set[str]:
        """The images of a split; what else is wrong with its records is not looked at."""
        if split not in self._names:
            read = self._evaluated.get(split) or parse_custom(annotation_path(self.root, split))
            self._names[split] = {str(PurePosixPath(name)) for name in read.records.file_names}
        return self._names[split]
