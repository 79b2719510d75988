"""The ranked triplets of one image."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rlipv2.ops.nms import pairwise_nms
from rlipv2.structures.entities import Entities, merge_boxes
from rlipv2.structures.label_space import LabelSpace
from rlipv2.structures.mapping import map_tensors


@dataclass(frozen=True)
class Triplet:
    """One predicted `<subject, relation, object>`, boxes x1 y1 x2 y2 in original pixels."""

    subject: str
    relation: str
    object: str
    score: float
    subject_box: tuple[float, float, float, float]
    object_box: tuple[float, float, float, float]


class SupervisionEntities(NamedTuple):
    """What `Triplets.to_supervision` gives.

    Attributes:
        detections: `supervision.Detections` of the distinct boxes; `data["class_name"]` holds their names.
        subjects: row of `detections` per triplet.
        objects: the same; -1 for a relation without object.
    """

    detections: Any
    subjects: np.ndarray
    objects: np.ndarray


@dataclass(frozen=True)
class Triplets:
    """The ranked triplets of one image, boxes x1 y1 x2 y2 in original pixels (not clipped), best first.

    `image_size` is (height, width) of the image in pixels where it is known. The class "missing objects" stands
    for the object of a relation that has none (V-COCO): the box of such an object means nothing.
    """

    subject_boxes: Float[Tensor, "k 4"]
    object_boxes: Float[Tensor, "k 4"]
    subject_labels: Int[Tensor, " k"]
    object_labels: Int[Tensor, " k"]
    relation_labels: Int[Tensor, " k"]
    scores: Float[Tensor, " k"]
    label_space: LabelSpace
    image_size: tuple[int, int] | None = None

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

    def select(self, rows: Int[Tensor, " m"] | Bool[Tensor, " k"] | slice) -> "Triplets":
        """The triplets at these rows, or where the mask is true."""
        return map_tensors(self, lambda _, tensor: tensor[rows])

    def top(self, k: int) -> "Triplets":
        """The k best.

        Raises:
            ValueError: a negative number.
        """
        if k < 0:
            raise ValueError(f"top({k}): expected how many triplets are kept, from 0")
        return self.select(slice(k))

    def filter(
        self,
        min_score: float = 0.0,
        *,
        subjects: str | Sequence[str] | None = None,
        relations: str | Sequence[str] | None = None,
        objects: str | Sequence[str] | None = None,
    ) -> "Triplets":
        """Those with at least `min_score` and only these names; None allows all.

        Raises:
            ValueError: a name that the label space does not have.
        """
        keep = self.scores >= min_score
        for kind, asked, labels, names in (
            ("subjects", subjects, self.subject_labels, self.label_space.objects),
            ("relations", relations, self.relation_labels, self.label_space.relations),
            ("objects", objects, self.object_labels, self.label_space.objects),
        ):
            if asked is not None:
                rows = _rows_of(kind, [asked] if isinstance(asked, str) else asked, names)
                keep &= torch.isin(labels, torch.tensor(rows, dtype=labels.dtype, device=labels.device))
        return self.select(keep)

    def distinct(self, threshold: float = 0.5) -> "Triplets":
        """Without repetitions of a better one: the same names and both boxes nearly the same.

        `threshold` is that of `rlipv2.ops.nms.pairwise_nms`; the evaluation of HICO-DET takes 0.7.
        """
        names = torch.stack([self.subject_labels, self.relation_labels, self.object_labels], 1)
        groups = torch.unique(names, dim=0, return_inverse=True)[1]
        keep = pairwise_nms(
            groups.cpu().numpy(),
            self.subject_boxes.cpu().numpy(),
            self.object_boxes.cpu().numpy(),
            threshold=threshold,
        )
        return self.select(torch.from_numpy(keep).to(self.scores.device))

    def entities(self, iou: float = 0.5) -> Entities:
        """The distinct boxes: one predicts a thing once per pair, so boxes of a name that overlap are one thing.

        Subject and object of a triplet stay two things, however much they overlap.

        Args:
            iou: least intersection over union with the better box.
        """
        missing = self.label_space.missing_object
        present = torch.ones(len(self), 2, dtype=torch.bool)
        present[:, 1] = self.object_boxes.cpu().any(1)  # all zeros: no object, in label spaces without a class for it
        if missing is not None:
            present[:, 1] &= self.object_labels.cpu() != missing
        flat = present.flatten()
        boxes = torch.stack([self.subject_boxes, self.object_boxes], 1).flatten(0, 1).cpu()[flat]
        labels = torch.stack([self.subject_labels, self.object_labels], 1).flatten().cpu()[flat]
        is_object = torch.tensor([False, True]).repeat(len(self))[flat]
        chosen, owner = merge_boxes(boxes, labels, is_object, threshold=iou)
        index = torch.full((2 * len(self),), -1, dtype=torch.long)
        index[flat] = owner
        return Entities(
            boxes=boxes[chosen],
            labels=labels[chosen],
            scores=self.scores.cpu().repeat_interleave(2)[flat][chosen],
            names=tuple(self.label_space.objects[int(label)] for label in labels[chosen]),
            subject_index=index[0::2],
            object_index=index[1::2],
        )

    def to_dict(self) -> dict[str, Any]:
        """`width`, `height` (None if unknown) and `triplets`; boxes rounded to 0.01 pixels, scores to 1e-6."""
        height, width = self.image_size or (None, None)
        triplets = [
            {
                "subject": triplet.subject,
                "relation": triplet.relation,
                "object": triplet.object,
                "score": round(triplet.score, 6),
                "subject_box": [round(value, 2) for value in triplet.subject_box],
                "object_box": [round(value, 2) for value in triplet.object_box],
            }
            for triplet in self
        ]
        return {"width": width, "height": height, "triplets": triplets}

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON, on one line unless `indent` is given."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], label_space: LabelSpace | None = None) -> "Triplets":
        """The triplets in a dictionary of `to_dict`; further keys are ignored.

        Args:
            values: as `to_dict` gives them.
            label_space: that their names count in; None: that of the names that occur, in order of occurrence.

        Raises:
            ValueError: a key is missing, a value makes no sense, or a name is not in the label space.
        """
        try:
            rows = [_triplet(row, number) for number, row in enumerate(values["triplets"])]
            size = (values["height"], values["width"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"expected a dictionary with width, height and a list triplets ({error!r})") from error
        if label_space is None:
            objects = dict.fromkeys(name for row in rows for name in (row.subject, row.object))
            label_space = LabelSpace(tuple(objects), tuple(dict.fromkeys(row.relation for row in rows)))
        return cls(
            subject_boxes=torch.tensor([row.subject_box for row in rows], dtype=torch.float32).reshape(-1, 4),
            object_boxes=torch.tensor([row.object_box for row in rows], dtype=torch.float32).reshape(-1, 4),
            subject_labels=_labels("subject", [row.subject for row in rows], label_space.objects),
            object_labels=_labels("object", [row.object for row in rows], label_space.objects),
            relation_labels=_labels("relation", [row.relation for row in rows], label_space.relations),
            scores=torch.tensor([row.score for row in rows], dtype=torch.float32),
            label_space=label_space,
            image_size=None if None in size else (int(size[0]), int(size[1])),
        )

    def to_supervision(self, iou: float = 0.5) -> SupervisionEntities:
        """The distinct boxes as `supervision.Detections`, and which of them every triplet joins; see `entities`.

        Raises:
            ModuleNotFoundError: supervision is not installed.
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            raise _needs_graphs("supervision") from error
        found = self.entities(iou)
        detections = supervision.Detections(
            xyxy=found.boxes.numpy().reshape(-1, 4),
            confidence=found.scores.numpy(),
            class_id=found.labels.numpy(),
            data={"class_name": np.array(found.names, dtype=np.str_)},
        )
        return SupervisionEntities(detections, found.subject_index.numpy(), found.object_index.numpy())

    def to_networkx(self, iou: float = 0.5) -> Any:
        """The scene graph, a `networkx.MultiDiGraph`.

        Nodes are the distinct boxes (0, 1, ...) with `name`, `box` and `score`; edges the triplets with `relation`,
        `score` and `rank`. A relation without object is a loop at its subject.

        Raises:
            ModuleNotFoundError: networkx is not installed.
        """
        try:
            import networkx
        except ModuleNotFoundError as error:
            raise _needs_graphs("networkx") from error
        found = self.entities(iou)
        height, width = self.image_size or (None, None)
        graph = networkx.MultiDiGraph(width=width, height=height)
        for node, (name, box, score) in enumerate(zip(found.names, found.boxes, found.scores, strict=True)):
            graph.add_node(node, name=name, box=box.tolist(), score=float(score))
        ends = zip(found.subject_index.tolist(), found.object_index.tolist(), strict=True)
        for rank, (triplet, (subject, object_)) in enumerate(zip(self, ends, strict=True)):
            graph.add_edge(
                subject,
                subject if object_ < 0 else object_,
                relation=triplet.relation,
                score=triplet.score,
                rank=rank,
            )
        return graph


def _needs_graphs(package: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"this needs {package}: pip install -e '.[graphs]'", name=package)


def _rows_of(kind: str, asked: Sequence[str], names: Sequence[str]) -> list[int]:
    if unknown := [name for name in asked if name not in names]:
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise ValueError(f"{kind}: {unknown} are none of the {len(names)} names that were asked for: {shown}")
    return [names.index(name) for name in asked]


def _labels(kind: str, asked: Sequence[str], names: Sequence[str]) -> Int[Tensor, " k"]:
    return torch.tensor(_rows_of(kind, asked, names), dtype=torch.long)


def _triplet(row: Mapping[str, Any], number: int) -> Triplet:
    try:
        names = {name: row[name] for name in ("subject", "relation", "object")}
        boxes = {name: tuple(map(float, row[name])) for name in ("subject_box", "object_box")}
        score = float(row["score"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"triplets[{number}]: a key is missing or holds no number ({error!r})") from error
    if not all(isinstance(name, str) for name in names.values()) or any(len(box) != 4 for box in boxes.values()):
        raise ValueError(f"triplets[{number}]: expected names as strings and boxes as four numbers, got {dict(row)!r}")
    return Triplet(**names, **boxes, score=score)  # type: ignore[arg-type]
