"""What both annotation formats of V-COCO become: boxes, relations, and which people were annotated."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.structures import RelationRecords
from rlipv2.vocabularies import VCOCOVocabulary

UNKNOWN_PEOPLE = (
    "does not tell which people were annotated, without which there is no role AP; put the release (data/vcoco/*.json) "
    "and the instances of COCO 2014 beside it, or a list made by `python -m rlipv2.datasets convert vcoco` in its place"
)


@dataclass(frozen=True)
class Instances:
    """What the evaluation of V-COCO needs of COCO's annotations beyond corners and classes.

    Attributes:
        ids: id of each annotation.
        boxes_xywh: x y width height in pixels, as in the file of COCO.
        crowd: 1 for a box around many objects, else 0.
        area: of the segmentation in pixels; boxes with 0 do not exist for the role AP.
        ignore: 1 for boxes that do not exist for the role AP, else 0.
        people: box within its image of every person that the annotators of V-COCO looked at, whether or not
            any action was found.
        person_ptr: where each image's people begin.
    """

    ids: Int[np.ndarray, " n"]
    boxes_xywh: Float[np.ndarray, "n 4"]
    crowd: Int[np.ndarray, " n"]
    area: Float[np.ndarray, " n"]
    ignore: Int[np.ndarray, " n"]
    people: Int[np.ndarray, " p"]
    person_ptr: Int[np.ndarray, " i+1"]


@dataclass(frozen=True)
class VCOCOContent:
    """A split of V-COCO in flat arrays, numbers as in the files.

    Attributes:
        path: the annotation file, named in errors.
        image_ids: COCO id of each image.
        file_names: one per image.
        sizes: (height, width) of each image, (0, 0) where unknown.
        boxes_xyxy: corners in pixels from 0, crowds included, as stored: neither clipped nor cleaned.
        categories: COCO category id per box.
        box_ptr: where each image's boxes begin.
        relations: rows (person box, object box or -1, verb), boxes counted within the image, in official order:
            by action, then by person, then by role.
        relation_ptr: where each image's relations begin.
        instances: None where the file does not tell (HOIA files of other code bases).
    """

    path: Path
    image_ids: Int[np.ndarray, " i"]
    file_names: tuple[str, ...]
    sizes: Int[np.ndarray, "i 2"]
    boxes_xyxy: Float[np.ndarray, "n 4"]
    categories: Int[np.ndarray, " n"]
    box_ptr: Int[np.ndarray, " i+1"]
    relations: Int[np.ndarray, "h 3"]
    relation_ptr: Int[np.ndarray, " i+1"]
    instances: Instances | None

    def to_records(self, vocabulary: VCOCOVocabulary) -> RelationRecords:
        """The same with class rows that count from 0."""
        return RelationRecords(
            image_ids=self.image_ids,
            file_names=self.file_names,
            sizes=self.sizes,
            boxes=self.boxes_xyxy.astype(np.float32),
            labels=vocabulary.coco_rows[self.categories],
            box_ptr=self.box_ptr,
            relations=self.relations,
            relation_ptr=self.relation_ptr,
        )

    def ground_truth(self, vocabulary: VCOCOVocabulary) -> dict[str, np.ndarray]:
        """The arrays that the metrics of V-COCO read; all images are in the split.

        `id`, `size` (width, height), `in_split`; per box `ann_id`, `bbox` (x y w h), `category_id`, `iscrowd`, `area`,
        `ignore`; per annotated person `person` (box within the image), `actions` (0 or 1 per action) and `roles`
        (box within the image of each role of each action, or -1); `box_ptr` and `person_ptr`.

        Raises:
            DatasetNotFoundError: the file does not tell which people were annotated.
            AnnotationError: a relation of somebody who was not, or two objects in one role.
        """
        if self.instances is None:
            raise DatasetNotFoundError(f"{self.path}: {UNKNOWN_PEOPLE}")
        actions, roles = self._actions_and_roles(self.instances, vocabulary)
        return {
            "id": self.image_ids,
            "size": self.sizes[:, ::-1].copy(),
            "in_split": np.diff(self.instances.person_ptr) > 0,
            "box_ptr": self.box_ptr,
            "ann_id": self.instances.ids,
            "bbox": self.instances.boxes_xywh,
            "category_id": self.categories,
            "iscrowd": self.instances.crowd,
            "area": self.instances.area,
            "ignore": self.instances.ignore,
            "person_ptr": self.instances.person_ptr,
            "person": self.instances.people,
            "actions": actions,
            "roles": roles,
        }

    def _actions_and_roles(
        self, instances: Instances, vocabulary: VCOCOVocabulary
    ) -> tuple[Int[np.ndarray, "p a"], Int[np.ndarray, "p a 2"]]:
        images = np.repeat(np.arange(len(self.image_ids)), np.diff(self.relation_ptr))
        subjects, objects, verbs = self.relations.T
        person_of_box = np.full(len(self.boxes_xyxy) + 1, -1, np.int64)
        owners = np.repeat(np.arange(len(self.image_ids)), np.diff(instances.person_ptr))
        person_of_box[self.box_ptr[owners] + instances.people] = np.arange(len(instances.people))
        people = person_of_box[self.box_ptr[images] + subjects]
        todo = "list the box among the people of the record, or leave the relation out"
        self._check(people < 0, images, "the subject is not among the annotated people", todo)
        places = {
            verb: (row, column) for row, both in enumerate(vocabulary.verb_rows) for column, verb in enumerate(both)
        }
        table = np.array([places[verb] for verb in range(len(vocabulary.verbs))], np.int64).reshape(-1, 2)
        rows, columns = table[verbs].T
        actions = np.zeros((len(instances.people), len(vocabulary.actions)), np.int64)
        roles = np.full((*actions.shape, 2), -1, np.int64)
        actions[people, rows] = 1
        roles[people, rows, columns] = objects
        doubled = roles[people, rows, columns] != objects
        self._check(doubled, images, "two objects in one role of one person", "keep one of them")
        return actions, roles

    def _check(self, bad: np.ndarray, images: np.ndarray, wrong: str, todo: str) -> None:
        for row in np.flatnonzero(bad)[:1]:
            image = int(images[row])
            raise AnnotationError.in_record(
                self.path,
                image,
                self.file_names[image],
                field=f"hoi_annotation[{row - int(self.relation_ptr[image])}]",
                value=self.relations[row].tolist(),
                wrong=wrong,
                todo=todo,
                more=int(bad.sum()) - 1,
            )


def grouped(rows: list[tuple[int, ...]], num_images: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (image, values...) sorted by image, order kept within one: the values, and where each image begins."""
    table = np.array(rows, np.int64).reshape(-1, width + 1)
    table = table[np.argsort(table[:, 0], kind="stable")]
    ptr = np.searchsorted(table[:, 0], np.arange(num_images + 1)).astype(np.int64)
    return table[:, 1:], ptr
