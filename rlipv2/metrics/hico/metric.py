"""HICO-DET mean average precision as a `torchmetrics.Metric`."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torchmetrics.utilities import rank_zero_warn

from rlipv2.metrics.functional import Detections, GroundTruth, TripletTable, ranked_detections
from rlipv2.metrics.hico.protocol import HICOProtocol, HICOResult, Matches, match_images, summarise
from rlipv2.metrics.matching import FlatStateMetric
from rlipv2.structures import Annotation, PairPredictions, RelationRecords


@runtime_checkable
class Vocabulary(Protocol):
    """What `HICODetMAP.from_vocabulary` reads of `rlipv2.vocabularies.HICOVocabulary`."""

    @property
    def hois(self) -> np.ndarray: ...  # noqa: D102
    @property
    def rare(self) -> np.ndarray: ...  # noqa: D102
    @property
    def unseen(self) -> Mapping[str, np.ndarray]: ...  # noqa: D102


class HICODetMAP(FlatStateMetric[HICOResult]):
    """Mean average precision over triplet classes, equal to the official evaluator of RLIPv2.

    Images are matched in `update`; the state holds one row per detection (class, score, flags), about
    7 MB for the whole test split. `compute` gives fractions between 0 and 1:

    * `map_full`, `map_rare`, `map_non_rare`, `mean_max_recall`, and with `unseen` also `map_unseen`,
      `map_seen`: means over the classes that have ground truth, NaN where none has;
    * `map_ko_full`, ...: the known-object setting, only images with a labelled pair of that object. The
      official code has no such figure; the MATLAB code also knows image labels without boxes;
    * `matlab/map_full`, `matlab/map_ko_full`, ...: the rules of the MATLAB code of HICO-DET on the same
      `top_k` list after suppression. `protocol="matlab"` swaps the names: these figures then stand
      without prefix and the others under `rlipv2/`.

    Labelled pairs that are none of the classes, or whose subject is no person, do not count: `compute` warns
    of them once, and `counts` has their number.

    Args:
        hois: rows (relation, object), one per class; checked here, as `rare` and `unseen` are.
        rare: classes with fewer than 10 training instances.
        unseen: classes that zero-shot training did not show.
        protocol: whose figures have no prefix.
        person: object class of subjects.
        top_k: see `HICOProtocol`, as all that follow.
        nms: the same.
        nms_threshold: the same.
        nms_alpha: the same.
        nms_beta: the same.
        empty_images: the same.
        recall_levels: the same.
        box_convention: the same.
        match_threshold: the same.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: tables that do not fit together, or an unknown option.
    """

    STATES: ClassVar[dict[str, torch.dtype]] = {
        "classes": torch.int32,  # NCCL has no 16-bit integers
        "scores": torch.float32,
        "flags": torch.uint8,
        "labelled_classes": torch.int32,
        "images": torch.int64,
    }

    def __init__(
        self,
        *,
        hois: np.ndarray,
        rare: np.ndarray,
        unseen: np.ndarray | None = None,
        protocol: Literal["rlipv2", "matlab"] = "rlipv2",
        person: int = 0,
        top_k: int | None = 100,
        nms: bool = True,
        nms_threshold: float = 0.7,
        nms_alpha: float = 1.0,
        nms_beta: float = 0.5,
        empty_images: Literal["drop", "count"] = "drop",
        recall_levels: Literal["float", "decimal", "area"] = "float",
        box_convention: Literal["pixel", "continuous"] = "pixel",
        match_threshold: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if protocol not in ("rlipv2", "matlab"):
            raise ValueError(f"protocol={protocol!r}: expected 'rlipv2' or 'matlab'")
        try:
            self.table = TripletTable(np.asarray(hois))
        except ValueError as error:
            raise ValueError(f"hois: {error}; rows are (relation, object)") from error
        self.rare = _class_mask("rare", rare, len(self.table))
        self.unseen = None if unseen is None else _class_mask("unseen", unseen, len(self.table))
        self.protocol, self.person = protocol, person
        self.rules = HICOProtocol(
            top_k=top_k,
            nms=nms,
            nms_threshold=nms_threshold,
            nms_alpha=nms_alpha,
            nms_beta=nms_beta,
            empty_images=empty_images,
            recall_levels=recall_levels,
            box_convention=box_convention,
            match_threshold=match_threshold,
        )
        self._warned = False
        self.add_states()

    @classmethod
    def from_vocabulary(cls, vocabulary: Vocabulary, *, split: str | None = None, **options: Any) -> "HICODetMAP":
        """The metric for the classes of `rlipv2.vocabularies.load("hico")`.

        Args:
            vocabulary: has `hois`, `rare` and `unseen`.
            split: name of a zero-shot split, for the figures `map_unseen` and `map_seen`.
            options: further arguments of the constructor.

        Raises:
            ValueError: a split that the vocabulary does not have.
        """
        if split is not None and split not in vocabulary.unseen:
            raise ValueError(f"split={split!r}: expected one of {sorted(vocabulary.unseen)}, or None")
        unseen = None if split is None else vocabulary.unseen[split]
        return cls(hois=vocabulary.hois, rare=vocabulary.rare, unseen=unseen, **options)

    def update(
        self,
        predictions: Sequence[PairPredictions],
        annotations: Sequence[Annotation],
        indices: Int[Tensor, " b"] | None = None,
    ) -> None:
        """Matches a batch of images.

        Args:
            predictions: one per image, on any device, boxes in pixels of the stored image.
            annotations: labels of the same images, in pixels as stored in the annotation file.
            indices: position of each image in the dataset; an image whose index came before does not
                count. By default the image ids.

        Raises:
            ValueError: lists of different length, scores of another label space or not finite, labels
                out of range.
        """
        if indices is None:
            indices = torch.tensor([annotation.image_id for annotation in annotations], dtype=torch.int64)
        if not len(predictions) == len(annotations) == len(indices):
            raise ValueError(
                f"{len(predictions)} predictions, {len(annotations)} annotations and {len(indices)} indices; "
                "expected one of each per image"
            )
        if not len(predictions):
            return
        self._result = None
        records = RelationRecords.from_annotations(annotations)
        truth = GroundTruth(records.boxes, records.labels, records.box_ptr, records.relations, records.relation_ptr)
        self._append(
            match_images(
                self.ranked(predictions),
                truth,
                self.table,
                self.rules,
                indices=indices.cpu().numpy().astype(np.int64),
                person=self.person,
            )
        )

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """The figures over all images so far, on all processes."""
        self._result = summarise(Matches(**self._gathered()), len(self.table), self.rules)
        self._warn_of_ignored(self._result)
        groups = {"full": None, "rare": self.rare, "non_rare": ~self.rare}
        if self.unseen is not None:
            groups |= {"unseen": self.unseen, "seen": ~self.unseen}
        values: dict[str, float] = {}
        for name, figures in self._result.figures.items():
            setting = "map_ko_" if name.endswith("/ko") else "map_"
            values |= {self._prefix(name) + setting + key: figures.mean_ap(mask) for key, mask in groups.items()}
            if setting == "map_":
                values[self._prefix(name) + "mean_max_recall"] = figures.mean_max_recall()
        return {key: torch.tensor(value, dtype=torch.float64, device=self.device) for key, value in values.items()}

    def per_class(self) -> dict[str, Shaped[np.ndarray, " c"]]:
        """Arrays over the classes: `ap`, `max_recall`, `num_detections`, `num_true_positives`, `num_labelled`.

        The known-object setting and the other protocol have their own, named like the keys of `compute`
        (`ko_ap`, `matlab/ap`). Runs `compute` first and therefore on all processes together.
        """
        result = self.result()
        arrays: dict[str, np.ndarray] = {"num_labelled": result.num_labelled}
        for name, figures in result.figures.items():
            prefix = self._prefix(name) + ("ko_" if name.endswith("/ko") else "")
            arrays |= {prefix + key: values for key, values in vars(figures).items()}
        return arrays

    def counts(self) -> dict[str, int]:
        """Totals under the rules of `protocol`: labelled pairs and those ignored, detections, true positives.

        Runs `compute` first and therefore on all processes together.
        """
        return self.result().counts(self.protocol)

    def _warn_of_ignored(self, result: HICOResult) -> None:
        if result.num_ignored and not self._warned:
            self._warned = True
            rank_zero_warn(
                f"HICO-DET metric: {result.describe_ignored(len(self.table))}; the first is in the image with index "
                f"{result.first_ignored}; run `python -m rlipv2.datasets check hico` on the dataset"
            )

    def _prefix(self, name: str) -> str:
        family = name.split("/")[0]
        return "" if family == self.protocol else f"{family}/"

    def _append_nothing(self) -> None:
        nothing = np.zeros(0, np.int64)
        self._append(
            Matches(nothing, nothing.astype(np.float32), nothing.astype(np.uint8), nothing, nothing.reshape(0, 5))
        )

    def ranked(self, predictions: Sequence[PairPredictions]) -> Detections:
        """The best triplets of all images, before suppression; images with equally many pairs are ranked together."""
        by_count: dict[int, list[int]] = defaultdict(list)
        for image, prediction in enumerate(predictions):
            by_count[len(prediction)].append(image)
        parts = []
        for images in by_count.values():
            part = self._ranked_stack([predictions[image] for image in images])
            parts.append(dataclasses.replace(part, images=np.asarray(images)[part.images]))
        if len(parts) == 1:
            return parts[0]
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        merged = Detections(*map(np.concatenate, columns))
        return merged.take(np.argsort(merged.images, kind="stable"))

    def _ranked_stack(self, predictions: Sequence[PairPredictions]) -> Detections:
        stack = {
            field.name: torch.stack([getattr(prediction, field.name).detach() for prediction in predictions])
            for field in dataclasses.fields(PairPredictions)
        }
        scores = stack.pop("relation_scores").float()
        labels = stack["object_labels"]
        if scores.shape[2] != self.table.num_relations:
            raise ValueError(
                f"predictions score {scores.shape[2]} relations, the metric has {self.table.num_relations}; "
                "evaluate with the label space of the dataset"
            )
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < self.table.num_objects:
            raise ValueError(
                f"object labels from {int(labels.min())} to {int(labels.max())}, the metric has "
                f"{self.table.num_objects} objects; evaluate with the label space of the dataset"
            )
        if not torch.isfinite(scores).all():
            raise ValueError("relation scores are not finite (inf or NaN); the model has probably diverged")
        stack |= {name: boxes.float() for name, boxes in stack.items() if name.endswith("boxes")}
        if scores.is_cuda and self.rules.top_k is not None:
            return detections_on_device(scores, self.table, self.rules.top_k, **stack)
        arrays = {name: values.cpu().numpy() for name, values in stack.items()}
        return ranked_detections(scores.cpu().numpy(), self.table, self.rules.top_k, **arrays)


def detections_on_device(
    scores: Float[Tensor, "b q r"],
    table: TripletTable,
    k: int,
    *,
    subject_labels: Int[Tensor, "b q"],
    object_labels: Int[Tensor, "b q"],
    subject_boxes: Float[Tensor, "b q 4"],
    object_boxes: Float[Tensor, "b q 4"],
) -> Detections:
    """Same as `ranked_detections`, ranked where the tensors are, so that only k rows per image move to the CPU."""
    valid = torch.from_numpy(table.class_ids.T >= 0).to(scores.device)
    num_images, num_pairs, num_relations = scores.shape
    ranked, entries = (scores * valid[object_labels]).flatten(1).sort(dim=1, descending=True, stable=True)
    entries = entries[:, :k]
    images = torch.arange(num_images, device=scores.device)[:, None].expand_as(entries)
    rows = (images * num_pairs + entries // max(num_relations, 1)).flatten()
    columns = (
        images.flatten(),
        subject_boxes.flatten(0, 1)[rows],
        object_boxes.flatten(0, 1)[rows],
        subject_labels.flatten()[rows],
        object_labels.flatten()[rows],
        (entries % max(num_relations, 1)).flatten(),
        ranked[:, :k].flatten(),
    )
    return Detections(*(column.cpu().numpy() for column in columns))


def _class_mask(name: str, mask: np.ndarray, num_classes: int) -> Bool[np.ndarray, " c"]:
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != (num_classes,):
        raise ValueError(f"{name}: expected {num_classes} booleans, one per class, got {mask.dtype} {mask.shape}")
    return mask
