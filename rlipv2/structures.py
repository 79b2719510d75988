"""The data that travels through the framework: label spaces, records, batches, outputs, predictions.

Nothing here knows a network, a dataset file or a configuration. Letters in shapes mean the same
everywhere: b batch, l decoder layers, q pairs predicted, m pairs labelled, n boxes, h relations of
an image, o object texts without the background text, r relation texts, t all texts, d width.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num, UInt8
from torch import Tensor

from rlipv2.ops.boxes import clip_boxes
from rlipv2.ops.texts import TextArray


def _clean_names(kind: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"{kind} must be a sequence of names, got the single string {names!r}; write [{names!r}]")
    names = tuple(names)
    # every batch of relational pre-training makes one of 500 names
    if set(map(type, names)) == {str} and len(set(names)) == len(names) and all(map(str.strip, names)):
        return names
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{kind}[{index}] = {name!r}: expected a non-blank string")
    if len(set(names)) != len(names):
        doubled = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{kind} holds {doubled} more than once; a label space names every class once")
    return names


@dataclass(frozen=True)
class LabelSpace:
    """The words a model is asked for: object names and relation names, in the order of its logits.

    Frozen and hashable, so that text features can be cached per label space. The background text
    `NO_OBJECT` is appended to the objects by `texts`; it is not one of `objects`.

    Raises:
        TypeError: a single string instead of a list of names.
        ValueError: blank or repeated names, or the background text among the objects.
    """

    objects: tuple[str, ...]
    relations: tuple[str, ...]

    NO_OBJECT: ClassVar[str] = "no objects"
    MISSING_OBJECT: ClassVar[str] = "missing objects"
    """Class of the object of a relation that has none (V-COCO); unlike `NO_OBJECT` one of `objects`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "objects", _clean_names("objects", self.objects))
        object.__setattr__(self, "relations", _clean_names("relations", self.relations))
        if self.NO_OBJECT in self.objects:
            raise ValueError(
                f"objects[{self.objects.index(self.NO_OBJECT)}] = {self.NO_OBJECT!r}: "
                "the background text is appended to the objects; leave it out"
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """Objects, the background text, relations: one row of text features each."""
        return (*self.objects, self.NO_OBJECT, *self.relations)

    @property
    def missing_object(self) -> int | None:
        """Row of `MISSING_OBJECT` among the objects, None where relations always have an object."""
        return self.objects.index(self.MISSING_OBJECT) if self.MISSING_OBJECT in self.objects else None

    def to_dict(self) -> dict[str, list[str]]:
        """Plain lists, as written to `label_space.json` of a weight folder."""
        return {"objects": list(self.objects), "relations": list(self.relations)}


@dataclass(frozen=True)
class Annotation:
    """The labels of one image, boxes in pixels of the image as stored (EXIF rotation ignored).

    Attributes:
        image_id: unique within the dataset; the metrics drop repeated images by it.
        file_name: path relative to the image folder of the dataset.
        boxes_xyxy: x1 y1 x2 y2 in pixels.
        labels: row of the dataset's object names, one per box.
        relations: rows (subject box, object box, relation); the same pair may hold several relations.
            The object box is -1 where a relation has no object (V-COCO).
    """

    image_id: int
    file_name: str
    boxes_xyxy: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    relations: Int[Tensor, "h 3"]

    def clipped(self, height: int, width: int) -> "Annotation":
        """The annotation with boxes cut to an image; those left without area go, with their relations."""
        boxes, relations, kept = clip_boxes(self.boxes_xyxy, self.relations, height=height, width=width)
        return dataclasses.replace(self, boxes_xyxy=boxes, labels=self.labels[kept], relations=relations)


@dataclass(frozen=True)
class RelationRecords:
    """All annotations of a dataset split in flat arrays: image i owns `boxes[box_ptr[i]:box_ptr[i + 1]]`.

    Flat arrays instead of lists of dicts keep loader workers from copying pages of small Python
    objects. Same layout as the ground-truth files of `rlipv2.metrics`.

    Attributes:
        image_ids: one number per image, unique unless a split repeats an image on purpose.
        file_names: paths relative to the image folder; large datasets give a `TextArray`.
        sizes: (height, width) in pixels where the annotation file tells them, else (0, 0).
        boxes: x1 y1 x2 y2 in pixels, as stored in the annotation file.
        labels: row of the object names per box.
        relations: (subject box, object box or -1 for none, relation), boxes counted within the image.
    """

    image_ids: Int[np.ndarray, " i"]
    file_names: Sequence[str]
    sizes: Int[np.ndarray, "i 2"]
    boxes: Float[np.ndarray, "n 4"]
    labels: Int[np.ndarray, " n"]
    box_ptr: Int[np.ndarray, " i+1"]
    relations: Int[np.ndarray, "h 3"]
    relation_ptr: Int[np.ndarray, " i+1"]

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> Annotation:
        index = range(len(self))[index]
        boxes = slice(self.box_ptr[index], self.box_ptr[index + 1])
        relations = slice(self.relation_ptr[index], self.relation_ptr[index + 1])
        return Annotation(
            image_id=int(self.image_ids[index]),
            file_name=self.file_names[index],
            boxes_xyxy=torch.from_numpy(self.boxes[boxes].astype(np.float32)),
            labels=torch.from_numpy(self.labels[boxes].astype(np.int64)),
            relations=torch.from_numpy(self.relations[relations].astype(np.int64)),
        )

    def __iter__(self) -> Iterator[Annotation]:
        return (self[index] for index in range(len(self)))

    def select(self, indices: Sequence[int] | Int[np.ndarray, " k"]) -> "RelationRecords":
        """The images at `indices`, in that order; an index may come more than once."""
        indices, names = np.asarray(indices, dtype=np.int64), self.file_names

        def rows(ptr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            lengths = np.diff(ptr)[indices]
            new_ptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            flat = np.repeat(ptr[:-1][indices] - new_ptr[:-1], lengths) + np.arange(new_ptr[-1])
            return flat.astype(np.int64), new_ptr

        boxes, box_ptr = rows(self.box_ptr)
        relations, relation_ptr = rows(self.relation_ptr)
        return dataclasses.replace(
            self,
            image_ids=self.image_ids[indices],
            file_names=names.take(indices)
            if isinstance(names, TextArray)
            else tuple(names[index] for index in indices),
            sizes=self.sizes[indices],
            boxes=self.boxes[boxes],
            labels=self.labels[boxes],
            box_ptr=box_ptr,
            relations=self.relations[relations],
            relation_ptr=relation_ptr,
        )

    def keep_relations(self, keep: Bool[np.ndarray, " h"]) -> "RelationRecords":
        """The same images and boxes with only the relations where `keep` is true."""
        counts = np.concatenate([[0], np.cumsum(keep)])
        return dataclasses.replace(
            self, relations=self.relations[keep], relation_ptr=counts[self.relation_ptr].astype(np.int64)
        )

    @classmethod
    def from_annotations(
        cls, annotations: Sequence[Annotation], sizes: Sequence[tuple[int, int]] = ()
    ) -> "RelationRecords":
        """Packs a list of annotations; `sizes` are (height, width) per image, empty for unknown."""

        def flat(arrays: list[Tensor], width: tuple[int, ...], dtype: type) -> np.ndarray:
            return np.concatenate([np.zeros((0, *width), dtype), *(a.numpy().astype(dtype) for a in arrays)])

        def ptr(arrays: list[Tensor]) -> np.ndarray:
            return np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64)

        boxes, relations = [a.boxes_xyxy for a in annotations], [a.relations for a in annotations]
        return cls(
            image_ids=np.array([a.image_id for a in annotations], np.int64),
            file_names=tuple(a.file_name for a in annotations),
            sizes=np.array(sizes or np.zeros((len(annotations), 2)), np.int64).reshape(-1, 2),
            boxes=flat(boxes, (4,), np.float32),
            labels=flat([a.labels for a in annotations], (), np.int64),
            box_ptr=ptr(boxes),
            relations=flat(relations, (3,), np.int64),
            relation_ptr=ptr(relations),
        )


@dataclass(frozen=True)
class Sample:
    """One item of a dataset before collation.

    Attributes:
        image: RGB, 0-255, `uint8` until the model normalises it on its device.
        annotation: labels in pixels of `image`: transforms return a new one. Evaluation transforms
            leave it in pixels of the original image (official evaluation targets are never resized).
        label_space: names that `annotation.labels` and `annotation.relations` count in.
        original_size: (height, width) of the stored image in pixels.
        draw: a number drawn with the augmentation, a function of (seed, epoch, position in the dataset):
            what is chosen at random when the batch is made is seeded with it.
    """

    image: UInt8[Tensor, "3 h w"]
    annotation: Annotation
    label_space: LabelSpace
    original_size: tuple[int, int]
    draw: int = 0


@dataclass(frozen=True)
class RelationTarget:
    """What one image should be predicted as: one row per distinct (subject box, object box) pair.

    Boxes are cx cy w h divided by the width and height of the augmented image without padding. An
    all-zero object box means that the relation has no object (V-COCO). `relations` is multi-hot.
    """

    subject_boxes: Float[Tensor, "m 4"]
    object_boxes: Float[Tensor, "m 4"]
    subject_labels: Int[Tensor, " m"]
    object_labels: Int[Tensor, " m"]
    relations: Float[Tensor, "m r"]

    def __len__(self) -> int:
        return len(self.object_labels)

    def to(self, *args: Any, **kwargs: Any) -> "RelationTarget":
        """A copy on another device."""
        return _map_tensors(self, lambda _, tensor: tensor.to(*args, **kwargs))


@dataclass(frozen=True)
class DetectionTarget:
    """The boxes of one image, for object detection without relations.

    Attributes:
        boxes: cx cy w h divided by the width and height of the augmented image without padding.
        labels: row of the label space, one per box.
        annotated: which classes the dataset of this image labels at all; where two datasets are joined, the
            classes of the other one may be in the image without a box.
    """

    boxes: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    annotated: Bool[Tensor, " o"]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, *args: Any, **kwargs: Any) -> "DetectionTarget":
        """A copy on another device."""
        return _map_tensors(self, lambda _, tensor: tensor.to(*args, **kwargs))


TargetT = TypeVar("TargetT", RelationTarget, DetectionTarget)


@dataclass(frozen=True)
class ImageBatch(Generic[TargetT]):
    """Images of many sizes, padded at the right and bottom, with their targets and one label space.

    Attributes:
        images: 0-255 `uint8`, or normalised float; padding is 0 and is 0 again after normalisation.
        padding_mask: True on padding.
        label_space: the texts of this batch; targets count in it.
        targets: one per image; empty list where a batch is only predicted.
        annotations: the original labels in original pixels, read by metrics; never moved off the CPU.
        original_sizes: (height, width) of the stored images in pixels.
        indices: position in the dataset, one per image: metrics drop what a sampler repeats.
    """

    images: UInt8[Tensor, "b 3 h w"] | Float[Tensor, "b 3 h w"]
    padding_mask: Bool[Tensor, "b h w"]
    label_space: LabelSpace
    targets: list[TargetT]
    annotations: list[Annotation]
    original_sizes: Int[Tensor, "b 2"]
    indices: Int[Tensor, " b"]

    def __len__(self) -> int:
        return len(self.images)

    def __getstate__(self) -> dict[str, Any]:
        # each tensor that a loader worker hands over takes a file of shared memory, an array only bytes in its message
        return self.__dict__ | self._small_parts(Tensor, lambda tensor: tensor if tensor.is_cuda else tensor.numpy())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.update(self._small_parts(np.ndarray, torch.from_numpy))

    def _small_parts(self, kind: type, function: Callable[[Any], Any]) -> dict[str, Any]:
        """What is not pixels, with a function applied to everything of one kind in it."""
        parts: dict[str, Any] = {
            name: [_map_parts(item, kind, lambda _, part: function(part)) for item in getattr(self, name)]
            for name in ("targets", "annotations")
        }
        singles = {name: getattr(self, name) for name in ("original_sizes", "indices")}
        return parts | {name: function(part) for name, part in singles.items() if isinstance(part, kind)}

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """A copy whose images, mask and targets are on another device."""
        return dataclasses.replace(
            self,
            images=self.images.to(*args, **kwargs),
            padding_mask=self.padding_mask.to(*args, **kwargs),
            targets=[target.to(*args, **kwargs) for target in self.targets],
        )

    def pin_memory(self) -> Self:
        """A copy in page-locked memory; called by the loader."""
        return dataclasses.replace(
            self,
            images=self.images.pin_memory(),
            padding_mask=self.padding_mask.pin_memory(),
            targets=[_map_tensors(target, lambda _, tensor: tensor.pin_memory()) for target in self.targets],
        )


class RelationBatch(ImageBatch[RelationTarget]):
    """A batch whose targets are pairs."""


class DetectionBatch(ImageBatch[DetectionTarget]):
    """A batch whose targets are single boxes."""


@dataclass(frozen=True)
class TextFeatures:
    """The encoded texts of a label space: objects, background, relations.

    Attributes:
        pooled: pooled output of the text encoder, before any fusion with an image.
        padding_mask: True on texts that the language layers must not attend to.
        num_objects: number of object texts including the background text.
    """

    pooled: Float[Tensor, "t c"]
    padding_mask: Bool[Tensor, " t"]
    num_objects: int

    @property
    def num_relations(self) -> int:
        """Number of relation texts."""
        return len(self.pooled) - self.num_objects

    def detach(self) -> "TextFeatures":
        """The same features without their graph, for caches."""
        return dataclasses.replace(self, pooled=self.pooled.detach())


@dataclass(frozen=True)
class RelationOutput:
    """Predictions of all decoder layers, the last layer last.

    Logits are before softmax (subject, object: the last column is the background text) and sigmoid
    (relation). Boxes are cx cy w h, 0-1 relative to the image without padding.

    Attributes:
        relation_text: pooled features of the relation texts, read by the pseudo-relation loss.
        denoising: predictions for the noisy copies of the targets, where query denoising is on;
            row k of image b belongs to target k % len(targets[b]) (training only, not in the paper).
        dense: predictions of the auxiliary dense heads, where they are on (not in the paper).
    """

    object_logits: Float[Tensor, "l b q o"]
    relation_logits: Float[Tensor, "l b q r"]
    subject_boxes: Float[Tensor, "l b q 4"]
    object_boxes: Float[Tensor, "l b q 4"]
    subject_logits: Float[Tensor, "l b q o"] | None = None
    relation_text: Float[Tensor, "r c"] | None = None
    denoising: "RelationOutput | None" = None
    dense: "tuple[DenseOutput, ...]" = ()

    def layer(self, index: int) -> "RelationOutput":
        """One decoder layer, with a leading axis of 1."""
        index = range(len(self.object_logits))[index]
        return _map_tensors(self, lambda name, tensor: tensor if name == "relation_text" else tensor[index : index + 1])

    def pairs(self, rows: slice) -> "RelationOutput":
        """Some of the pairs."""
        return _map_tensors(self, lambda name, tensor: tensor if name == "relation_text" else tensor[:, :, rows])

    def with_extras(
        self, *, denoising: "RelationOutput | None" = None, dense: "tuple[DenseOutput, ...]" = ()
    ) -> "RelationOutput":
        """The same predictions with those of the auxiliary training parts."""
        return dataclasses.replace(self, denoising=denoising, dense=dense)


@dataclass(frozen=True)
class DenseOutput:
    """Per-token object predictions of an auxiliary head (query-free, training only, not in the paper).

    Attributes:
        logits: before sigmoid, one column per object text without the background.
        boxes: cx cy w h, 0-1 relative to the image without padding.
        centers: token centres x y, 0-1 in the same frame, per image.
        strides: 0-1 size (w, h) of each token's cell in the same frame, per image.
        padding_mask: True on tokens of padding.
        levels: pyramid level of each token.
    """

    logits: Float[Tensor, "b s o"]
    boxes: Float[Tensor, "b s 4"]
    centers: Float[Tensor, "b s 2"]
    strides: Float[Tensor, "b s 2"]
    padding_mask: Bool[Tensor, "b s"]
    levels: Int[Tensor, " s"]


@dataclass(frozen=True)
class DetectionOutput:
    """Object predictions of all decoder layers, the last layer last.

    Attributes:
        logits: before sigmoid, one column per object of the label space, no background.
        boxes: cx cy w h, 0-1 relative to the image without padding.
        dense: of the auxiliary dense heads, in training only and where the model has them.
    """

    logits: Float[Tensor, "l b q o"]
    boxes: Float[Tensor, "l b q 4"]
    dense: tuple[DenseOutput, ...] = ()


@dataclass(frozen=True)
class PairPredictions:
    """Predictions of one image for all pairs, boxes x1 y1 x2 y2 in original pixels (not clipped).

    `relation_scores` are final scores of (pair, relation), already multiplied with the object score
    (and, for scene graphs, the subject score).
    """

    subject_boxes: Float[Tensor, "q 4"]
    object_boxes: Float[Tensor, "q 4"]
    subject_labels: Int[Tensor, " q"]
    object_labels: Int[Tensor, " q"]
    relation_scores: Float[Tensor, "q r"]

    def __len__(self) -> int:
        return len(self.object_labels)

    def to(self, *args: Any, **kwargs: Any) -> "PairPredictions":
        """A copy on another device."""
        return _map_tensors(self, lambda _, tensor: tensor.to(*args, **kwargs))

    def top(self, k: int, label_space: LabelSpace, valid: Num[Tensor, "r o"] | None = None) -> "Triplets":
        """The k best triplets by score, ties in order of (pair, relation).

        `valid[relation, object]` masks the scores (0 removes a combination from the ranking's top).
        """
        scores = self.relation_scores
        if valid is not None:
            scores = scores * valid.to(scores).T[self.object_labels]
        order = torch.argsort(scores.flatten(), descending=True, stable=True)[:k]
        pairs, relations = order // max(scores.shape[1], 1), order % max(scores.shape[1], 1)
        return Triplets(
            subject_boxes=self.subject_boxes[pairs],
            object_boxes=self.object_boxes[pairs],
            subject_labels=self.subject_labels[pairs],
            object_labels=self.object_labels[pairs],
            relation_labels=relations,
            scores=scores.flatten()[order],
            label_space=label_space,
        )


@dataclass(frozen=True)
class BoxPredictions:
    """Detected objects of one image, best first, boxes x1 y1 x2 y2 in original pixels (not clipped).

    `labels` are rows of the label space the model was asked for.
    """

    boxes_xyxy: Float[Tensor, "q 4"]
    labels: Int[Tensor, " q"]
    scores: Float[Tensor, " q"]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, *args: Any, **kwargs: Any) -> "BoxPredictions":
        """A copy on another device."""
        return _map_tensors(self, lambda _, tensor: tensor.to(*args, **kwargs))


@dataclass(frozen=True)
class Triplet:
    """One predicted `<subject, relation, object>`, boxes x1 y1 x2 y2 in original pixels."""

    subject: str
    relation: str
    object: str
    score: float
    subject_box: tuple[float, float, float, float]
    object_box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Triplets:
    """The ranked triplets of one image, boxes x1 y1 x2 y2 in original pixels, best first."""

    subject_boxes: Float[Tensor, "k 4"]
    object_boxes: Float[Tensor, "k 4"]
    subject_labels: Int[Tensor, " k"]
    object_labels: Int[Tensor, " k"]
    relation_labels: Int[Tensor, " k"]
    scores: Float[Tensor, " k"]
    label_space: LabelSpace

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Triplet]:
        objects, relations = self.label_space.objects, self.label_space.relations
        for row in range(len(self)):
            yield Triplet(
                subject=objects[int(self.subject_labels[row])],
                relation=relations[int(self.relation_labels[row])],
                object=objects[int(self.object_labels[row])],
                score=float(self.scores[row]),
                subject_box=tuple(self.subject_boxes[row].tolist()),
                object_box=tuple(self.object_boxes[row].tolist()),
            )

    def top(self, k: int) -> "Triplets":
        """The k best."""
        return _map_tensors(self, lambda _, tensor: tensor[:k])

    def filter(self, min_score: float) -> "Triplets":
        """Those with at least `min_score`."""
        keep = self.scores >= min_score
        return _map_tensors(self, lambda _, tensor: tensor[keep])


def _map_tensors(structure: Any, function: Callable[[str, Tensor], Tensor]) -> Any:
    """A copy of a dataclass with `function(field name, tensor)` applied to its tensors."""
    return _map_parts(structure, Tensor, function)


def _map_parts(structure: Any, kind: type, function: Callable[[str, Any], Any]) -> Any:
    """The same with everything of another kind in its fields."""
    values = {field.name: getattr(structure, field.name) for field in dataclasses.fields(structure)}
    return dataclasses.replace(
        structure, **{name: function(name, value) for name, value in values.items() if isinstance(value, kind)}
    )
