"""V-COCO labels as the evaluators see them: persons with actions and role objects, and labelled pairs.

Arrays of a ground truth (a file or `datamodule.metric_arguments()`), image i owns
`bbox[box_ptr[i]:box_ptr[i + 1]]` and `person[person_ptr[i]:person_ptr[i + 1]]`:

    id           (n,)      number of the image
    size         (n, 2)    width, height in pixels
    in_split     (n,)      optional; images that are evaluated, by default all
    box_ptr      (n+1,)    offsets
    bbox         (B, 4)    x y w h in pixels as in the COCO file, crowds included, in its order
    category_id  (B,)      COCO category, 1 is person
    area, ignore (B,)      optional, fields of the COCO file; boxes with area 0 or ignore 1 do not exist for role AP
    person_ptr   (n+1,)    offsets
    person       (P,)      box of each person that V-COCO annotates, counted within the image
    actions      (P, a)    1 where the person does it
    roles        (P, a, w) box of the object in each role of the action, -1 for none

Further arrays (`ann_id`, `iscrowd`) are not read: a crowd is a person without annotation like others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.metrics.checks import fail, first_repeat
from rlipv2.metrics.files import EvaluationFileError
from rlipv2.metrics.functional import GroundTruth
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
        """Reads the arrays listed at the head of this module.

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
        return _Reader(arrays, table, Path(source)).read(np.asarray(category_ids, np.int64), person, box_convention)

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


class _Reader:
    """Checks the arrays of one ground truth."""

    def __init__(self, arrays: Mapping[str, np.ndarray], table: VerbTable, source: Path) -> None:
        self.source, self.table = source, table
        self.image_ids = self._array(arrays, "id", "iu", (None,)).astype(np.int64)
        images, actions = len(self.image_ids), len(table.actions)
        self.size = self._array(arrays, "size", "fiu", (images, 2)).astype(np.float64)
        self.in_split = self._array(arrays, "in_split", "biu", (images,), np.ones(images)).astype(bool)
        self.bbox = self._array(arrays, "bbox", "fiu", (None, 4)).astype(np.float64)
        boxes = len(self.bbox)
        self.box_ptr = self._offsets(arrays, "box_ptr", boxes)
        self.category_id = self._array(arrays, "category_id", "iu", (boxes,)).astype(np.int64)
        self.exists = self._array(arrays, "area", "fiu", (boxes,), np.ones(boxes)) > 0
        self.exists &= self._array(arrays, "ignore", "biu", (boxes,), np.zeros(boxes, int)) != 1
        self.person = self._array(arrays, "person", "iu", (None,)).astype(np.int64)
        persons, roles = len(self.person), max(table.slot_roles, default=0) + 1
        self.person_ptr = self._offsets(arrays, "person_ptr", persons)
        self.actions = self._array(arrays, "actions", "biu", (persons, actions)).astype(np.int64)
        self.roles = self._array(arrays, "roles", "iu", (persons, actions, None)).astype(np.int64)
        if self.roles.shape[2] < roles:
            raise EvaluationFileError(f"{source}: roles: {self.roles.shape[2]} roles per action; expected {roles}")
        self.box_images = np.repeat(np.arange(images), np.diff(self.box_ptr))
        self.person_images = np.repeat(np.arange(images), np.diff(self.person_ptr))

    def read(self, category_ids: Int[np.ndarray, " o"], person: int, box_convention: BoxConvention) -> VCOCOGroundTruth:
        """The labels, after all checks."""
        self._check_images()
        labels = self._labels(category_ids)
        slots = self.roles[:, self.table.slot_actions, self.table.slot_roles]
        # Official: the roles of an action that the person does not do are not looked at.
        slots = np.where(self.actions[:, self.table.slot_actions] == 1, slots, -1)
        self._check_persons(slots)
        first = self.box_ptr[self.person_images]
        boxes, exists = self._clean(box_convention)
        objects = np.where(slots >= 0, first[:, None] + slots, -1)
        self._check_objects(objects, exists)
        rows = np.flatnonzero(exists & (labels == person))
        row_of_box = np.full(len(boxes), -1)
        row_of_box[rows] = np.arange(len(rows))
        person_actions = np.full((len(rows), len(self.table.actions)), -1)
        role_boxes = np.full((len(rows), len(self.table.slots)), -1)
        own = row_of_box[first + self.person]
        person_actions[own[own >= 0]], role_boxes[own[own >= 0]] = self.actions[own >= 0], objects[own >= 0]
        return VCOCOGroundTruth(
            image_ids=self.image_ids,
            in_split=self.in_split,
            boxes=boxes,
            person_ptr=np.searchsorted(rows, self.box_ptr),
            person_boxes=boxes[rows],
            person_actions=person_actions,
            role_boxes=role_boxes,
            pairs=self._pairs(labels),
        )

    def _clean(self, convention: BoxConvention) -> tuple[Float[np.ndarray, "n 4"], Bool[np.ndarray, " n"]]:
        last = 1.0 if convention == "pixel" else 0.0
        corners = np.concatenate([self.bbox[:, :2], self.bbox[:, :2] + np.maximum(self.bbox[:, 2:] - last, 0)], axis=1)
        limits = np.tile(self.size[self.box_images] - last, 2)
        corners = np.minimum(limits, np.maximum(corners, 0))
        exists = self.exists & (corners[:, 2:] > corners[:, :2]).all(axis=1)
        return corners.astype(np.float32), exists

    def _pairs(self, labels: Int[np.ndarray, " n"]) -> GroundTruth:
        """One row per person, action and role, by image, action, person and role as the converter writes them."""
        table = self.table
        verb_roles = np.zeros(len(table.verbs), np.int64)
        verb_roles[table.slot_verbs] = table.slot_roles
        has_role = np.zeros(len(table.verbs), bool)
        has_role[table.slot_verbs] = True
        persons, verbs = np.nonzero(self.actions[:, table.action_of_verb] == 1)
        actions = table.action_of_verb[verbs]
        order = np.lexsort((verb_roles[verbs], persons, actions, self.person_images[persons]))
        persons, verbs, actions = persons[order], verbs[order], actions[order]
        objects = np.where(has_role[verbs], self.roles[persons, actions, verb_roles[verbs]], -1)
        return GroundTruth(
            boxes=np.concatenate([self.bbox[:, :2], self.bbox[:, :2] + self.bbox[:, 2:]], axis=1).astype(np.float32),
            labels=labels,
            box_ptr=self.box_ptr,
            relations=np.stack([self.person[persons], objects, verbs], axis=1),
            relation_ptr=np.searchsorted(self.person_images[persons], np.arange(len(self.image_ids) + 1)),
        )

    def _labels(self, category_ids: Int[np.ndarray, " o"]) -> Int[np.ndarray, " n"]:
        label_of = {int(number): label for label, number in enumerate(category_ids)}
        labels = np.array([label_of.get(int(number), -1) for number in self.category_id], np.int64)
        for row in np.flatnonzero(labels < 0)[:1]:
            problem = f"none of the {len(category_ids)} categories"
            self._fail(self.box_images[row], "category_id", self.category_id[row], problem, "correct it")
        return labels

    def _check_images(self) -> None:
        if not self.in_split.any():
            raise EvaluationFileError(f"{self.source}: holds no image of the split")
        doubled = first_repeat(self.image_ids)
        if doubled is not None:
            self._fail(doubled, "id", self.image_ids[doubled], "the image is listed twice", "list it once")
        for row in np.flatnonzero(~np.isfinite(self.bbox).all(axis=1))[:1]:
            self._fail(self.box_images[row], "bbox", self.bbox[row].tolist(), "not finite", "correct the box")
        for row in np.flatnonzero(~(np.isfinite(self.size) & (self.size > 0)).all(axis=1))[:1]:
            self._fail(row, "size", self.size[row].tolist(), "no width and height", "give them in pixels")

    def _check_persons(self, slots: Int[np.ndarray, "p s"]) -> None:
        counts = np.diff(self.box_ptr)[self.person_images]
        advice = "count boxes within the image"
        for row in np.flatnonzero((self.person < 0) | (self.person >= counts))[:1]:
            problem = f"no such box (the image has {counts[row]})"
            self._fail(self.person_images[row], "person", self.person[row], problem, advice)
        doubled = first_repeat(self.box_ptr[self.person_images] + self.person)
        if doubled is not None:
            problem = "the person is listed twice"
            self._fail(self.person_images[doubled], "person", self.person[doubled], problem, "list every person once")
        for row, action in np.argwhere((self.actions != 0) & (self.actions != 1))[:1]:
            self._fail(
                self.person_images[row],
                f"actions[{self.table.actions[action]}]",
                self.actions[row, action],
                "expected 0 or 1",
                "leave persons without annotation out of `person`",
            )
        for row, slot in np.argwhere((slots < -1) | (slots >= counts[:, None]))[:1]:
            name, problem = self.table.slots[slot], f"no such box (the image has {counts[row]})"
            self._fail(self.person_images[row], f"roles[{name}]", slots[row, slot], problem, f"{advice}, -1 for none")

    def _check_objects(self, objects: Int[np.ndarray, "p s"], exists: Bool[np.ndarray, " n"]) -> None:
        for row, slot in np.argwhere((objects >= 0) & ~np.append(exists, True)[objects])[:1]:
            image, name = self.person_images[row], self.table.slots[slot]
            problem = "the box has no area inside the image, or area 0 or ignore 1"
            box = self.bbox[objects[row, slot]].tolist()
            self._fail(image, f"roles[{name}]", box, problem, "correct the box, or write -1 for no object")

    def _array(
        self,
        arrays: Mapping[str, np.ndarray],
        name: str,
        kinds: str,
        shape: tuple[int | None, ...],
        default: np.ndarray | None = None,
    ) -> np.ndarray:
        if name not in arrays:
            if default is not None:
                return default
            raise EvaluationFileError(f"{self.source}: no array {name!r}; it holds {sorted(arrays)}")
        array = np.asarray(arrays[name])
        fits = array.ndim == len(shape) and all(n in (m, None) for n, m in zip(shape, array.shape, strict=True))
        if array.dtype.kind not in kinds or not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            what = "numbers" if "f" in kinds else "whole numbers"
            raise EvaluationFileError(
                f"{self.source}: {name}: {array.dtype} of shape {array.shape}; expected {what} of shape ({wanted})"
            )
        return array

    def _offsets(self, arrays: Mapping[str, np.ndarray], name: str, rows: int) -> Int[np.ndarray, " i+1"]:
        ptr = self._array(arrays, name, "iu", (len(self.image_ids) + 1,)).astype(np.int64)
        if ptr[0] != 0 or ptr[-1] != rows or (np.diff(ptr) < 0).any():
            raise EvaluationFileError(
                f"{self.source}: {name}: offsets must ascend from 0 to {rows}, the number of rows"
            )
        return ptr

    def _fail(self, image: int | np.integer, field: str, value: object, problem: str, advice: str) -> NoReturn:
        fail(self.source, int(image), int(self.image_ids[image]), field, value, problem, advice)
