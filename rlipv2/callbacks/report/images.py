"""Which images a report shows: those with the best and with the worst ranked list, kept as a few rows each."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torchmetrics.utilities.distributed import gather_all_tensors

from rlipv2.metrics.diagnosis.evidence import Evidence
from rlipv2.metrics.diagnosis.rules import Labels
from rlipv2.metrics.diagnosis.summary import image_ap
from rlipv2.metrics.functional import Detections, GroundTruth
from rlipv2.structures import LabelSpace, Triplets

Key = tuple[float, int, int]
COLUMNS = 13
MOST_LABELS = 40
"""Labels kept of an image."""


@dataclass(frozen=True)
class Example:
    """An image to be shown.

    Attributes:
        index: position in the dataset.
        ap: average precision of its ranked list, all classes together.
        num_labelled: labels.
        detections: its best ones: subject, relation, object, score, kind of error, both boxes (x1 y1 x2 y2 in pixels).
        labels: those that the metric counts, at most `MOST_LABELS`; the same columns, with score 1 and whether the
            label is found in place of the kind, and object -1 where there is none.
    """

    index: int
    ap: float
    num_labelled: int
    detections: Float[np.ndarray, "k 13"]
    labels: Float[np.ndarray, "h 13"]


def triplets_of(rows: Float[np.ndarray, "k 13"], label_space: LabelSpace) -> Triplets:
    """Detections or labels of an `Example`; those without object have a zero box, as `rlipv2.visualize` expects."""
    table = torch.from_numpy(rows)
    labels = table[:, :3].long()
    known = labels[:, 2] >= 0
    return Triplets(
        subject_boxes=table[:, 5:9].float(),
        object_boxes=table[:, 9:13].float() * known[:, None],
        subject_labels=labels[:, 0],
        object_labels=torch.where(known, labels[:, 2], label_space.missing_object or 0),
        relation_labels=labels[:, 1],
        scores=table[:, 3].float(),
        label_space=label_space,
    )


@dataclass
class Examples:
    """The images of a test with the best and the worst average precision of their own list.

    Equal ones: those with more labels first. Images without labels have no such figure and are not shown.

    Args:
        number: of best and of worst images.
        top: detections kept of each.
    """

    number: int
    top: int
    kept: dict[int, Example] = field(default_factory=dict)

    def add(self, detections: Detections, truth: GroundTruth, evidence: Evidence) -> None:
        """Offers the images of a batch, see `DiagnosisMetric.latest`."""
        labels, first, count = Labels.of(truth), evidence.ptr(1), evidence.ptr(2)
        for image, index in enumerate(evidence.images[:, 0].tolist()):
            number = int(evidence.images[image, 2])
            if not number:
                continue
            rows = slice(first[image], first[image + 1])
            best = slice(rows.start, min(rows.stop, rows.start + self.top))
            shown = slice(count[image], min(count[image + 1], count[image] + MOST_LABELS))
            ap = image_ap(evidence.kinds[rows], number)
            tables = (
                _table(detections, best, detections.scores[best], evidence.kinds[best]),
                _table(labels, shown, np.ones(shown.stop - shown.start), evidence.found[shown]),
            )
            self.kept.setdefault(index, Example(index, ap, number, *tables))
        if len(self.kept) > 4 * self.number:
            self._prune()

    def chosen(self) -> tuple[list[Example], list[Example]]:
        """The best and the worst, best and worst first; no image is both."""
        number = min(self.number, (len(self.kept) + 1) // 2)
        best = sorted(self.kept.values(), key=_best)[:number]
        others = [example for example in self.kept.values() if example not in best]
        return best, sorted(others, key=_worst)[: self.number]

    def gathered(self, device: torch.device) -> "Examples":
        """Those of all processes, each image once; must be called on all of them.

        Args:
            device: one that the processes can exchange tensors on.
        """
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self
        self._prune()
        kept = list(self.kept.values())
        heads = [[each.index, each.ap, each.num_labelled, len(each.detections), len(each.labels)] for each in kept]
        nothing = np.zeros((0, COLUMNS))
        tables = (
            np.array(heads, np.float64).reshape(-1, 5),
            np.concatenate([nothing, *(each.detections for each in kept)]),
            np.concatenate([nothing, *(each.labels for each in kept)]),
        )
        parts = [[part.cpu().numpy() for part in gather_all_tensors(torch.from_numpy(t).to(device))] for t in tables]
        result = Examples(self.number, self.top)
        for some, detections, labels in zip(*parts, strict=True):
            ends = np.cumsum(some[:, 3:], axis=0).astype(int)
            for row, (index, ap, number, *counts) in enumerate(some.tolist()):
                starts = ends[row] - np.array(counts, int)
                own = detections[starts[0] : ends[row, 0]], labels[starts[1] : ends[row, 1]]
                result.kept.setdefault(int(index), Example(int(index), ap, int(number), *own))
        return result

    def _prune(self) -> None:
        examples = list(self.kept.values())
        keep = [*sorted(examples, key=_best)[: self.number], *sorted(examples, key=_worst)[: 2 * self.number]]
        self.kept = {example.index: example for example in keep}


def _table(
    triplets: Detections | Labels, rows: slice, scores: Float[np.ndarray, " k"], marks: UInt8[np.ndarray, " k"]
) -> Float[np.ndarray, "k 13"]:
    columns = (
        triplets.subject_labels[rows],
        triplets.relations[rows],
        triplets.object_labels[rows],
        scores,
        marks,
        *triplets.subject_boxes[rows].T,
        *triplets.object_boxes[rows].T,
    )
    return np.stack([column.astype(np.float64) for column in columns], axis=1)


def _best(example: Example) -> Key:
    return -example.ap, -example.num_labelled, example.index


def _worst(example: Example) -> Key:
    return example.ap, -example.num_labelled, example.index
