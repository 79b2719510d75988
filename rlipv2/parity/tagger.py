"""Compares the Relation Tagger with its recorded cases: given pairs in evaluation, noisy pairs in training.

A folder holds, beside the files of `rlipv2.parity.model`: pairs `target/{image}/*` in `inputs.npz` (image 0
twice) and in `train_inputs.npz` (both images, with the random numbers `draw/{0..5}`), `train_outputs.npz`,
`train_losses.npz`, `grad_norms.json`, and any of `outputs_two_images.npz`, `{,train_}intermediates.npz`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlipv2.losses import TaggerCriterion, weighted_sum
from rlipv2.models import RelationTagger
from rlipv2.models.queries import GivenPairQueries, PairNoise
from rlipv2.parity.case import Case, compare_gradients, compare_inputs, compare_intermediates, compare_outputs
from rlipv2.parity.criterion import compare_losses, loss_weights, read_targets
from rlipv2.parity.entry import Entry
from rlipv2.parity.trace import tracing
from rlipv2.structures import RelationTarget


def check_tagger(case: Case) -> list[Entry]:
    """Every recorded entry of the case, compared, and every gradient norm."""
    tagger = case.detector
    assert isinstance(tagger, RelationTagger)
    assert isinstance(tagger.queries, GivenPairQueries)
    tagger.queries.keep_empty = True  # empty rows were recorded too
    both, repeated = case.images, [case.images[0], case.images[0]]
    pairs = read_pairs(case.arrays("inputs.npz"), len(both))
    entries = compare_inputs(replace(case, images=repeated), "inputs.npz")
    with tracing(tagger) as trace, torch.no_grad():
        output = case.predict(repeated, pairs)
    entries += compare_outputs(case, "outputs.npz", output)
    if case.has("intermediates.npz"):
        entries += compare_intermediates(case, "intermediates.npz", trace)
    if case.has("outputs_two_images.npz"):
        with torch.no_grad():
            entries += compare_outputs(case, "outputs_two_images.npz", case.predict(both, pairs))
    return entries + _check_training(case)


def _check_training(case: Case) -> list[Entry]:
    tagger, recorded = case.detector, case.arrays("train_inputs.npz")
    entries = compare_inputs(case, "train_inputs.npz")
    pairs = read_targets(recorded, len(case.images))
    case = case.with_training_texts()
    with tracing(tagger) as trace, RecordedNoise(tagger.queries, recorded, case.flags):  # type: ignore[arg-type]
        output = case.predict(case.images, pairs)
    entries += compare_outputs(case, "train_outputs.npz", output)
    if case.has("train_intermediates.npz"):
        entries += compare_intermediates(case, "train_intermediates.npz", trace)
    losses = TaggerCriterion()(output, pairs)
    total = weighted_sum(losses, loss_weights(case.meta["weight_dict"]))
    arrays = case.arrays("train_losses.npz")
    entries += compare_losses(case.name, losses, output, pairs, arrays, prefix="train/")
    entries.append(
        Entry.compare(case.name, "train/total_weighted", total.item(), arrays["total_weighted"], atol=0, rtol=1e-4)
    )
    total.backward()
    return entries + compare_gradients(case)


def read_pairs(arrays: Mapping[str, np.ndarray], num_images: int) -> list[RelationTarget]:
    """The given pairs, one set per image; nothing is known of their relations."""

    def field(image: int, name: str) -> Tensor:
        return torch.from_numpy(arrays[f"target/{image}/{name}"])

    return [
        RelationTarget(
            subject_boxes=field(image, "sub_boxes"),
            object_boxes=field(image, "obj_boxes"),
            subject_labels=field(image, "sub_labels").long(),
            object_labels=field(image, "obj_labels").long(),
            relations=torch.zeros(len(field(image, "sub_boxes")), 0),
        )
        for image in range(num_images)
    ]


class RecordedNoise:
    """A context in which queries are as noisy as in training, with recorded random numbers.

    Draws 0, 1: boxes of subjects and objects; 2, 4: chances of the labels; 3, 5: replacements, of replaced
    labels only.
    """

    def __init__(self, queries: GivenPairQueries, arrays: Mapping[str, np.ndarray], flags: Mapping[str, Any]) -> None:
        self.queries = queries
        self.draws = [torch.from_numpy(arrays[f"draw/{index}"]) for index in range(6)]
        queries.label_noise = float(flags.get("label_noise_scale", 0.2))
        queries.box_noise = float(flags.get("box_noise_scale", 0.4))

    def __enter__(self) -> None:
        self.queries.train()
        self.queries.draw_noise = self._noise  # type: ignore[method-assign]

    def __exit__(self, *error: object) -> None:
        del self.queries.draw_noise
        self.queries.eval()

    def _noise(self, count: int, num_labels: int) -> PairNoise:
        chances = torch.stack([self.draws[2], self.draws[4]])
        labels = torch.zeros(chances.shape, dtype=torch.long)
        for side, replacements in enumerate((self.draws[3], self.draws[5])):
            if (replacements >= num_labels).any():
                raise ValueError(f"draw/{3 + 2 * side} holds labels that are not below {num_labels}")
            labels[side, chances[side] < self.queries.label_noise] = replacements.long()
        return PairNoise(boxes=torch.stack([self.draws[0], self.draws[1]]), label_chances=chances, labels=labels)
