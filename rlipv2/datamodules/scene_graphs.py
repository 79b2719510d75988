"""Scene graphs with free-form names: relational pre-training, and the pairs of the Relation Tagger."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch.utils.data import DataLoader, Dataset

from rlipv2.datamodules.base import BatchBuilder, RelationDataModule
from rlipv2.datamodules.collate import collate
from rlipv2.datamodules.label_sampling import FixedLabels, LabelSampler
from rlipv2.datamodules.resumable import AlternatingSampler, EpochSampler
from rlipv2.datamodules.tagger_pairs import tagger_target
from rlipv2.datasets.scene_graphs.dataset import SceneGraphs, find_annotations
from rlipv2.datasets.scene_graphs.mixture import SceneGraphMixture
from rlipv2.datasets.scene_graphs.names import NameCounts
from rlipv2.structures import LabelSpace, RelationBatch, Sample

OWN_SETTINGS = ("root", "annotations", "image_paths", "exclude_ids")
"""What one corpus of a mixture tells for itself; it may also set each of the shared reading options."""


class SceneGraphDataModule(RelationDataModule):
    """Trains on one or several files of scene graphs, evaluates on images held out of them or on a second file.

    Every training batch has its own label space: the names of its images, extended by names drawn from the corpus
    (`LabelSampler`). Evaluation asks for the `eval_objects` and `eval_relations` most frequent names of the corpus in
    every batch, and for the other names of its images behind them (`FixedLabels`).

    Several corpora are put one after the other in the given order, and every image is drawn alike, or batches come
    from one corpus after the other (`alternate`). Their names are counted in each corpus and added up
    (`SceneGraphMixture`).

    Args:
        root: folder of the dataset (see `SceneGraphs`), where there is one corpus.
        corpora: several corpora by name, in order: the settings of each, `root` and what differs from the reading
            options below. Excludes `root`, `annotations`, `test_annotations`, `image_paths` and `exclude_ids`.
        alternate: corpora of successive batches, by name, such as ["vg", "coco"] (`AlternatingSampler`); None draws
            from all images alike, as every official recipe.
        pairs: "relations" makes targets of the related pairs (pre-training), "tagger" of related and unrelated ones
            (`tagger_target`).
        num_pairs: pairs that the model takes or predicts.
        annotations: training file, by default that of Visual Genome.
        test_annotations: file to evaluate on, with images under the same `root`.
        held_out: number of images, among those with relations, to evaluate on instead of training; not together with
            `test_annotations`. With 0 and no file there is no evaluation; officially all images train.
        held_out_seed: of the choice of these images.
        texts: object and relation names of a training batch together; official: 500. 0: only those of its images.
        object_share: see `LabelSampler`.
        text_sampling: strategy of `LabelSampler`.
        eval_objects: fixed object names in evaluation.
        eval_relations: fixed relation names in evaluation: the columns of the figures.
        max_relations: see `SceneGraphs`, as all that follow.
        relation_threshold: the same.
        pair_overlap: the same.
        relation_order: the same.
        doubled_relations: the same.
        unrelated_images: the same.
        names: the same; of a mixture a file with the counts of all corpora, "auto" and None count them.
        image_paths: the same.
        exclude_ids: the same.
        lower_case: the same.
        max_skip_rate: the same.
        index: the same; one folder may hold the indices of all corpora.
        loading: arguments of `RelationDataModule`.

    Raises:
        DatasetNotFoundError: from `setup`, if the dataset is not there.
        ValueError: options out of range or that do not go together.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        corpora: Mapping[str, Mapping[str, Any]] | None = None,
        alternate: Sequence[str] | None = None,
        pairs: Literal["relations", "tagger"] = "relations",
        num_pairs: int = 100,
        annotations: str | Path | None = None,
        test_annotations: str | Path | None = None,
        held_out: int = 0,
        held_out_seed: int = 0,
        texts: int = 500,
        object_share: float = 2 / 3,
        text_sampling: str = "freq",
        eval_objects: int = 333,
        eval_relations: int = 500,
        max_relations: int | None = 200,
        relation_threshold: float = 0.2,
        pair_overlap: bool = False,
        relation_order: Literal["file", "confidence"] = "file",
        doubled_relations: Literal["keep", "drop"] = "keep",
        unrelated_images: Literal["keep", "drop"] = "keep",
        names: str | Path | None = "auto",
        image_paths: str | Path | None = None,
        exclude_ids: Sequence[int | str] | str | Path = (),
        lower_case: bool = False,
        max_skip_rate: float = 0.001,
        index: str | Path | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        if pairs not in ("relations", "tagger"):
            raise ValueError(f"pairs={pairs!r}: expected 'relations' or 'tagger'")
        if held_out < 0 or (held_out and test_annotations is not None):
            raise ValueError(
                f"held_out={held_out} with test_annotations={test_annotations}: expected at least 0 images, and none "
                "where a file to evaluate on is given"
            )
        if pairs == "tagger" and self.subject_label is not None:
            raise ValueError(f"subject_label={self.subject_label} with pairs='tagger': given pairs keep their labels")
        self.pairs, self.num_pairs = pairs, num_pairs
        self.test_annotations = test_annotations
        self.held_out, self.held_out_seed = held_out, held_out_seed
        self.sampling: dict[str, Any] = {"total": texts, "object_share": object_share, "strategy": text_sampling}
        self.eval_objects, self.eval_relations = eval_objects, eval_relations
        self.reading: dict[str, Any] = {
            "max_relations": max_relations,
            "relation_threshold": relation_threshold,
            "pair_overlap": pair_overlap,
            "relation_order": relation_order,
            "doubled_relations": doubled_relations,
            "unrelated_images": unrelated_images,
            "lower_case": lower_case,
            "max_skip_rate": max_skip_rate,
            "index": index,
        }
        self.names = names
        self.corpora = None if corpora is None else {name: dict(settings) for name, settings in corpora.items()}
        self._alone: dict[str, Any] = {
            "root": root,
            "annotations": annotations,
            "image_paths": image_paths,
            "exclude_ids": exclude_ids,
        }
        self.alternate = tuple(alternate or ())
        self._check_corpora()

    def _check_corpora(self) -> None:
        """Refuses neither or both ways of naming the data, and settings that a corpus does not have."""
        given = [name for name, value in (self._alone | {"test_annotations": self.test_annotations}).items() if value]
        known = [*(self.corpora or {})]
        for name in self.alternate:
            if name not in known:
                raise ValueError(f"alternate={[*self.alternate]}: no corpus {name!r} in {known}")
        if self.corpora is None:
            if self._alone["root"] is None:
                raise ValueError("neither root nor corpora is given; name the folder of a dataset")
            return
        if given or not self.corpora:
            raise ValueError(
                f"corpora={[*self.corpora]} with {', '.join(given) or 'nothing in it'}: expected at least one corpus, "
                "each with its own root, annotations, image_paths and exclude_ids"
            )
        allowed = {*OWN_SETTINGS, *self.reading}
        for name, settings in self.corpora.items():
            unknown = sorted(settings.keys() - allowed)
            if unknown or not settings.get("root"):
                wrong = f"no setting {unknown[0]!r} of a corpus" if unknown else "without a root"
                raise ValueError(f"corpora.{name}: {wrong}; expected root and any of {sorted(allowed - {'root'})}")

    def train_sampler(self, size: int, **place: int) -> EpochSampler:
        """Random, or by corpora where they alternate."""
        images = self._training_images
        if not self.alternate or not isinstance(images, SceneGraphMixture):
            return super().train_sampler(size, **place)
        sizes = [len(part) for part in images.parts.values()]
        return AlternatingSampler(sizes, [[*images.parts].index(name) for name in self.alternate], **place)

    def require_data(self) -> None:
        """Finds the annotation files.

        Raises:
            DatasetNotFoundError: they are not under their `root`, and nothing would generate them.
        """
        if self.prepare is not None:
            return
        for settings in (self.corpora or {"": self._alone}).values():
            find_annotations(settings["root"], settings.get("annotations"))
        if self.test_annotations is not None:
            find_annotations(self._alone["root"], self.test_annotations)

    def load_datasets(self, stage: str) -> Mapping[str, Dataset[Sample]]:
        """The training images for "fit", and the held-out ones, where there are some, for everything.

        Raises:
            ValueError: a stage other than "fit" without images to evaluate on, or fewer images than `held_out`.
        """
        datasets: dict[str, Dataset[Sample]] = {}
        if stage == "fit":
            datasets["train"] = self._training_images
        if self._evaluation_images is not None:
            datasets |= {"val": self._evaluation_images, "test": self._evaluation_images}
        elif stage != "fit":
            raise ValueError(
                f"{self._described}: no images to evaluate on; hold some out with data.held_out=1000, or give "
                "data.test_annotations (train.py: test=false leaves the test out)"
            )
        return datasets

    def setup(self, stage: str) -> None:
        """Reads the annotations that a stage needs."""
        if "train" not in self.datasets or stage != "fit":  # without held-out images "val" is never there
            super().setup(stage)

    def val_dataloader(self) -> DataLoader[RelationBatch] | list[Any]:  # type: ignore[override]
        """The held-out images in file order; no loader without such images."""
        return super().val_dataloader() if "val" in self.datasets else []

    def batch_builder(self, *, training: bool) -> BatchBuilder:
        """Batches with a label space of their own, and targets by `pairs`."""
        return partial(
            collate,
            boxes_in="image" if training else "original",
            subject_label=self.subject_label,
            choose_labels=LabelSampler(self.corpus.names, **self.sampling) if training else self._fixed_labels,
            make_target=partial(tagger_target, num_pairs=self.num_pairs) if self.pairs == "tagger" else None,
        )

    @property
    def label_space(self) -> LabelSpace:
        """The most frequent names of the corpus, which evaluation asks for; needs the data."""
        return self._fixed_labels.label_space

    def metric_arguments(self) -> dict[str, Any]:
        """For the tagger `num_relations`, the columns that count; nothing for pre-training."""
        return {"num_relations": len(self.label_space.relations)} if self.pairs == "tagger" else {}

    @cached_property
    def corpus(self) -> SceneGraphs | SceneGraphMixture:
        """All training files, held-out images included."""
        if self.corpora is None:
            return SceneGraphs(names=self.names, **(self.reading | self._alone))
        parts = {name: SceneGraphs(names=None, **(self.reading | settings)) for name, settings in self.corpora.items()}
        counts = None if self.names is None or self.names == "auto" else NameCounts.read(Path(self.names))
        return SceneGraphMixture(parts, names=counts)

    @property
    def _described(self) -> str:
        return str(self._alone["root"]) if self.corpora is None else " + ".join(self.corpora)

    @cached_property
    def _fixed_labels(self) -> FixedLabels:
        names = self.corpus.names
        objects = [name for name in names.objects if name != LabelSpace.NO_OBJECT]
        return FixedLabels(
            LabelSpace(tuple(objects[: self.eval_objects]), tuple(names.relations[: self.eval_relations]))
        )

    @cached_property
    def _held_out_rows(self) -> np.ndarray:
        related = np.flatnonzero(self.corpus.related)
        if self.held_out >= max(len(related), 1):
            raise ValueError(
                f"held_out={self.held_out}: {self._described} has {len(related)} images with relations; some must be "
                "left for training"
            )
        return np.random.default_rng(self.held_out_seed).permutation(related)[: self.held_out]

    @cached_property
    def _training_images(self) -> SceneGraphs | SceneGraphMixture:
        return self.corpus.select(np.setdiff1d(np.arange(len(self.corpus)), self._held_out_rows))

    @cached_property
    def _evaluation_images(self) -> SceneGraphs | SceneGraphMixture | None:
        if self.test_annotations is not None:
            own = self._alone | {"annotations": self.test_annotations}
            return SceneGraphs(names=None, **(self.reading | own))
        return self.corpus.select(self._held_out_rows) if self.held_out else None
