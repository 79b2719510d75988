"""Reader of the original release: the action files of V-COCO with COCO's instance annotations.

An action file lists 26 actions: `action_name`, `role_name` (the first is "agent"), and parallel lists over the
annotated people: `image_id`, `ann_id`, `label` (0 or 1) and `role_object_id`, which is flat: all agents, then the
objects of the first role, then those of the second; 0 stands for a role that nothing fills.

Official: convert_vcoco_annotations.py with vsrl_utils.py of s-gupta/v-coco (Python 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rlipv2.datasets import numbers
from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.files import read_json
from rlipv2.datasets.numbers import Locator
from rlipv2.datasets.vcoco.content import Instances, VCOCOContent, grouped
from rlipv2.datasets.vcoco.readers.instances import CocoImage, read_images
from rlipv2.vocabularies import VCOCOVocabulary
from rlipv2.vocabularies.vcoco import verb_name


@dataclass(frozen=True)
class ActionFile:
    """The checked content of one action file.

    Attributes:
        path: of the file.
        image_ids: COCO image id of each annotated person.
        ann_ids: COCO annotation id of each annotated person.
        labels: per action 1 where a person does it.
        roles: per action its verbs and, for each, the annotation id of every person's object (0: none); the one
            verb of an action without role has zeros.
    """

    path: Path
    image_ids: Int[np.ndarray, " p"]
    ann_ids: Int[np.ndarray, " p"]
    labels: tuple[Int[np.ndarray, " p"], ...]
    roles: tuple[tuple[tuple[int, Int[np.ndarray, " p"]], ...], ...]

    def error(self, person: int, field: str, value: Any, wrong: str, todo: str) -> AnnotationError:
        """The error for one annotated person."""
        image = int(self.image_ids[person])
        return AnnotationError.in_record(self.path, person, image, field=field, value=value, wrong=wrong, todo=todo)


def read(
    action_files: Sequence[Path], instance_files: Sequence[Path], ids: Path | None, vocabulary: VCOCOVocabulary
) -> VCOCOContent:
    """The images for which the action files have people, in order of first appearance, with all boxes of COCO.

    Args:
        action_files: one file, or `vcoco_train.json` and `vcoco_val.json` for both together.
        instance_files: instance annotations that hold these images.
        ids: list of the split's images, compared with the action files; None for none.
        vocabulary: names of objects and actions.

    Raises:
        DatasetNotFoundError: a file is not there.
        AnnotationError: a file, or a record of it, cannot be used; names the record.
    """
    files = [read_actions(path, vocabulary) for path in action_files]
    image_ids = list(dict.fromkeys(image for file in files for image in file.image_ids.tolist()))
    if ids is not None:
        _check_ids(ids, image_ids, action_files[0])
    images = read_images(instance_files, set(image_ids), vocabulary)
    position = {image: index for index, image in enumerate(image_ids)}
    rows = {image: {a["id"]: row for row, a in enumerate(images[image].annotations)} for image in images}
    people: list[tuple[int, ...]] = []
    relations: list[list[tuple[int, ...]]] = [[] for _ in vocabulary.actions]
    for file in files:
        boxes = _people(file, rows, instance_files)
        people += [(position[i], box) for i, box in zip(file.image_ids.tolist(), boxes, strict=True)]
        for action, (labels, roles) in enumerate(zip(file.labels, file.roles, strict=True)):
            for person in np.flatnonzero(labels).tolist():
                image = int(file.image_ids[person])
                for verb, objects in roles:
                    row = _object_row(file, person, int(objects[person]), rows[image], vocabulary.verbs[verb])
                    relations[action].append((position[image], boxes[person], row, verb))
    return _content(action_files[0], [images[image] for image in image_ids], image_ids, people, list(chain(*relations)))


def read_actions(path: Path, vocabulary: VCOCOVocabulary) -> ActionFile:
    """One action file, every value checked but for what only COCO's annotations can tell."""
    actions = read_json(path)
    names = [str(action.get("action_name")) if isinstance(action, dict) else "?" for action in _list(actions)]
    expected = [name for name, _ in vocabulary.actions]
    if sorted(names) != sorted(expected):
        odd = sorted({*names} ^ {*expected})
        wrong = f"not the {len(expected)} actions of V-COCO (differing: {', '.join(odd[:5])})"
        raise AnnotationError.in_file(path, wrong, "expected vcoco_train.json, vcoco_val.json, ... of the release")
    first = actions[0]
    count = len(_list(first.get("ann_id")))
    where = Locator(path, [str(image) for image in _list(first.get("image_id"))], np.arange(count + 1))
    columns = {}
    for action in actions:
        name, wanted = action["action_name"], {"image_id": count, "ann_id": count, "label": count}
        wanted["role_object_id"] = count * len(_list(action.get("role_name")))
        for field, length in wanted.items():
            values = _list(action.get(field))
            if len(values) != length or not count:
                wrong = f"{name}.{field} holds {len(values)} values for {length // max(count, 1)} x {count} people"
                raise AnnotationError.in_file(path, wrong, "download the release again")
            part = [numbers.integers(values[k : k + count], where, f"{name}.{field}") for k in range(0, length, count)]
            columns[name, field] = part
    agents = columns[first["action_name"], "ann_id"][0]
    _check_columns(columns, names, agents, where)
    return ActionFile(
        path,
        image_ids=columns[first["action_name"], "image_id"][0],
        ann_ids=agents,
        labels=tuple(columns[name, "label"][0] for name in names),
        roles=tuple(
            _roles(action, columns[name, "role_object_id"], path, vocabulary)
            for name, action in zip(names, actions, strict=True)
        ),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _check_columns(
    columns: dict[Any, list[np.ndarray]], names: Sequence[str], agents: np.ndarray, where: Locator
) -> None:
    for name in names:
        labels, same = columns[name, "label"][0], "every action lists the same people in the same order"
        where.check(
            (labels != 0) & (labels != 1), labels, field=f"{name}.label", wrong="neither 0 nor 1", todo="correct it"
        )
        for field in ("ann_id", "role_object_id"):
            found = columns[name, field][0]
            wrong = "not the person of the first action"
            where.check(found != agents, found, field=f"{name}.{field}", wrong=wrong, todo=same)
        images = columns[name, "image_id"][0]
        other = images != columns[names[0], "image_id"][0]
        where.check(other, images, field=f"{name}.image_id", wrong="not the image of the first action", todo=same)
    order = np.argsort(agents, kind="stable")
    repeats = np.zeros(len(agents), bool)
    repeats[order[1:]] = agents[order[1:]] == agents[order[:-1]]
    where.check(repeats, agents, field="ann_id", wrong="the person is listed twice", todo="list every person once")


def _roles(
    action: dict[str, Any], objects: list[np.ndarray], path: Path, vocabulary: VCOCOVocabulary
) -> tuple[tuple[int, np.ndarray], ...]:
    name, roles = action["action_name"], action["role_name"]
    expected = dict(vocabulary.actions)[name]
    if roles[:1] != ["agent"] or sorted(map(str, roles[1:])) != sorted(expected):
        wrong = f"role_name of {name} is {roles}"
        raise AnnotationError.in_file(path, wrong, f"expected {['agent', *expected]}, as in the release")
    if not expected:
        return ((vocabulary.verbs.index(verb_name(name, None)), np.zeros_like(objects[0])),)
    verbs = [vocabulary.verbs.index(verb_name(name, role)) for role in roles[1:]]
    return tuple(zip(verbs, objects[1:], strict=True))


def _people(file: ActionFile, rows: dict[int, dict[int, int]], instance_files: Sequence[Path]) -> list[int]:
    """The box of each annotated person within its image."""
    looked = ", ".join(path.name for path in instance_files)
    boxes = []
    for person, (image, annotation) in enumerate(zip(file.image_ids.tolist(), file.ann_ids.tolist(), strict=True)):
        if image not in rows:
            todo = "V-COCO needs the instances of COCO 2014: train for train and val, val for test"
            raise file.error(person, "image_id", image, f"no such image in {looked}", todo)
        if annotation not in rows[image]:
            todo = "V-COCO needs the instances of COCO 2014, not 2017"
            raise file.error(person, "ann_id", annotation, f"its image has no such annotation in {looked}", todo)
        boxes.append(rows[image][annotation])
    return boxes


def _object_row(file: ActionFile, person: int, annotation: int, rows: dict[int, int], verb: str) -> int:
    if annotation == 0:
        return -1
    if annotation not in rows:
        wrong, todo = "no annotation of this image", "V-COCO needs the instances of COCO 2014, not 2017"
        raise file.error(person, f"{verb}.role_object_id", annotation, wrong, todo)
    return rows[annotation]


def _check_ids(path: Path, image_ids: Sequence[int], action_file: Path) -> None:
    try:
        listed = {int(line) for line in path.read_text().split()}
    except (ValueError, UnicodeDecodeError):
        raise AnnotationError.in_file(path, "not a list of image ids", "expected one number per line") from None
    differing = sorted(listed ^ set(image_ids))
    if differing:
        raise AnnotationError.in_file(
            path,
            f"lists other images than {action_file.name} ({len(differing):,} differ, the first is {differing[0]})",
            "both must come from the same release",
        )


def _content(
    path: Path,
    images: Sequence[CocoImage],
    image_ids: Sequence[int],
    people: list[tuple[int, ...]],
    relations: list[tuple[int, ...]],
) -> VCOCOContent:
    annotations = [annotation for image in images for annotation in image.annotations]

    def column(name: str, dtype: type) -> np.ndarray:
        return np.array([annotation.get(name, 0) for annotation in annotations], dtype)

    boxes = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
    person_rows, person_ptr = grouped(people, len(images), 1)
    relation_rows, relation_ptr = grouped(relations, len(images), 3)
    return VCOCOContent(
        path=path,
        image_ids=np.array(image_ids, np.int64),
        file_names=tuple(image.file_name for image in images),
        sizes=np.array([image.size for image in images], np.int64).reshape(-1, 2),
        boxes_xyxy=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
        categories=column("category_id", np.int64),
        box_ptr=numbers.pointers(len(image.annotations) for image in images),
        relations=relation_rows,
        relation_ptr=relation_ptr,
        instances=Instances(
            ids=column("id", np.int64),
            boxes_xywh=boxes,
            crowd=column("iscrowd", np.int64),
            area=column("area", np.float64),
            ignore=column("ignore", np.int64),
            people=person_rows[:, 0],
            person_ptr=person_ptr,
        ),
    )
