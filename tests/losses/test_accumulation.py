"""What accumulating batches gives, compared with one batch of all their images.

Every batch is normalised by its own numbers, as officially every GPU's. An optimiser step takes the mean.
"""

import dataclasses

import pytest
import torch
from torch import Tensor

from rlipv2.losses import LOSS_WEIGHTS, PairMatcher, RelationCriterion, weighted_sum
from tests.losses.scenes import one_image, random_output, random_targets

QUERIES, BACKGROUND = 8, 0.1


def scene(*sizes: int):
    """Images of so many pairs with one relation each."""
    torch.manual_seed(0)
    targets = [
        dataclasses.replace(target, relations=torch.eye(4)[torch.randint(4, (size,))])
        for target, size in zip(random_targets(*sizes), sizes, strict=True)
    ]
    return random_output(images=len(sizes), queries=QUERIES), targets


def losses(*sizes: int) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Of one batch of two images, and of two batches of one."""
    output, targets = scene(*sizes)
    criterion = RelationCriterion(PairMatcher())
    alone = [criterion(one_image(output, image), targets[image : image + 1]) for image in range(2)]
    return criterion(output, targets), alone


def of_losses(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in values.items() if name.startswith("loss_")}


def test_batches_of_equal_numbers_add_up_to_one_large_batch() -> None:
    joint, alone = losses(4, 4)
    accumulated = {name: (alone[0][name] + alone[1][name]) / 2 for name in of_losses(joint)}
    torch.testing.assert_close(accumulated, of_losses(joint), rtol=1e-4, atol=1e-6)


def test_gradients_of_equal_numbers_add_up_too() -> None:
    output, targets = scene(3, 3)
    names = ("object_logits", "subject_logits", "relation_logits", "subject_boxes", "object_boxes")
    leaves = {name: getattr(output, name).requires_grad_() for name in names}
    output, criterion = dataclasses.replace(output, **leaves), RelationCriterion(PairMatcher())

    def gradients(batches: list[list[int]]) -> dict[str, Tensor]:
        for leaf in leaves.values():
            leaf.grad = None
        for images in batches:
            part = output if len(images) == 2 else one_image(output, images[0])
            found = criterion(part, [targets[image] for image in images])
            (weighted_sum(found, LOSS_WEIGHTS) / len(batches)).backward()
        return {name: leaf.grad for name, leaf in leaves.items()}

    torch.testing.assert_close(gradients([[0], [1]]), gradients([[0, 1]]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["loss_object_class", "loss_relation", "loss_subject_box", "loss_object_giou"])
def test_of_unequal_numbers_every_batch_counts_alike_and_in_one_batch_every_pair(name: str) -> None:
    sizes = (6, 1)
    joint, alone = losses(*sizes)
    background = BACKGROUND if name.endswith("class") else 0.0
    shares = [size + background * (QUERIES - size) for size in sizes]
    by_pairs = sum(share * batch[name] for share, batch in zip(shares, alone, strict=True)) / sum(shares)
    torch.testing.assert_close(joint[name], by_pairs, rtol=1e-3, atol=1e-6)
    accumulated = (alone[0][name] + alone[1][name]) / 2
    assert accumulated.item() != pytest.approx(joint[name].item(), rel=1e-3)
