"""Rare and unseen interactions of a micro-world, in the manner of the lists published for HICO-DET."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.microworld.relations import NO_INTERACTION
from rlipv2.vocabularies import HICOVocabulary, load

SPLITS_FILE = "microworld_splits.json"

RARE_BELOW = 10
UNSEEN_SHARE = 0.2  # 120 of 600 in HICO-DET


def pick_unseen(order: Sequence[int], names: Mapping[int, tuple[str, str]], count: int) -> list[int]:
    """The first `count` of `order` that leave every verb and every object with a seen interaction.

    The rule of VCL (Hou et al., ECCV 2020) for UC-RF (rare first) and UC-NF (frequent first).
    """
    verbs = Counter(verb for verb, _ in names.values())
    # `no_interaction` of an object does not count as having seen it in use.
    objects = Counter(name for verb, name in names.values() if verb != NO_INTERACTION)
    unseen: list[int] = []
    for hoi in order:
        verb, name = names[hoi]
        if len(unseen) < count and verb != NO_INTERACTION and verbs[verb] > 1 and objects[name] > 1:
            unseen.append(hoi)
            verbs[verb] -= 1
            objects[name] -= 1
    return sorted(unseen)


def zero_shot_lists(train: Mapping[int, int], test: Mapping[int, int], vocabulary: HICOVocabulary) -> dict[str, Any]:
    """The content of `microworld_splits.json`; interactions are official ids, 1 to 600.

    `rare` has fewer than 10 training instances, as in HICO-DET. `no_interaction` is never unseen here: there is
    nothing to compose in it, though the published UC-NF list has some.
    """
    used = sorted({*train, *test})
    space, hois = vocabulary.label_space, vocabulary.hois
    names = {hoi: (vocabulary.verbs[hois[hoi - 1][0]], space.objects[hois[hoi - 1][1]]) for hoi in used}
    count = round(UNSEEN_SHARE * len(used))
    by_count = sorted(used, key=lambda hoi: (train.get(hoi, 0), hoi))
    return {
        "interactions": [
            {"id": hoi, "verb": verb, "object": name, "train": train.get(hoi, 0), "test": test.get(hoi, 0)}
            for hoi, (verb, name) in names.items()
        ],
        "rare": [hoi for hoi in used if train.get(hoi, 0) < RARE_BELOW],
        "unseen": {
            "uc_rf": pick_unseen(by_count, names, count),
            "uc_nf": pick_unseen(by_count[::-1], names, count),
        },
    }


def world_vocabulary(root: str | Path) -> HICOVocabulary:
    """The vocabulary of HICO-DET with the rare set, the counts and the unseen lists of the micro-world at `root`.

    For the dataset and the metric: the published lists mean nothing here. Only `uc_rf` and `uc_nf` are known.
    """
    lists = json.loads((Path(root) / "annotations" / SPLITS_FILE).read_text(encoding="utf-8"))
    vocabulary = load("hico")

    def mask(ids: Sequence[int]) -> np.ndarray:
        return np.isin(np.arange(len(vocabulary.hois)) + 1, ids)

    counts = {split: np.zeros(len(vocabulary.hois), np.int64) for split in ("train", "test")}
    for interaction in lists["interactions"]:
        for split, values in counts.items():
            values[interaction["id"] - 1] = interaction[split]
    return dataclasses.replace(
        vocabulary,
        rare=mask(lists["rare"]),
        train_counts=counts["train"],
        test_counts=counts["test"],
        unseen={setting: mask(ids) for setting, ids in lists["unseen"].items()},
    )
