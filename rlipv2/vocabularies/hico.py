"""The 80 objects, 117 verbs and 600 interactions of HICO-DET, its rare set and its zero-shot splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.structures import LabelSpace
from rlipv2.vocabularies.files import VocabularyError, index_array, word

ZERO_SHOT_SETTINGS = ("uc_rf", "uc_nf", "uo", "uv")
"""Unseen combinations (rare first, non-rare first), unseen objects, unseen verbs."""


@dataclass(frozen=True, eq=False)
class HICOVocabulary:
    """Names and tables of HICO-DET; all indices count from 0, in the official order.

    The interactions (HOIs) are (relation, object) combinations; the subject is always a person.
    Sources: the official lists of HICO-DET and RLIPv2; the zero-shot lists stem from VCL (Hou et al.),
    those for unseen verbs from GEN-VLKT.

    Attributes:
        label_space: what a model is asked for; relation texts have spaces ("sit on").
        objects: names without prompt ("traffic light"), same order as `label_space.objects`.
        verbs: spelling in annotation files ("sit_on"), same order as `label_space.relations`.
        coco_ids: COCO category id (1 to 90 with gaps) of each object.
        hois: rows (relation, object).
        rare: true where an interaction has fewer than 10 training instances.
        train_counts: instances in the training split.
        test_counts: instances in the test split.
        unseen: per zero-shot setting, true for interactions that training must not show.
    """

    label_space: LabelSpace
    objects: tuple[str, ...]
    verbs: tuple[str, ...]
    coco_ids: Int[np.ndarray, " o"]
    hois: Int[np.ndarray, "k 2"]
    rare: Bool[np.ndarray, " k"]
    train_counts: Int[np.ndarray, " k"]
    test_counts: Int[np.ndarray, " k"]
    unseen: dict[str, Bool[np.ndarray, " k"]]

    PERSON = 0
    """Row of "person" among the objects: the only class of subjects."""

    @cached_property
    def hoi_ids(self) -> Int[np.ndarray, "r o"]:
        """Interaction of each (relation, object), -1 where the combination does not exist."""
        table = np.full((len(self.label_space.relations), len(self.label_space.objects)), -1, np.int64)
        table[self.hois[:, 0], self.hois[:, 1]] = np.arange(len(self.hois))
        return table

    @cached_property
    def valid_pairs(self) -> Float[np.ndarray, "r o"]:
        """1 for each (relation, object) that is an interaction, else 0; official file corre_hico.npy."""
        return (self.hoi_ids >= 0).astype(np.float32)

    @cached_property
    def coco_rows(self) -> Int[np.ndarray, " c"]:
        """Object row of each COCO category id, -1 for ids that are not used; as long as the largest id + 1."""
        table = np.full(int(self.coco_ids.max()) + 1, -1, np.int64)
        table[self.coco_ids] = np.arange(len(self.coco_ids))
        return table

    @classmethod
    def from_content(
        cls, content: Mapping[str, Any], path: Path, *, prompt: str = "raw", object_prompt: str = "raw"
    ) -> "HICOVocabulary":
        """The vocabulary in a file of the format rlipv2-vocab/1; `path` is named in errors.

        Raises:
            VocabularyError: a list is missing, has another length, or points outside of the others.
        """
        for key in ("objects", "verbs", "verb_text", "verb_ing"):
            names = content.get(key)
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise VocabularyError(f"{path}: {key}: expected a list of names")
        objects, verbs = content["objects"], content["verbs"]
        if not len(verbs) == len(content["verb_text"]) == len(content["verb_ing"]):
            raise VocabularyError(f"{path}: verbs, verb_text and verb_ing differ in length")
        hois = index_array(content, "hois", path, shape=(None, 2), limit=(len(verbs), len(objects)))
        if len(np.unique(hois, axis=0)) != len(hois):
            raise VocabularyError(f"{path}: hois: a (verb, object) combination is listed twice")

        def mask(holder: Mapping[str, Any], key: str) -> np.ndarray:
            return np.isin(np.arange(len(hois)), index_array(holder, key, path, shape=(None,), limit=(len(hois),)))

        coco_ids = index_array(content, "object_coco_ids", path, shape=(len(objects),))
        if len(np.unique(coco_ids)) != len(coco_ids):
            raise VocabularyError(f"{path}: object_coco_ids: an id is listed twice")
        unseen = content.get("unseen", {})
        return cls(
            label_space=LabelSpace(
                objects=word(object_prompt, objects),
                relations=word(prompt, content["verb_text"], content["verb_ing"]),
            ),
            objects=tuple(objects),
            verbs=tuple(verbs),
            coco_ids=coco_ids,
            hois=hois,
            rare=mask(content, "rare_hois"),
            train_counts=index_array(content, "hoi_train_count", path, shape=(len(hois),)),
            test_counts=index_array(content, "hoi_test_count", path, shape=(len(hois),)),
            unseen={key.lower().replace("-", "_"): mask(unseen, key) for key in unseen},
        )
