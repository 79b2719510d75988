import dataclasses

import pytest
import torch

from rlipv2.losses import LOSS_WEIGHTS, DenoisingLoss, PairMatcher, PseudoRelations, RelationCriterion, weighted_sum
from tests.losses.scenes import random_output, random_targets


def in_order(output, packed):
    return [[(torch.arange(size), torch.arange(size)) for size in packed.sizes] for _ in output.object_logits]


@pytest.mark.parametrize("quality", ["giou", None])
def test_one_copy_without_padding_is_the_loss_of_a_fixed_assignment(quality):
    output, targets = random_output(queries=4), random_targets(4, 4)
    pseudo = PseudoRelations(threshold=0.1) if quality else None
    denoising = DenoisingLoss(relation_quality=quality, pseudo_relations=pseudo)(output, targets)
    matched = RelationCriterion(in_order, relation_quality=quality, pseudo_relations=pseudo)(output, targets)
    for name, values in denoising.items():
        torch.testing.assert_close(values, torch.stack([matched[name + end] for end in ("_layer0", "_layer1", "")]))


def test_row_k_answers_to_target_k_modulo_the_number_of_targets():
    targets = random_targets(3, 2)
    output = random_output(queries=6, layers=1)  # two copies of at most three targets
    for name in ("subject_boxes", "object_boxes"):
        boxes = getattr(output, name)
        boxes[0, 0] = getattr(targets[0], name).repeat(2, 1)
        boxes[0, 1, :4] = getattr(targets[1], name).repeat(2, 1)
    losses = DenoisingLoss()(output, targets)
    for name in ("loss_subject_box", "loss_object_box", "loss_subject_giou", "loss_object_giou"):
        torch.testing.assert_close(losses[name], torch.zeros(1), atol=1e-6, rtol=0)


def test_padding_gives_no_loss_and_no_gradient():
    output, targets = random_output(queries=6), random_targets(3, 2)
    before = DenoisingLoss()(output, targets)
    output.relation_logits[:, 1, 4:] = float("nan")
    output.object_logits[:, 1, 4:] = 1e6
    output.subject_boxes[:, 1, 4:] = float("nan")
    output.relation_logits.requires_grad_()
    after = DenoisingLoss()(output, targets)
    torch.testing.assert_close(after, before)
    sum(value.sum() for value in after.values()).backward()
    assert output.relation_logits.grad[:, 1, 4:].eq(0).all()
    assert output.relation_logits.grad[:, 0].ne(0).any()


@pytest.mark.parametrize("rows", [0, 1])
def test_batch_without_targets_gives_zero_with_a_graph(rows):
    output = random_output(queries=rows)
    output.object_logits.requires_grad_()
    losses = DenoisingLoss()(output, random_targets(0, 0))
    assert all(value.eq(0).all() for value in losses.values())
    losses["loss_object_class"].sum().backward()


def test_rows_that_are_no_whole_copies_are_an_error():
    with pytest.raises(ValueError, match="5 denoising rows for at most 3 targets"):
        DenoisingLoss()(random_output(queries=5), random_targets(3, 2))


def test_criterion_adds_prefixed_losses_only_when_asked():
    targets = random_targets(3, 2)
    output = dataclasses.replace(random_output(), denoising=random_output(queries=6))
    plain = RelationCriterion(PairMatcher())(output, targets)
    both = RelationCriterion(PairMatcher(), denoising=DenoisingLoss())(output, targets)
    assert not any(name.startswith("denoising_") for name in plain)
    torch.testing.assert_close({name: both[name] for name in plain}, plain)
    assert {name.removeprefix("denoising_") for name in both.keys() - plain.keys()} == {
        name for name in plain if name.startswith("loss_")
    }
    assert weighted_sum(both, LOSS_WEIGHTS) > weighted_sum(plain, LOSS_WEIGHTS)


def test_subject_boxes_are_divided_by_all_rows_that_are_no_padding():
    targets = random_targets(3, 2)
    output = dataclasses.replace(random_output(), denoising=random_output(queries=6))
    losses = RelationCriterion(PairMatcher(), denoising=DenoisingLoss())(output, targets)
    alone = DenoisingLoss()(output.denoising, targets, num_pairs=10.0)
    torch.testing.assert_close(losses["denoising_loss_subject_box"], alone["loss_subject_box"][-1])
