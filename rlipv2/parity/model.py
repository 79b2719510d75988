"""Compares a whole model, filled with seeded weights through the converter, with a recorded case.

A folder holds `meta.json` (flags, seed, image sizes), `state_dict_keys.json`, `inputs.npz`, and any of
`outputs*.npz`, `intermediates.npz`, `losses*.npz`, `grad_norms.json`, `postprocess*.npz`.
"""

from pathlib import Path

import torch

from rlipv2.losses import PseudoRelations, weighted_sum
from rlipv2.losses.targets import PackedTargets
from rlipv2.parity.case import (
    LOGITS,
    Case,
    compare_gradients,
    compare_inputs,
    compare_intermediates,
    compare_outputs,
    load_case,
)
from rlipv2.parity.criterion import build_criterion, compare_losses, compare_matches, loss_weights, read_targets
from rlipv2.parity.entry import Entry
from rlipv2.parity.postprocess import check_postprocess
from rlipv2.parity.tagger import check_tagger
from rlipv2.parity.trace import tracing
from rlipv2.structures import RelationOutput


def check_model(folder: Path) -> list[Entry]:
    """Every recorded entry of a case folder, compared.

    Raises:
        FileNotFoundError: a file that every case has is missing.
        ValueError: a model that this version does not have.
    """
    case, entries = load_case(folder)
    if case.flags["verb_tagger"]:
        return entries + check_tagger(case)
    with tracing(case.detector) as trace:
        output = case.predict(case.images)
    entries += compare_inputs(case)
    if case.has("outputs.npz"):
        entries += compare_outputs(case, "outputs.npz", output)
    if case.has("intermediates.npz"):
        entries += compare_intermediates(case, "intermediates.npz", trace)
    for file in sorted(folder.glob("outputs_single*.npz")):
        with torch.no_grad():
            single = case.predict([case.images[int(file.stem.removeprefix("outputs_single"))]])
        entries += compare_outputs(case, file.name, single)
    for file in sorted(folder.glob("losses*.npz")):
        entries += _compare_training(case, file, output)
    entries += check_postprocess(folder)
    return entries


def _compare_training(case: Case, file: Path, output: RelationOutput) -> list[Entry]:
    recorded = case.arrays(file.name)
    arrays = case.arrays("inputs.npz") | recorded
    prefix = "" if file.stem == "losses" else f"{file.stem}/"
    flags = case.flags | ({"giou_verb_label": False} if "no_giou_verb_label" in file.stem else {})
    targets = read_targets(arrays, len(case.images))
    criterion = build_criterion(flags, PseudoRelations())
    losses = criterion(output, targets)
    total = weighted_sum(losses, loss_weights(case.meta["weight_dict"]))
    entries = compare_losses(case.name, losses, output, targets, recorded, prefix=prefix)
    entries.append(
        Entry.compare(case.name, f"{prefix}total_weighted", total.item(), recorded["total_weighted"], atol=0, rtol=1e-4)
    )
    entries += compare_matches(case.name, criterion, output, targets, recorded, prefix=prefix)
    scores = recorded.get("target_verb_sim")
    if scores is None and not prefix and case.has("outputs.npz"):
        scores = case.arrays("outputs.npz").get("target_verb_sim")
    if scores is not None and flags["pseudo_verb"]:
        ours = PseudoRelations()(output.relation_text, PackedTargets.pack(targets).relations)
        entries.append(Entry.compare(case.name, f"{prefix}target_verb_sim", ours.detach().numpy(), scores, **LOGITS))
    if file.stem == "losses" and case.has("grad_norms.json"):
        total.backward(retain_graph=True)
        entries += compare_gradients(case)
    return entries
