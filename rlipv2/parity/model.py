"""Compares a whole model, filled with seeded weights through the converter, with a recorded case.

A folder holds `meta.json` (flags, seed, image sizes), `state_dict_keys.json`, `inputs.npz`, and any of
`outputs*.npz`, `intermediates.npz`, `losses*.npz`, `grad_norms.json`, `postprocess*.npz`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlipv2.checkpoints.official import convert_checkpoint, official_view
from rlipv2.losses import PseudoRelations, weighted_sum
from rlipv2.losses.targets import PackedTargets
from rlipv2.models import RelationDetector
from rlipv2.ops.padding import pad_images
from rlipv2.parity.criterion import (
    FIELDS,
    build_criterion,
    compare_losses,
    compare_matches,
    loss_weights,
    read_targets,
)
from rlipv2.parity.entry import Entry
from rlipv2.parity.postprocess import check_postprocess
from rlipv2.parity.seeded import seeded_image, seeded_state
from rlipv2.parity.trace import tracing
from rlipv2.structures import RelationOutput, TextFeatures

LOGITS, BOXES, FEATURES = {"atol": 1e-4, "rtol": 0.0}, {"atol": 1e-5, "rtol": 0.0}, {"atol": 1e-4, "rtol": 1e-4}
# Values of flags that the official main.py uses where a script does not give them.
DEFAULT_FLAGS = {
    "subject_class": False,
    "giou_verb_label": False,
    "pseudo_verb": False,
    "verb_tagger": False,
    "eos_coef": 0.1,
    "set_cost_obj_class": 1.0,
    "set_cost_verb_class": 1.0,
    "set_cost_bbox": 5.0,
    "set_cost_giou": 2.0,
}


@dataclass
class Case:
    """A recorded case and the model built for it."""

    folder: Path
    meta: dict[str, Any]
    flags: dict[str, Any]
    detector: RelationDetector
    images: list[Tensor]
    texts: TextFeatures

    @property
    def name(self) -> str:
        """Folder name."""
        return self.folder.name

    def arrays(self, file: str) -> dict[str, np.ndarray]:
        """The content of one npz file."""
        with np.load(self.folder / file, allow_pickle=False) as content:
            return dict(content)

    def predict(self, images: list[Tensor]) -> RelationOutput:
        """The model's output for normalised images, padded to a batch."""
        batch, mask = pad_images(images)
        return self.detector(batch, mask, self.texts)


def check_model(folder: Path) -> list[Entry]:
    """Every recorded entry of a case folder, compared.

    Raises:
        FileNotFoundError: a file that every case has is missing.
        ValueError: a model that this version does not have.
    """
    case, entries = load_case(folder)
    with tracing(case.detector) as trace:
        output = case.predict(case.images)
    entries += _compare_inputs(case)
    if (folder / "outputs.npz").exists():
        entries += _compare_outputs(case, "outputs.npz", output)
    if (folder / "intermediates.npz").exists():
        for name, recorded in case.arrays("intermediates.npz").items():
            if name not in trace:
                entries.append(Entry(case.name, f"{name}: not recorded by us", np.nan, np.nan, "-", passed=False))
                continue
            bound = BOXES if "refs" in name or "reference" in name else FEATURES
            entries.append(Entry.compare(case.name, name, trace[name].detach().numpy(), recorded, **bound))
    for file in sorted(folder.glob("outputs_single*.npz")):
        with torch.no_grad():
            single = case.predict([case.images[int(file.stem.removeprefix("outputs_single"))]])
        entries += _compare_outputs(case, file.name, single)
    for file in sorted(folder.glob("losses*.npz")):
        entries += _compare_training(case, file, output)
    entries += check_postprocess(folder)
    return entries


def load_case(folder: Path) -> tuple[Case, list[Entry]]:
    """The case with its model; the entries tell how the conversion of the seeded weights went."""
    meta = json.loads((folder / "meta.json").read_text())
    shapes = {key: shape for key, (shape, _) in json.loads((folder / "state_dict_keys.json").read_text()).items()}
    flags = DEFAULT_FLAGS | {key.lstrip("-"): _number(value) for key, value in meta["flags"].items()}
    state = seeded_state(shapes, meta["seed"])
    detector, report = convert_checkpoint(state, flags, source=str(folder))
    surprises = len(report.surprises)
    entries = [
        Entry(
            folder.name,
            f"converter: {len(report.renamed)} keys, {len(report.aliases)} aliases, {surprises} surprises",
            0.0,
            0.0,
            "no surprises",
            passed=not surprises,
        )
    ]
    images = [
        seeded_image(f"img{i}", height, width, meta["seed"]) for i, (height, width) in enumerate(meta["image_sizes_hw"])
    ]
    with np.load(folder / "inputs.npz", allow_pickle=False) as inputs:
        ids, mask = torch.from_numpy(inputs["input_ids"]), torch.from_numpy(inputs["attention_mask"])
    # Recorded in eval mode (no dropout), with the text mask of the path that the case names.
    training = str(meta.get("text_path", "")).startswith("training")
    pooled = detector.text_encoder(ids, mask)
    texts = detector.text_features(pooled, int(meta["n_obj_labels"]), training=training)
    return Case(folder, meta, flags, detector, images, texts), entries


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _compare_inputs(case: Case) -> list[Entry]:
    inputs = case.arrays("inputs.npz")
    batch, _ = pad_images(case.images)
    entries = [
        Entry.compare(case.name, "padded_size", np.array(batch.shape[-2:]), inputs["padded_size"], atol=0, rtol=0)
    ]
    if "image_check" in inputs:
        pixels = torch.stack([batch[:, :, 10, 10], batch[:, :, 57, 101]], dim=1).numpy()
        entries.append(Entry.compare(case.name, "image_check", pixels, inputs["image_check"], atol=1e-6, rtol=0))
    return entries


def _compare_outputs(case: Case, file: str, output: RelationOutput) -> list[Entry]:
    entries, recorded = [], case.arrays(file)
    prefix = "" if file == "outputs.npz" else f"{Path(file).stem}/"
    for official, ours in FIELDS.items():
        values = getattr(output, ours)
        if official in recorded and values is not None:
            bound = BOXES if "boxes" in official else LOGITS
            entries.append(
                Entry.compare(case.name, prefix + official, values.detach().numpy(), recorded[official], **bound)
            )
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
    if scores is None and not prefix and (case.folder / "outputs.npz").exists():
        scores = case.arrays("outputs.npz").get("target_verb_sim")
    if scores is not None and flags["pseudo_verb"]:
        ours = PseudoRelations()(output.relation_text, PackedTargets.pack(targets).relations)
        entries.append(Entry.compare(case.name, f"{prefix}target_verb_sim", ours.detach().numpy(), scores, **LOGITS))
    norms = case.folder / "grad_norms.json"
    if file.stem == "losses" and norms.exists():
        total.backward(retain_graph=True)
        entries += _compare_gradients(case, json.loads(norms.read_text()))
    return entries


def _compare_gradients(case: Case, recorded: Mapping[str, float]) -> list[Entry]:
    gradients = {name: p.grad for name, p in case.detector.named_parameters() if p.grad is not None}
    entries = []
    for key, norm in recorded.items():
        gradient = official_view(gradients, key)
        ours = -1.0 if gradient is None else gradient.norm().item()
        entries.append(Entry.compare(case.name, f"grad_norm/{key}", ours, norm, atol=1e-5, rtol=1e-3))
    return entries
