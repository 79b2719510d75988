import dataclasses
import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from rlipv2.losses import LOSS_WEIGHTS, PairMatcher, PseudoRelations, RelationCriterion, weighted_sum
from tests.losses.scenes import by_hand, one_image, random_output, random_targets, select


def second_and_third_query(output, packed):
    return [[(torch.tensor([1, 2]), torch.tensor([0, 1]))]]


def test_losses_by_hand():
    losses = RelationCriterion(second_and_third_query)(*by_hand())
    ln = math.log
    # query 0 is background; query 1 has target 0, query 2 target 1 (without object box and relation)
    expected = {
        "loss_object_class": -(0.1 * ln(0.2) + ln(0.2) + ln(0.1)) / 2.1,
        "loss_subject_class": -(0.1 * ln(0.2) + ln(0.8) + ln(0.3)) / 2.1,
        # target 0: both GIoU are 0, so the quality is 1/2, which query 1 predicts
        "loss_relation": -(0.64 * ln(0.2) + 0.16 * ln(0.6) + 0.25 * ln(0.5) + 0.01 * ln(0.9) + 0.81 * ln(0.1)),
        "loss_subject_box": 0.5 / 2,
        "loss_object_box": 0.5 / 1.0001,
        "loss_subject_giou": 1 / 2,
        "loss_object_giou": 1 / 1.0001,
        "object_class_error": 100.0,
        "subject_class_error": 50.0,
        "cardinality_error": 0.0,
    }
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-5)


def test_hard_labels_by_hand():
    loss = RelationCriterion(second_and_third_query, relation_quality=None)(*by_hand())["loss_relation"]
    ln = math.log
    expected = -(0.64 * ln(0.2) + 0.16 * ln(0.6) + 2 * 0.25 * ln(0.5) + 0.01 * ln(0.9) + 0.81 * ln(0.1))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_perfect_boxes_make_quality_labels_equal_hard_labels():
    output, targets = random_output(images=1, queries=4), random_targets(4)
    boxes = {"subject_boxes": targets[0].subject_boxes, "object_boxes": targets[0].object_boxes}
    output = dataclasses.replace(output, **{name: value.expand(3, 1, 4, 4) for name, value in boxes.items()})
    soft, hard = (
        RelationCriterion(PairMatcher(), relation_quality=quality)(output, targets) for quality in ("giou", None)
    )
    torch.testing.assert_close(soft, hard)


def test_layers_have_the_losses_they_have_alone():
    output, targets = random_output(), random_targets(5, 3)
    criterion = RelationCriterion(PairMatcher(), pseudo_relations=PseudoRelations(threshold=0.1))
    together = criterion(output, targets)
    for layer, suffix in enumerate(("_layer0", "_layer1", "")):
        for name, value in criterion(output.layer(layer), targets).items():
            if name.startswith("loss_"):
                torch.testing.assert_close(together[name + suffix], value)


def test_permuted_targets_change_nothing():
    output, targets = random_output(), random_targets(5, 3)
    criterion = RelationCriterion(PairMatcher())
    permuted = [select(targets[0], torch.tensor([3, 0, 4, 1, 2])), targets[1]]
    torch.testing.assert_close(criterion(output, permuted), criterion(output, targets))


@pytest.mark.parametrize("sizes", [(0, 0), (0, 3), (12, 3)])
@pytest.mark.parametrize("quality", ["giou", None])
def test_every_prediction_has_a_finite_gradient(sizes, quality):
    output = random_output()
    leaves = [value.requires_grad_() for value in vars(output).values() if isinstance(value, torch.Tensor)]
    pseudo = PseudoRelations(threshold=0.1) if quality else None
    criterion = RelationCriterion(PairMatcher(), relation_quality=quality, pseudo_relations=pseudo)
    weighted_sum(criterion(output, random_targets(*sizes)), LOSS_WEIGHTS).backward()
    used = leaves if quality else leaves[:-1]  # the last leaf is the text of the pseudo relations
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in used)


def test_half_precision_is_computed_in_float32():
    output, targets = random_output(), random_targets(5, 3)
    half = dataclasses.replace(
        output, **{name: value.bfloat16() for name, value in vars(output).items() if isinstance(value, torch.Tensor)}
    )
    full = dataclasses.replace(
        half, **{name: value.float() for name, value in vars(half).items() if isinstance(value, torch.Tensor)}
    )
    criterion = RelationCriterion(PairMatcher())
    with torch.autocast("cpu", torch.bfloat16):
        losses = criterion(half, targets)
    torch.testing.assert_close(losses, criterion(full, targets), atol=0, rtol=0)


def test_without_subject_class_subject_logits_are_not_read():
    output, targets = random_output(), random_targets(5, 3)
    criterion = RelationCriterion(PairMatcher(subject_class=False), subject_class=False)
    losses = criterion(dataclasses.replace(output, subject_logits=None), targets)
    torch.testing.assert_close(losses, criterion(output, targets))
    assert not any("subject_class" in name for name in losses)


@pytest.mark.parametrize(
    "options",
    [
        {"relation_quality": "iou"},
        {"label_offset": "own"},
        {"missing_object_quality": "object"},
        {"relation_quality": None, "pseudo_relations": PseudoRelations()},
    ],
)
def test_wrong_options_are_errors(options):
    # a run that checks types stops at the annotation already, with a TypeError
    with pytest.raises((ValueError, TypeError), match=next(reversed(options))):
        RelationCriterion(PairMatcher(), **options)


def test_subject_class_without_subject_logits_is_an_error():
    output = dataclasses.replace(random_output(), subject_logits=None)
    with pytest.raises(ValueError, match="subject_class=True"):
        RelationCriterion(PairMatcher(subject_class=False))(output, random_targets(1, 1))


def test_layers_with_different_numbers_of_matches_are_an_error():
    def matcher(output, packed):
        return [[(torch.arange(count), torch.arange(count))] for count in (1, 2)]

    with pytest.raises(ValueError, match=r"\[\[1\], \[2\]\]"):
        RelationCriterion(matcher)(random_output(layers=2, images=1), random_targets(2))


def test_weighted_sum_applies_the_published_weights_to_every_layer():
    losses = RelationCriterion(PairMatcher())(random_output(), random_targets(5, 3))
    expected = sum(loss * (2.5 if "_box" in name else 1.0) for name, loss in losses.items() if name.startswith("loss_"))
    torch.testing.assert_close(weighted_sum(losses, LOSS_WEIGHTS), expected)


def test_weighted_sum_refuses_losses_without_weight_and_unknown_weights():
    losses = {"loss_relation": torch.tensor(1.0), "dense_loss_class_layer0": torch.tensor(1.0)}
    with pytest.raises(ValueError, match=r"no weight for \['dense_loss_class'\]"):
        weighted_sum(losses, {"loss_relation": 1.0})
    with pytest.raises(ValueError, match="loss_realtion"):
        weighted_sum(losses, {**LOSS_WEIGHTS, "loss_realtion": 1.0})
    with pytest.raises(ValueError, match="nothing to sum"):
        weighted_sum({"cardinality_error": torch.tensor(1.0)}, LOSS_WEIGHTS)


@pytest.mark.gpu
def test_cuda_gives_the_losses_of_the_cpu():
    output, targets = random_output(), random_targets(5, 12)
    criterion = RelationCriterion(PairMatcher(), pseudo_relations=PseudoRelations(threshold=0.1))
    tensors = {name: value.cuda() for name, value in vars(output).items() if isinstance(value, torch.Tensor)}
    losses = criterion(dataclasses.replace(output, **tensors), [target.to("cuda") for target in targets])
    torch.testing.assert_close({name: loss.cpu() for name, loss in losses.items()}, criterion(output, targets))


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.manual_seed(0)
    output, targets = random_output(), random_targets(5, 2)
    image = one_image(output, rank)
    losses = RelationCriterion(PairMatcher())(image, targets[rank : rank + 1])
    torch.save(losses, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_subject_boxes_are_divided_by_the_mean_number_of_pairs_of_all_processes(tmp_path: Path):
    mp.spawn(run_rank, args=(str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    torch.manual_seed(0)
    joint = RelationCriterion(PairMatcher())(random_output(), random_targets(5, 2))
    for name in ("loss_subject_box", "loss_subject_giou", "loss_subject_box_layer0"):
        # the mean over processes, which DDP takes of the gradients, is the loss of the joint batch
        torch.testing.assert_close((ranks[0][name] + ranks[1][name]) / 2, joint[name])
    # object boxes are divided by the pairs of each process: 5 and 2, officially not by their mean
    mean = (5.0001 * ranks[0]["loss_object_box"] + 2.0001 * ranks[1]["loss_object_box"]) / 7.0001
    torch.testing.assert_close(mean, joint["loss_object_box"])
