"""Compares the matcher and the criterion with values recorded from the official code.

A folder holds `meta.json` (`cases`: name -> flags, weight_dict, fails) and one `<case>.npz` each with predictions
`pred_*`, targets `target/{image}/*`, matchings `match/layer{l}/{image}`, losses `loss/*` (suffix `_{l}` for auxiliary
layers), `total_weighted` and gradients `grad/pred_*`. Names are those of the official code.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlipv2.losses import PairMatcher, RelationCriterion, TaggerCriterion, weighted_sum
from rlipv2.losses.functional import cardinality_error
from rlipv2.losses.pairs import PseudoScores
from rlipv2.losses.targets import PackedTargets
from rlipv2.parity.entry import Entry
from rlipv2.structures import RelationOutput, RelationTarget

FIELDS = {
    "pred_sub_logits": "subject_logits",
    "pred_obj_logits": "object_logits",
    "pred_verb_logits": "relation_logits",
    "pred_sub_boxes": "subject_boxes",
    "pred_obj_boxes": "object_boxes",
}
LOSSES = {
    "loss_obj_ce": ("loss_object_class", "loss_subject_class"),  # the official code adds the two
    "loss_verb_ce": ("loss_relation",),
    "loss_sub_bbox": ("loss_subject_box",),
    "loss_obj_bbox": ("loss_object_box",),
    "loss_sub_giou": ("loss_subject_giou",),
    "loss_obj_giou": ("loss_object_giou",),
    "obj_class_error": ("object_class_error",),
    "sub_class_error": ("subject_class_error",),
    "obj_cardinality_error": ("cardinality_error",),
}
# Flags that choose official losses which this project does not have, with the values it does have.
FIXED_FLAGS = {
    "verb_loss_type": "focal",
    "obj_loss_type": "cross_entropy",
    "verb_curing": False,
    "triplet_filtering": False,
    "naive_obj_smooth": 0,
    "naive_verb_smooth": 0,
    "use_no_verb_token": False,
    "use_no_obj_token": True,
}


def check_criterion(case_dir: Path) -> list[Entry]:
    """Every recorded matching, loss, total and gradient of the folder, compared; one entry each.

    Matchings must be equal, losses within 1e-4 relative, gradients within 1e-4 relative + 1e-6. A case that stops
    with an error in the official code must stop with a ValueError here.

    Raises:
        FileNotFoundError: no meta.json, or a case without its file.
    """
    meta = json.loads((case_dir / "meta.json").read_text())
    entries = []
    for case, settings in meta["cases"].items():
        reason = _unsupported(settings["flags"])
        if reason:
            entries.append(Entry.skip(case, reason))
            continue
        with np.load(case_dir / f"{case}.npz", allow_pickle=False) as file:
            entries += check_case(case, settings, dict(file))
    return entries


def check_case(case: str, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[Entry]:
    """The entries of one case: `settings` from meta.json, `arrays` from its file."""
    output, targets = read_output(arrays), read_targets(arrays, arrays["pred_obj_logits"].shape[1])
    criterion = build_criterion(settings["flags"], recorded_scores(arrays))
    if "fails" in settings:
        return [_must_fail(case, criterion, output, targets, settings["fails"])]
    losses = criterion(output, targets)
    total = weighted_sum(losses, loss_weights(settings["weight_dict"]))
    total.backward()
    entries = compare_matches(case, criterion, output, targets, arrays)
    entries += compare_losses(case, losses, output, targets, arrays)
    entries.append(Entry.compare(case, "total_weighted", total.item(), arrays["total_weighted"], atol=0, rtol=1e-4))
    return entries + _gradients(case, output, arrays)


def read_output(arrays: Mapping[str, np.ndarray]) -> RelationOutput:
    """The recorded predictions, as leaves that collect gradients."""
    fields: dict[str, Any] = {
        ours: torch.from_numpy(arrays[name]).requires_grad_() for name, ours in FIELDS.items() if name in arrays
    }
    return RelationOutput(**fields)


def read_targets(arrays: Mapping[str, np.ndarray], num_images: int) -> list[RelationTarget]:
    """The recorded targets, one per image."""

    def field(image: int, name: str) -> Tensor:
        return torch.from_numpy(arrays[f"target/{image}/{name}"])

    return [
        RelationTarget(
            subject_boxes=field(image, "sub_boxes"),
            object_boxes=field(image, "obj_boxes"),
            subject_labels=field(image, "sub_labels").long(),
            object_labels=field(image, "obj_labels").long(),
            relations=field(image, "verb_labels"),
        )
        for image in range(num_images)
    ]


def recorded_scores(arrays: Mapping[str, np.ndarray]) -> PseudoScores:
    """Recorded pseudo relations in the place of text features."""

    def scores(text: Tensor | None, relations: Tensor) -> Tensor:
        if "target_verb_sim" not in arrays:
            raise ValueError("flag pseudo_verb is set, but the case holds no target_verb_sim")
        return torch.from_numpy(arrays["target_verb_sim"])

    return scores


def build_criterion(flags: Mapping[str, Any], pseudo_relations: PseudoScores) -> RelationCriterion:
    """The criterion of a set of official flags; `pseudo_relations` is used where the flags ask for it."""
    if flags.get("verb_tagger"):
        return TaggerCriterion(subject_class=flags["subject_class"], background_weight=float(flags["eos_coef"]))
    matcher = PairMatcher(
        object_cost=float(flags["set_cost_obj_class"]),
        relation_cost=float(flags["set_cost_verb_class"]),
        box_cost=float(flags["set_cost_bbox"]),
        giou_cost=float(flags["set_cost_giou"]),
        subject_class=flags["subject_class"],
    )
    return RelationCriterion(
        matcher,
        subject_class=flags["subject_class"],
        background_weight=float(flags["eos_coef"]),
        relation_quality="giou" if flags["giou_verb_label"] else None,
        pseudo_relations=pseudo_relations if flags["pseudo_verb"] else None,
    )


def _unsupported(flags: Mapping[str, Any]) -> str | None:
    other = {name: flags[name] for name, value in FIXED_FLAGS.items() if flags.get(name, value) != value}
    return f"not part of this version: {other}" if other else None


def loss_weights(weight_dict: Mapping[str, float]) -> dict[str, float]:
    """Our weights from official ones."""
    return {
        name: weight_dict[official] for official, names in LOSSES.items() if official in weight_dict for name in names
    }


def _must_fail(
    case: str,
    criterion: RelationCriterion,
    output: RelationOutput,
    targets: list[RelationTarget],
    fails: Mapping[str, Any],
) -> Entry:
    name = f"fails as the official code ({fails['type']} in {fails['in']})"
    try:
        criterion(output, targets)
    except ValueError:
        return Entry(case, name, 0.0, 0.0, "ValueError", passed=True)
    return Entry(case, f"{name}: ran without error", np.nan, np.nan, "ValueError", passed=False)


def compare_matches(
    case: str,
    criterion: RelationCriterion,
    output: RelationOutput,
    targets: list[RelationTarget],
    arrays: Mapping[str, np.ndarray],
    *,
    prefix: str = "",
) -> list[Entry]:
    """Entries of all recorded matchings, which must be equal."""
    matches = criterion.matcher(output, PackedTargets.pack(targets))
    return [
        Entry.compare(case, prefix + name, torch.stack(matches[layer][image]).numpy(), arrays[name], atol=0, rtol=0)
        for layer in range(len(matches))
        for image in range(len(targets))
        if (name := f"match/layer{layer}/{image}") in arrays
    ]


def compare_losses(
    case: str,
    losses: Mapping[str, Tensor],
    output: RelationOutput,
    targets: list[RelationTarget],
    arrays: Mapping[str, np.ndarray],
    *,
    prefix: str = "",
) -> list[Entry]:
    """Entries of all recorded losses, within 1e-4 relative."""
    return [
        Entry.compare(
            case,
            prefix + name,
            _official_loss(name.removeprefix("loss/"), losses, output, targets),
            arrays[name],
            atol=0,
            rtol=1e-4,
        )
        for name in arrays
        if name.startswith("loss/")
    ]


def _official_loss(
    official: str, losses: Mapping[str, Tensor], output: RelationOutput, targets: list[RelationTarget]
) -> float:
    base, layer = re.fullmatch(r"(.*?)(?:_(\d+))?", official).groups()  # type: ignore[union-attr]
    if base == "obj_cardinality_error" and layer is not None:  # the criterion logs that of the last layer
        sizes = torch.tensor([len(target) for target in targets])
        return cardinality_error(output.object_logits, sizes)[int(layer)].item()
    if base not in LOSSES:
        return float("nan")
    suffix = "" if layer is None else f"_layer{layer}"
    present = [losses[name + suffix].item() for name in LOSSES[base] if name + suffix in losses]
    return sum(present) if present else float("nan")


def _gradients(case: str, output: RelationOutput, arrays: Mapping[str, np.ndarray]) -> list[Entry]:
    entries = []
    for official, ours in FIELDS.items():
        prediction = getattr(output, ours)
        if prediction is None:
            continue
        gradient = torch.zeros_like(prediction) if prediction.grad is None else prediction.grad
        # No recorded gradient means that none reached the predictions.
        recorded = arrays.get(f"grad/{official}", np.zeros_like(arrays[official]))
        entries.append(Entry.compare(case, f"grad/{official}", gradient.numpy(), recorded, atol=1e-6, rtol=1e-4))
    return entries
