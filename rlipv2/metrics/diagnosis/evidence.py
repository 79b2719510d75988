"""What kind of error each detection is: judged image by image, kept as a few bytes per detection.

The kinds follow Diag-HOI (Zhu et al., "Diagnosing Human-object Interaction Detectors", arXiv 2308.08529), which
splits the errors of interaction detectors into human box, object box, both, association, action and duplicate, and
TIDE (Bolya et al., ECCV 2020), which has an overlap of 0.1 tell a badly placed box from background. Written anew;
what differs from both: classes of boxes and relations are told apart, errors in several parts have a kind of their
own, and what is correct is decided by the rules of the metric that is explained.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from rlipv2.metrics.diagnosis.rules import Labels, Rules, boxes_of, keys_of
from rlipv2.metrics.figures import FlatMatches
from rlipv2.metrics.functional import Detections, GroundTruth, best_candidates, found_pairs, same_key
from rlipv2.metrics.triplets.protocol import greedy_assignment
from rlipv2.ops.nms import pixel_iou

KINDS = (
    "correct",
    "duplicate",
    "relation",
    "class",
    "pairing",
    "subject box",
    "object box",
    "both boxes",
    "several",
    "background",
)
"""Kinds of detections. The first that fits counts:

* correct: the metric counts it as a true positive;
* duplicate: it would be, had a better detection not found the same label;
* relation: both boxes and their classes are those of a labelled pair, which has other relations only;
* class: both boxes and the relation are those of a labelled pair, the class of a box is wrong;
* pairing: both boxes are labelled boxes of their classes, but no labelled pair;
* subject box, object box, both boxes: everything is that of a labelled triplet, but this box (or both) overlaps it too
  little, though by `Rules.near` at least;
* several: both boxes are at least near those of a labelled pair, and more than one part is wrong;
* background: everything else.
"""
(CORRECT, DUPLICATE, RELATION, CLASS, PAIRING, SUBJECT_BOX, OBJECT_BOX, BOTH_BOXES, SEVERAL, BACKGROUND) = range(
    len(KINDS)
)


@dataclass(frozen=True)
class Evidence(FlatMatches):
    """Judged images: flat rows per detection and per label.

    Attributes:
        images: columns (dataset index, detections, labels, image id, 1 if any box is labelled).
        keys: class of each detection, see `Rules.keys`, image by image, best first.
        scores: its score.
        kinds: place in `KINDS`.
        targets: the label of its image, counted from 0, that it finds or would find if what is wrong were right;
            -1 for none. No two detections of one kind have the same.
        labelled_keys: class of each label.
        found: whether a detection is correct about it.
        confused: the relation that is surest on the pair of this label, not counting those that are right about
            another label; -1 where no detection has both boxes and classes.
    """

    keys: Int[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]
    kinds: UInt8[np.ndarray, " k"]
    targets: Int[np.ndarray, " k"]
    labelled_keys: Int[np.ndarray, " h"]
    found: UInt8[np.ndarray, " h"]
    confused: Int[np.ndarray, " h"]

    OWNERS: ClassVar[dict[str, int]] = {
        "keys": 1,
        "scores": 1,
        "kinds": 1,
        "targets": 1,
        "labelled_keys": 2,
        "found": 2,
        "confused": 2,
    }

    def ptr(self, column: int) -> Int[np.ndarray, " i+1"]:
        """First row of each image, and one past the last: column 1 for detections, 2 for labels."""
        return np.concatenate([[0], np.cumsum(self.images[:, column])])

    def target_rows(self) -> Int[np.ndarray, " k"]:
        """`targets` as rows of `labelled_keys`; -1 for none."""
        first = np.repeat(self.ptr(2)[:-1], self.images[:, 1])
        return np.where(self.targets >= 0, first + self.targets, -1)


@dataclass(frozen=True)
class _Meetings:
    """All (detection, label) of the same image, and what is right about them.

    Attributes:
        rows: the detections, ascending.
        columns: the labels.
        subject: overlap of the subjects.
        object: overlap of the objects; 1 where the label has none.
        classes: the classes of both boxes are right.
        relation: the relation is right.
    """

    rows: Int[np.ndarray, " p"]
    columns: Int[np.ndarray, " p"]
    subject: Float[np.ndarray, " p"]
    object: Float[np.ndarray, " p"]
    classes: Bool[np.ndarray, " p"]
    relation: Bool[np.ndarray, " p"]

    @classmethod
    def of(cls, detections: Detections, labels: Labels, rules: Rules) -> "_Meetings":
        everyone = np.ones(len(detections), bool)
        rows, columns = same_key(
            (detections.images, np.zeros(len(detections), np.int64)),
            (labels.images, np.zeros(len(labels), np.int64)),
            everyone,
        )
        subject = _overlaps(detections.subject_boxes[rows], labels.subject_boxes[columns], rules)
        target = _overlaps(detections.object_boxes[rows], labels.object_boxes[columns], rules)
        without = labels.object_labels[columns] < 0
        target[without] = 1
        classes = without | (detections.object_labels[rows] == labels.object_labels[columns])
        if not rules.by_relation:
            classes &= detections.subject_labels[rows] == labels.subject_labels[columns]
        relation = detections.relations[rows] == labels.relations[columns]
        return cls(rows, columns, subject, target, classes, relation)

    @property
    def least(self) -> Float[np.ndarray, " p"]:
        """The smaller overlap."""
        return np.minimum(self.subject, self.object)

    def any(self, chosen: Bool[np.ndarray, " p"], count: int) -> Bool[np.ndarray, " k"]:
        """Which of `count` detections have a chosen meeting."""
        result = np.zeros(count, bool)
        result[self.rows[chosen]] = True
        return result


def judge(
    detections: Detections,
    truth: GroundTruth,
    rules: Rules,
    *,
    indices: Int[np.ndarray, " i"],
    image_ids: Int[np.ndarray, " i"],
) -> Evidence:
    """Judges the ranked detections of a run of images.

    Args:
        detections: those that the metric counts; `images` counts within this run.
        truth: the labels that the metric counts.
        rules: of the metric.
        indices: dataset index of each image.
        image_ids: its number.
    """
    labels, count = Labels.of(truth), len(detections)
    meet = _Meetings.of(detections, labels, rules)
    fits = meet.least >= rules.threshold
    right = fits & meet.classes & meet.relation
    match = greedy_assignment if rules.second_choice else found_pairs
    targets = match(meet.rows[right], meet.columns[right], meet.least[right], count)
    found = np.zeros(len(labels), np.uint8)
    found[targets[targets >= 0]] = 1
    kinds, cases = _kinds(detections, truth, meet, rules, targets >= 0)
    missed = found[meet.columns] == 0
    for kind, case in cases.items():
        # a label goes to the surest detection of a kind that it would put right
        use = case & missed & (kinds[meet.rows] == kind)
        put_right = greedy_assignment(meet.rows[use], meet.columns[use], meet.least[use], count)
        targets = np.where(put_right >= 0, put_right, targets)
    owners = [np.bincount(of.images, minlength=len(truth)) for of in (detections, labels)]
    first = np.cumsum(owners[1]) - owners[1]
    annotated = np.diff(truth.box_ptr) > 0
    return Evidence(
        images=np.stack([indices, *owners, image_ids, annotated], axis=1).astype(np.int64),
        keys=keys_of(rules, detections),
        scores=detections.scores.astype(np.float32),
        kinds=kinds,
        targets=np.where(targets >= 0, targets - first[detections.images], -1),
        labelled_keys=keys_of(rules, labels),
        found=found,
        confused=_confused(detections, meet, fits, right, len(labels)),
    )


def _kinds(
    detections: Detections, truth: GroundTruth, meet: _Meetings, rules: Rules, correct: Bool[np.ndarray, " k"]
) -> tuple[UInt8[np.ndarray, " k"], dict[int, Bool[np.ndarray, " p"]]]:
    """The kind of each detection, and by kind the meetings whose label it would find if put right."""
    count, fits = len(detections), meet.least >= rules.threshold
    near = meet.least >= rules.near
    subject, target = meet.subject >= rules.threshold, meet.object >= rules.threshold
    triplet = meet.classes & meet.relation
    misplaced = triplet & near & ~fits
    cases = {
        RELATION: fits & meet.classes & ~meet.relation,
        CLASS: fits & meet.relation & ~meet.classes,
        PAIRING: triplet & (subject | target),
        SUBJECT_BOX: misplaced & target,
        OBJECT_BOX: misplaced & subject,
        BOTH_BOXES: misplaced & ~subject & ~target,
    }
    kinds = np.full(count, BACKGROUND, np.uint8)
    kinds[meet.any(near, count)] = SEVERAL
    # of several such labels the one that is overlapped most tells which box it is
    places = np.flatnonzero(misplaced)
    rows, chosen = best_candidates(meet.rows[places], places, meet.least[places])
    kinds[rows] = np.select([target[chosen], subject[chosen]], [SUBJECT_BOX, OBJECT_BOX], BOTH_BOXES)
    kinds[_on_two_boxes(detections, truth, rules)] = PAIRING
    kinds[meet.any(cases[CLASS], count)] = CLASS
    kinds[meet.any(cases[RELATION], count)] = RELATION
    kinds[meet.any(fits & triplet, count)] = DUPLICATE
    kinds[correct] = CORRECT
    return kinds, cases


def _on_two_boxes(detections: Detections, truth: GroundTruth, rules: Rules) -> Bool[np.ndarray, " k"]:
    """Which detections have the boxes and classes of two different labelled boxes."""
    images, boxes, labels = boxes_of(truth)
    on = []
    for corners, classes in (
        (detections.subject_boxes, detections.subject_labels),
        (detections.object_boxes, detections.object_labels),
    ):
        everyone = np.ones(len(detections), bool)
        rows, columns = same_key((detections.images, classes), (images, labels), everyone)
        overlaps = _overlaps(corners[rows], boxes[columns], rules)
        close = overlaps >= rules.threshold
        rows, columns = best_candidates(rows[close], columns[close], overlaps[close])
        chosen = np.full(len(detections), -1)
        chosen[rows] = columns
        on.append(chosen)
    return (on[0] >= 0) & (on[1] >= 0) & (on[0] != on[1])


def _confused(
    detections: Detections,
    meet: _Meetings,
    fits: Bool[np.ndarray, " p"],
    right: Bool[np.ndarray, " p"],
    count: int,
) -> Int[np.ndarray, " h"]:
    """See `Evidence.confused`."""
    right_elsewhere = meet.any(right, len(detections))[meet.rows] & ~meet.relation
    use = np.flatnonzero(fits & meet.classes & ~right_elsewhere)
    # detections are ranked: the first row of a label is its surest
    labels, first = np.unique(meet.columns[use], return_index=True)
    confused = np.full(count, -1)
    confused[labels] = detections.relations[meet.rows[use[first]]]
    return confused


def _overlaps(
    a_xyxy: Float[np.ndarray, "p 4"], b_xyxy: Float[np.ndarray, "p 4"], rules: Rules
) -> Float[np.ndarray, " p"]:
    return pixel_iou(a_xyxy, b_xyxy, extent=rules.extent, touching=rules.touching)
