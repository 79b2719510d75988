"""V-COCO labels as the evaluators see them: persons with actions and role objects, and labelled pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.metrics.files import EvaluationFileError
from rlipv2.metrics.functional import GroundTruth
from rlipv2.metrics.vcoco.arrays import TruthArrays
from rlipv2.metrics.vcoco.tables import CATEGORY_IDS, VerbTable

BoxConvention = Literal["pixel", "continuous"]


@dataclass(frozen=True)
class VCOCOGroundTruth:
    """The labels of all images; made by `create`, which checks them.

    Attributes:
        image_ids: unique number of each image.
        in_split: images that are evaluated; a position is a row of all of these arrays.
        boxes: x1 y1 x2 y2 in pixels, clipped to the image, of all boxes.
        person_ptr: image i owns the persons `person_ptr[i]:person_ptr[i + 1]`, in order of their boxes.
        person_boxes: their boxes.
        person_actions: 1 does it, 0 does not, -1 (all actions) V-COCO says nothing about this person.
        role_boxes: row of `boxes` with the object of each (action, role) slot, -1 for none.
        pairs: labelled pairs as in the files the official model trains with: boxes neither clipped nor
            left out, relation = score column, object -1 where there is none.
    """

    image_ids: Int[np.ndarray, " i"]
    in_split: Bool[np.ndarray, " i"]
    boxes: Float[np.ndarray, "n 4"]
    person_ptr: Int[np.ndarray, " i+1"]
    person_boxes: Float[np.ndarray, "h 4"]
    person_actions: Int[np.ndarray, "h a"]
    role_boxes: Int[np.ndarray, "h s"]
    pairs: GroundTruth

    def __len__(self) -> int:
        return len(self.image_ids)

    @classmethod
    def create(
        cls,
        arrays: Mapping[str, np.ndarray],
        table: VerbTable,
        *,
        category_ids: Sequence[int] | Int[np.ndarray, " o"] = CATEGORY_IDS,
        person: int = 0,
        box_convention: BoxConvention = "pixel",
        source: str | Path = "ground_truth",
    ) -> "VCOCOGroundTruth":
        """Reads the arrays listed in `rlipv2.metrics.vcoco.arrays`.

        Official: datasets/vsrl_eval.py, `_add_gt_annotations` and `_get_vsrl_data`.

        Args:
            arrays: by name.
            table: the actions.
            category_ids: COCO category of each object label.
            person: object label of persons.
            box_convention: "pixel" makes x2 = x + w - 1 and clips to width - 1 (official), "continuous" neither.
            source: named in errors.

        Raises:
            EvaluationFileError: arrays of another shape, or values that contradict each other.
        """
        given = TruthArrays(arrays, table, Path(source))
        labels = given.labels(np.asarray(category_ids, np.int64))
        boxes, exists = _clean(given, box_convention)
        first = given.box_ptr[given.person_images]
        objects = np.where(given.slots >= 0, first[:, None] + given.slots, -1)
        given.check_objects(objects, exists)
        rows = np.flatnonzero(exists & (labels == person))
        row_of_box = np.full(len(boxes), -1)
        row_of_box[rows] = np.arange(len(rows))
        person_actions = np.full((len(rows), len(table.actions)), -1)
        role_boxes = np.full((len(rows), len(table.slots)), -1)
        own = row_of_box[first + given.person]
        person_actions[own[own >= 0]], role_boxes[own[own >= 0]] = given.actions[own >= 0], objects[own >= 0]
        return cls(
            image_ids=given.image_ids,
            in_split=given.in_split,
            boxes=boxes,
            person_ptr=np.searchsorted(rows, given.box_ptr),
            person_boxes=boxes[rows],
            person_actions=person_actions,
            role_boxes=role_boxes,
            pairs=_labelled_pairs(given, labels, table),
        )

    def find(self, image_ids: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
        """Position of each image.

        Raises:
            EvaluationFileError: an image that is not part of the split.
        """
        order = np.argsort(self.image_ids)
        places = np.minimum(np.searchsorted(self.image_ids[order], image_ids), len(order) - 1)
        positions = order[places]
        wrong = (self.image_ids[positions] != image_ids) | ~self.in_split[positions]
        if wrong.any():
            raise EvaluationFileError(
                f"image {image_ids[wrong][0]} is not part of the split that the metric evaluates "
                f"({np.count_nonzero(self.in_split)} images); give it the ground truth of this dataset"
            )
        return positions

    def num_positives(self, positions: Int[np.ndarray, " b"]) -> Int[np.ndarray, " a"]:
        """Persons of these images that do each action, with or without an object."""
        chosen = np.repeat(_mask(len(self), positions), np.diff(self.person_ptr))
        return np.count_nonzero(self.person_actions[chosen] == 1, axis=0)

    def num_pairs(self, positions: Int[np.ndarray, " b"], num_verbs: int) -> Int[np.ndarray, " v"]:
        """Labelled pairs of these images per score column."""
        chosen = np.repeat(_mask(len(self), positions), np.diff(self.pairs.relation_ptr))
        return np.bincount(self.pairs.relations[chosen, 2], minlength=num_verbs)


def _mask(count: int, positions: Int[np.ndarray, " b"]) -> Bool[np.ndarray, " i"]:
    mask = np.zeros(count, bool)
    mask[positions] = True
    return mask


def _clean(given: TruthArrays, convention: BoxConvention) -> tuple[Float[np.ndarray, "n 4"], Bool[np.ndarray, " n"]]:
    last = 1.0 if convention == "pixel" else 0.0
    corners = np.concatenate([given.bbox[:, :2], given.bbox[:, :2] + np.maximum(given.bbox[:, 2:] - last, 0)], axis=1)
    limits = np.tile(given.size[given.box_images] - last, 2)
    corners = np.minimum(limits, np.maximum(corners, 0))
    exists = given.exists & (corners[:, 2:] > corners[:, :2]).all(axis=1)
    return corners.astype(np.float32), exists


def _labelled_pairs(given: TruthArrays, labels: Int[np.ndarray, " n"], table: VerbTable) -> GroundTruth:
    """One row per person, action and role, by image, action, person and role as the converter writes them."""
    verb_roles = np.zeros(len(table.verbs), np.int64)
    verb_roles[table.slot_verbs] = table.slot_roles
    has_role = np.zeros(len(table.verbs), bool)
    has_role[table.slot_verbs] = True
    persons, verbs = np.nonzero(given.actions[:, table.action_of_verb] == 1)
    actions = table.action_of_verb[verbs]
    order = np.lexsort((verb_roles[verbs], persons, actions, given.person_images[persons]))
    persons, verbs, actions = persons[order], verbs[order], actions[order]
    objects = np.where(has_role[verbs], given.roles[persons, actions, verb_roles[verbs]], -1)
    return GroundTruth(
        boxes=np.concatenate([given.bbox[:, :2], given.bbox[:, :2] + given.bbox[:, 2:]], axis=1).astype(np.float32),
        labels=labels,
        box_ptr=given.box_ptr,
        relations=np.stack([given.person[persons], objects, verbs], axis=1),
        relation_ptr=np.searchsorted(given.person_images[persons], np.arange(len(given.image_ids) + 1)),
    )
