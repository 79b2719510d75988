"""The official V-COCO evaluation in NumPy: role AP in both scenarios and agent AP.

Matching happens once per image. Afterwards one score and one byte of flags per pair and score column
are enough, 72 MB for 100 pairs on each of the 4,946 test images: unlike in other protocols every pair is
a detection of every action. Rules and their sources: `VCOCOProtocol`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from rlipv2.metrics.figures import FlatMatches
from rlipv2.metrics.vcoco import in_training
from rlipv2.metrics.vcoco.pairs import Pairs
from rlipv2.metrics.vcoco.tables import VerbTable
from rlipv2.metrics.vcoco.truth import BoxConvention, VCOCOGroundTruth
from rlipv2.ops.nms import pixel_iou

SCENARIO_1, SCENARIO_2, AGENT = 1, 2, 4
"""Bits of `Matches.flags`: correct role in a scenario; correct agent, at the first column of its action."""


@dataclass(frozen=True)
class VCOCOProtocol:
    """The rules, by default those of the official code (datasets/vsrl_eval.py, generate_vcoco_official.py).

    The last three are those of the in-training figures (datasets/vcoco_eval.py).

    Attributes:
        unannotated: what happens to a detection whose best-overlapping person (crowds included) has no
            V-COCO annotation: "skip" leaves it out however small the overlap (official), "skip_overlapping"
            only from `match_threshold` on, "count" makes it a false positive.
        missing_role: role box of a pair whose object label is "missing objects": "nan" predicts no
            object (official export), "box" keeps the predicted box.
        box_convention: "pixel" adds 1 to widths and heights (official), "continuous" does not; must be that of
            the ground truth.
        match_threshold: overlap that persons and objects must reach; exactly this much is enough.
        top_k: entries (pair, verb) per image; None keeps all.
        recall_levels: "float" (official), "decimal" or "area", see `rlipv2.metrics.functional.recall_levels`.
        missing_verbs: verbs without labelled pair in `map_thesis`: "zero" counts them as 0 (official), "skip" not.
    """

    unannotated: Literal["skip", "skip_overlapping", "count"] = "skip"
    missing_role: Literal["nan", "box"] = "nan"
    box_convention: BoxConvention = "pixel"
    match_threshold: float = 0.5
    top_k: int | None = 100
    recall_levels: Literal["float", "decimal", "area"] = "float"
    missing_verbs: Literal["zero", "skip"] = "zero"

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "unannotated": ("skip", "skip_overlapping", "count"),
        "missing_role": ("nan", "box"),
        "box_convention": ("pixel", "continuous"),
        "recall_levels": ("float", "decimal", "area"),
        "missing_verbs": ("zero", "skip"),
    }

    def __post_init__(self) -> None:
        for name, choices in self.CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {list(choices)}")
        if not 0 < self.match_threshold <= 1:
            raise ValueError(f"match_threshold={self.match_threshold}: expected more than 0 and at most 1")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k}: expected at least 1, or None for no limit")


@dataclass(frozen=True)
class Matches(FlatMatches):
    """What is left of images after matching: rows per pair and per in-training detection, counts per image.

    Attributes:
        images: columns (position in the ground truth, pairs, in-training detections, pairs skipped).
        scores: per pair that is not skipped and per column, image by image.
        flags: bits `SCENARIO_1`, `SCENARIO_2`, `AGENT`.
        top_verbs: column of each in-training detection, image by image, best first.
        top_scores: its score.
        top_positive: 1 if it is correct.
    """

    scores: Float[np.ndarray, "k v"]
    flags: UInt8[np.ndarray, "k v"]
    top_verbs: Int[np.ndarray, " t"]
    top_scores: Float[np.ndarray, " t"]
    top_positive: UInt8[np.ndarray, " t"]

    OWNERS: ClassVar[dict[str, int]] = {"scores": 1, "flags": 1, "top_verbs": 2, "top_scores": 2, "top_positive": 2}


def match_images(
    pairs: Pairs,
    truth: VCOCOGroundTruth,
    table: VerbTable,
    protocol: VCOCOProtocol,
    *,
    positions: Int[np.ndarray, " i"],
) -> Matches:
    """Matches the predictions of a run of images.

    Args:
        pairs: of all images; `pairs.images` counts within this run and ascends.
        truth: labels of the dataset.
        table: the actions.
        protocol: the rules.
        positions: place of each image of the run in `truth`.
    """
    top = in_training.match(pairs, truth.pairs, positions, protocol.top_k, protocol.match_threshold)
    persons, overlaps = _nearest_persons(pairs, truth, positions, protocol)
    annotated = persons >= 0
    annotated[annotated] = truth.person_actions[persons[annotated], 0] >= 0
    close = overlaps >= protocol.match_threshold
    skipped = np.zeros(len(pairs), bool)
    if protocol.unannotated != "count":
        skipped = (persons >= 0) & ~annotated & (close | (protocol.unannotated == "skip"))
    flags = np.zeros(pairs.scores.shape, np.uint8)
    rows = np.flatnonzero(annotated & close)
    _flag_roles(flags, pairs, rows, persons[rows], truth, table, protocol)
    _flag_agents(flags, pairs, rows, persons[rows], truth, table)
    count = len(positions)
    images = [positions, *(np.bincount(of, minlength=count) for of in (pairs.images[~skipped], top.images))]
    images.append(np.bincount(pairs.images[skipped], minlength=count))
    return Matches(
        images=np.stack(images, axis=1).astype(np.int64),
        scores=pairs.scores[~skipped],
        flags=flags[~skipped],
        top_verbs=top.verbs,
        top_scores=top.scores,
        top_positive=top.positive.astype(np.uint8),
    )


def _nearest_persons(
    pairs: Pairs, truth: VCOCOGroundTruth, positions: Int[np.ndarray, " i"], protocol: VCOCOProtocol
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """The person each subject overlaps most, the first one if there are several, and by how much.

    Where nobody overlaps this is the first person of the image, as in the official code; -1 without persons.
    """
    nearest, overlaps = np.full(len(pairs), -1), np.zeros(len(pairs), np.float32)
    first, counts = truth.person_ptr[positions][pairs.images], np.diff(truth.person_ptr)[positions][pairs.images]
    rows = np.flatnonzero(counts)
    if len(rows):
        # Images with fewer persons repeat their last one, which never comes before itself.
        columns = np.minimum(np.arange(counts.max()), counts[rows, None] - 1)
        persons = first[rows, None] + columns
        subjects = np.broadcast_to(pairs.subject_boxes[rows, None], (*persons.shape, 4)).reshape(-1, 4)
        extent = 1.0 if protocol.box_convention == "pixel" else 0.0
        found = pixel_iou(subjects, truth.person_boxes[persons.reshape(-1)], extent=extent).reshape(persons.shape)
        best = found.argmax(axis=1)
        nearest[rows], overlaps[rows] = persons[np.arange(len(rows)), best], found[np.arange(len(rows)), best]
    return nearest, overlaps


def _flag_roles(
    flags: UInt8[np.ndarray, "k v"],
    pairs: Pairs,
    rows: Int[np.ndarray, " m"],
    persons: Int[np.ndarray, " m"],
    truth: VCOCOGroundTruth,
    table: VerbTable,
    protocol: VCOCOProtocol,
) -> None:
    """Sets the bits of both scenarios; `rows` are the pairs on an annotated person, `persons` whom they are on."""
    which, slots = np.nonzero(truth.person_actions[persons][:, table.slot_actions] == 1)
    rows, persons = rows[which], persons[which]
    verbs, labelled = table.slot_verbs[slots], truth.role_boxes[persons, slots]
    nothing = (pairs.object_boxes[rows] == 0).all(axis=1)
    missing = pairs.missing[rows] & (protocol.missing_role == "nan")
    with_role = np.flatnonzero((labelled >= 0) & ~missing)
    overlapping = np.zeros(len(rows), bool)
    extent = 1.0 if protocol.box_convention == "pixel" else 0.0
    objects = pairs.object_boxes[rows[with_role]], truth.boxes[labelled[with_role]]
    overlapping[with_role] = pixel_iou(*objects, extent=extent) >= protocol.match_threshold
    scores = pairs.scores[rows, verbs]
    for bit, without_role in ((SCENARIO_1, missing | nothing), (SCENARIO_2, np.ones(len(rows), bool))):
        correct = np.where(labelled < 0, without_role, overlapping)
        chosen = _best_of_each(persons * len(table.slots) + slots, scores, correct)
        flags[rows[chosen], verbs[chosen]] |= np.uint8(bit)


def _flag_agents(
    flags: UInt8[np.ndarray, "k v"],
    pairs: Pairs,
    rows: Int[np.ndarray, " m"],
    persons: Int[np.ndarray, " m"],
    truth: VCOCOGroundTruth,
    table: VerbTable,
) -> None:
    """Sets the bit of the agents; see `_flag_roles`."""
    which, actions = np.nonzero(truth.person_actions[persons] == 1)
    rows, persons = rows[which], persons[which]
    scores = pairs.scores[rows[:, None], table.agent_verbs[actions]].max(axis=1)
    chosen = _best_of_each(persons * len(table.actions) + actions, scores, np.ones(len(rows), bool))
    flags[rows[chosen], table.agent_verbs[actions[chosen], 0]] |= np.uint8(AGENT)


def _best_of_each(
    keys: Int[np.ndarray, " m"], scores: Float[np.ndarray, " m"], usable: Bool[np.ndarray, " m"]
) -> Int[np.ndarray, " j"]:
    """The best usable row of each key, the first one on a tie: whatever finds the same person again is false."""
    rows = np.flatnonzero(usable)
    order = rows[np.lexsort((-scores[rows], keys[rows]))]
    return order[np.unique(keys[order], return_index=True)[1]]
