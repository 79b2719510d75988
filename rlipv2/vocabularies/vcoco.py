"""The 80 objects, 26 actions and 29 action roles ("verbs") of V-COCO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.structures import LabelSpace
from rlipv2.vocabularies.files import VocabularyError, index_array, word


@dataclass(frozen=True, eq=False)
class VCOCOVocabulary:
    """Names and tables of V-COCO; all indices count from 0, in the official order.

    A person (agent) does an action; an action has up to two roles, each filled by an object or by none. A
    relation ("verb") is an action with one of its roles, or an action that has none, which never has an object.
    Sources: the release of V-COCO (Gupta and Malik, 2015) and the name list v3 of RLIPv2.

    Attributes:
        label_space: what a model is asked for: 81 objects, the last of them "missing objects", and 29 relation
            texts ("sit on/at").
        objects: names without prompt, same order as `label_space.objects`.
        verbs: spelling in annotation and result files ("sit_instr", "walk"), as `label_space.relations`.
        coco_ids: COCO category id (1 to 90 with gaps) of each object but the last.
        actions: each action with its roles, as columns of the evaluation ("hit", ("instr", "obj")).
        role_objects: per verb the objects that annotators could choose from, empty for any.
        pairs: rows (verb, object, count): what occurs in the training and validation images, persons counted.
        thesis: rows of the verbs that the published role AP averages over (no "point_instr").
        num_images: images per split.
    """

    label_space: LabelSpace
    objects: tuple[str, ...]
    verbs: tuple[str, ...]
    coco_ids: Int[np.ndarray, " o"]
    actions: tuple[tuple[str, tuple[str, ...]], ...]
    role_objects: tuple[tuple[int, ...], ...]
    pairs: Int[np.ndarray, "k 3"]
    thesis: Int[np.ndarray, " t"]
    num_images: dict[str, int]

    PERSON = 0
    """Row of "person" among the objects: the only class of subjects."""

    @property
    def missing_object(self) -> int:
        """Row of "missing objects": the object of relations that have none."""
        return len(self.objects) - 1

    @cached_property
    def coco_rows(self) -> Int[np.ndarray, " c"]:
        """Object row of each COCO category id, -1 for ids that are not used; as long as the largest id + 1."""
        table = np.full(int(self.coco_ids.max()) + 1, -1, np.int64)
        table[self.coco_ids] = np.arange(len(self.coco_ids))
        return table

    @cached_property
    def valid_pairs(self) -> Float[np.ndarray, "r o"]:
        """1 for each (verb, object) that occurs in training, else 0; without a column for "missing objects".

        Stands for the official corre_vcoco.npy, which is made from a file of VSGNet (`prior.pickle`).
        """
        table = np.zeros((len(self.verbs), len(self.coco_ids)), np.float32)
        table[self.pairs[:, 0], self.pairs[:, 1]] = 1
        return table

    @cached_property
    def verb_rows(self) -> Int[np.ndarray, "a 2"]:
        """Verb of each role of each action, -1 where there is none; column 0 also holds actions without role."""
        table = np.full((len(self.actions), 2), -1, np.int64)
        for row, (action, roles) in enumerate(self.actions):
            for column, verb in enumerate(_verb_names(action, roles)):
                table[row, column] = self.verbs.index(verb)
        return table

    @cached_property
    def has_role(self) -> Bool[np.ndarray, " r"]:
        """True for verbs that may have an object, False for actions without role."""
        named = {verb_name(action, None) for action, roles in self.actions if not roles}
        return np.array([verb not in named for verb in self.verbs])

    @classmethod
    def from_content(
        cls, content: Mapping[str, Any], path: Path, *, prompt: str = "raw", object_prompt: str = "raw"
    ) -> "VCOCOVocabulary":
        """The vocabulary in a file of the format rlipv2-vocab/1; `path` is named in errors.

        The class "missing objects" keeps its name whatever `object_prompt` says.

        Raises:
            VocabularyError: a list is missing, has another length, or points outside of the others.
        """
        for key in ("objects", "actions", "verbs", "verb_text"):
            names = content.get(key)
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise VocabularyError(f"{path}: {key}: expected a list of names")
        objects, verbs = content["objects"], content["verbs"]
        if not objects or objects[-1] != LabelSpace.MISSING_OBJECT:
            raise VocabularyError(f"{path}: objects: the last one must be {LabelSpace.MISSING_OBJECT!r}")
        lists = ("verb_text", "verb_action", "verb_role", "verb_role_include")
        for key in lists:
            if not isinstance(content.get(key), list) or len(content[key]) != len(verbs):
                raise VocabularyError(f"{path}: {key}: expected a list as long as verbs, {len(verbs)}")
        coco_ids = content.get("object_coco_ids")
        if not isinstance(coco_ids, list) or coco_ids[-1:] != [None]:
            raise VocabularyError(f"{path}: object_coco_ids: expected a list that ends with null")
        ids = index_array({"object_coco_ids": coco_ids[:-1]}, "object_coco_ids", path, shape=(len(objects) - 1,))
        if len(np.unique(ids)) != len(ids):
            raise VocabularyError(f"{path}: object_coco_ids: an id is listed twice")
        limit = (len(verbs), len(objects) - 1, np.iinfo(np.int64).max)
        shown = index_array(content, "trainval_pair_count_verb_object", path, shape=(None, 3), limit=limit)
        return cls(
            label_space=LabelSpace(
                objects=(*word(object_prompt, objects[:-1]), objects[-1]),
                relations=word(prompt, content["verb_text"]),
            ),
            objects=tuple(objects),
            verbs=tuple(verbs),
            coco_ids=ids,
            actions=_actions(content, path),
            role_objects=_role_objects(content, path),
            pairs=shown,
            thesis=index_array(content, "role_ap_verbs", path, shape=(None,), limit=(len(verbs),)),
            num_images={str(name): int(count) for name, count in content.get("splits", {}).items()},
        )


def verb_name(action: str, role: str | None) -> str:
    """The name of an action's role: "hit_instr", or "walk" without role."""
    return action if role is None else f"{action}_{role}"


def _verb_names(action: str, roles: Sequence[str]) -> list[str]:
    return [verb_name(action, role) for role in roles] or [verb_name(action, None)]


def _actions(content: Mapping[str, Any], path: Path) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Every action with its roles, in the order in which the verbs list them."""
    roles: dict[str, list[str]] = {action: [] for action in content["actions"]}
    for verb, action, role in zip(content["verbs"], content["verb_action"], content["verb_role"], strict=True):
        if action not in roles or verb != verb_name(action, role):
            raise VocabularyError(f"{path}: verbs: {verb!r} is not the action {action!r} with the role {role!r}")
        roles[action] += [] if role is None else [role]
    named = [name for action, names in roles.items() for name in _verb_names(action, names)]
    if sorted(named) != sorted(content["verbs"]):
        raise VocabularyError(f"{path}: verbs: expected each role of each action, and each action without role, once")
    if any(len(names) > 2 for names in roles.values()):
        raise VocabularyError(f"{path}: verbs: an action has more than two roles")
    return tuple((action, tuple(names)) for action, names in roles.items())


def _role_objects(content: Mapping[str, Any], path: Path) -> tuple[tuple[int, ...], ...]:
    key, limit = "verb_role_include", (len(content["objects"]) - 1,)
    rows = [index_array({key: row}, key, path, shape=(None,), limit=limit) for row in content[key]]
    return tuple(tuple(row.tolist()) for row in rows)
