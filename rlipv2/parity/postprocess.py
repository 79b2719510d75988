"""Compares post-processing, ranking and pair suppression with recorded results.

Works on recorded model outputs, so that ranks are compared exactly. Files: `postprocess*.npz`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rlipv2.metrics.functional import best_columns
from rlipv2.models.postprocess import postprocess
from rlipv2.ops.nms import pairwise_nms
from rlipv2.parity.criterion import FIELDS
from rlipv2.parity.entry import Entry
from rlipv2.structures import PairPredictions, RelationOutput

# Scores are probabilities; boxes are pixels of images of a few hundred pixels.
SCORES, PIXELS = {"atol": 1e-5, "rtol": 0.0}, {"atol": 1e-3, "rtol": 1e-6}
EXACT = {"atol": 0.0, "rtol": 0.0}


def check_postprocess(folder: Path) -> list[Entry]:
    """Entries of all `postprocess*.npz` of a case folder; none if it has no such file."""
    entries = []
    for path in sorted(folder.glob("postprocess*.npz")):
        with np.load(path, allow_pickle=False) as content:
            arrays = dict(content)
        outputs: dict[str, np.ndarray] = {}
        if (folder / "outputs.npz").exists():
            with np.load(folder / "outputs.npz", allow_pickle=False) as content:
                outputs = dict(content)
        entries += _check_file(f"{folder.name}/{path.stem}", arrays, outputs)
    return entries


def _check_file(case: str, arrays: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> list[Entry]:
    # Synthetic files bring their own single-layer inputs.
    inputs = {name.removeprefix("in/"): values[None] for name, values in arrays.items() if name.startswith("in/")}
    recorded = _as_output(inputs or outputs)
    sizes = torch.from_numpy(arrays["target_sizes"])
    mode: Literal["hoi", "scene_graph"] = "scene_graph" if "sgg" in case else "hoi"
    entries = []
    for image, pairs in enumerate(postprocess(recorded, sizes, mode=mode)):
        entries += _compare_pairs(case, f"{image}/", pairs, arrays)
        if f"{image}/hoi/ids" in arrays:
            entries += _compare_ranking(case, image, pairs, arrays)
    if "zero_shot/in/pred_sub_logits" in arrays:
        changed = inputs | {"pred_sub_logits": arrays["zero_shot/in/pred_sub_logits"][None]}
        for image, pairs in enumerate(postprocess(_as_output(changed), sizes, subject_filter=True)):
            entries += _compare_pairs(case, f"zero_shot/{image}/", pairs, arrays)
    return entries


def _as_output(arrays: Mapping[str, np.ndarray]) -> RelationOutput:
    fields: dict[str, Any] = {ours: torch.from_numpy(arrays[name]) for name, ours in FIELDS.items() if name in arrays}
    return RelationOutput(**fields)


def _compare_pairs(case: str, prefix: str, pairs: PairPredictions, arrays: Mapping[str, np.ndarray]) -> list[Entry]:
    count = np.arange(len(pairs))
    values: dict[str, tuple[Tensor | np.ndarray, dict[str, float]]] = {
        "labels": (torch.cat([pairs.subject_labels, pairs.object_labels]), EXACT),
        "boxes": (torch.cat([pairs.subject_boxes, pairs.object_boxes]), PIXELS),
        "verb_scores": (pairs.relation_scores, SCORES),
        "sub_ids": (count, EXACT),
        "obj_ids": (count + len(pairs), EXACT),
    }
    return [
        Entry.compare(case, prefix + name, np.asarray(ours), arrays[prefix + name], **bound)
        for name, (ours, bound) in values.items()
    ]


def _compare_ranking(case: str, image: int, pairs: PairPredictions, arrays: Mapping[str, np.ndarray]) -> list[Entry]:
    valid = arrays["correct_mat"].astype(np.float32)
    scores = pairs.relation_scores.numpy() * valid.T[pairs.object_labels.numpy()]
    num_relations = scores.shape[1]
    order = best_columns(scores.reshape(1, -1), 100)[0]
    subjects, relations, best = order // num_relations, order % num_relations, scores.reshape(-1)[order]
    ids = np.stack([subjects, subjects + len(pairs), relations], axis=1)
    prefix = f"{image}/hoi/"
    entries = [
        Entry.compare(case, f"{prefix}ids", ids, arrays[f"{prefix}ids"], **EXACT),
        Entry.compare(case, f"{prefix}scores", best, arrays[f"{prefix}scores"], **SCORES),
    ]
    groups = (pairs.subject_labels.numpy()[subjects] * valid.shape[1] + pairs.object_labels.numpy()[subjects]) * (
        num_relations
    ) + relations
    keep = pairwise_nms(groups, pairs.subject_boxes.numpy()[subjects], pairs.object_boxes.numpy()[subjects])
    # The official list goes group by group in order of first appearance; inside a group by score.
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    listed = np.argsort(first[inverse], kind="stable")
    listed = listed[keep[listed]]
    prefix = f"{image}/hoi_nms/"
    return [
        *entries,
        Entry.compare(case, f"{prefix}ids", ids[listed], arrays[f"{prefix}ids"], **EXACT),
        Entry.compare(case, f"{prefix}scores", best[listed], arrays[f"{prefix}scores"], **SCORES),
    ]
