"""The arrays of a V-COCO ground truth, checked.

They come from a file or `datamodule.metric_arguments()`. Image i owns
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

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Bool, Int

from rlipv2.metrics.checks import fail, first_repeat
from rlipv2.metrics.files import EvaluationFileError
from rlipv2.metrics.vcoco.tables import VerbTable


class TruthArrays:
    """The arrays listed above as attributes of the same names, and checks of what they say.

    Attributes:
        exists: boxes whose area and ignore fields let them count for role AP.
        slots: box of each (action, role) slot of each person, -1 where there is none or the person does not do it.
        box_images: image of each box.
        person_images: image of each annotated person.

    Args:
        arrays: by name.
        table: the actions.
        source: named in errors.

    Raises:
        EvaluationFileError: arrays of another shape, or values that contradict each other.
    """

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
        # Official: the roles of an action that the person does not do are not looked at.
        slots = self.roles[:, table.slot_actions, table.slot_roles]
        self.slots = np.where(self.actions[:, table.slot_actions] == 1, slots, -1)
        self._check_images()
        self._check_persons()

    def labels(self, category_ids: Int[np.ndarray, " o"]) -> Int[np.ndarray, " n"]:
        """Object label of each box.

        Raises:
            EvaluationFileError: a category that is none of them.
        """
        label_of = {int(number): label for label, number in enumerate(category_ids)}
        labels = np.array([label_of.get(int(number), -1) for number in self.category_id], np.int64)
        for row in np.flatnonzero(labels < 0)[:1]:
            problem = f"none of the {len(category_ids)} categories"
            self._fail(self.box_images[row], "category_id", self.category_id[row], problem, "correct it")
        return labels

    def check_objects(self, objects: Int[np.ndarray, "p s"], exists: Bool[np.ndarray, " n"]) -> None:
        """Do the objects of all slots exist for role AP?

        Args:
            objects: row of each slot among all boxes, -1 for none.
            exists: boxes that do.

        Raises:
            EvaluationFileError: one does not (the official code stops).
        """
        for row, slot in np.argwhere((objects >= 0) & ~np.append(exists, True)[objects])[:1]:
            image, name = self.person_images[row], self.table.slots[slot]
            problem = "the box has no area inside the image, or area 0 or ignore 1"
            box = self.bbox[objects[row, slot]].tolist()
            self._fail(image, f"roles[{name}]", box, problem, "correct the box, or write -1 for no object")

    def _check_images(self) -> None:
        if not self.in_split.any():
            raise EvaluationFileError(f"{self.source}: holds no image of the split")
        doubled = first_repeat(self.image_ids)
        if doubled is not None:
            self._fail(doubled, "id", self.image_ids[doubled], "the image is listed twice", "list it once")
        for row in np.flatnonzero(~np.isfinite(self.bbox).all(axis=1))[:1]:
            self._fail(self.box_images[row], "bbox", self.bbox[row].tolist(), "not finite", "correct the box")
        for row in np.flatnonzero((self.bbox[:, 2:] < 0).any(axis=1))[:1]:
            problem = "width or height is negative"
            self._fail(self.box_images[row], "bbox", self.bbox[row].tolist(), problem, "write x, y, w, h")
        for row in np.flatnonzero(~(np.isfinite(self.size) & (self.size > 0)).all(axis=1))[:1]:
            self._fail(row, "size", self.size[row].tolist(), "no width and height", "give them in pixels")

    def _check_persons(self) -> None:
        slots = self.slots
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
