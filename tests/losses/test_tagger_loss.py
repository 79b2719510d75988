import dataclasses

import pytest
import torch

from rlipv2.losses import LOSS_WEIGHTS, TaggerCriterion, weighted_sum
from rlipv2.losses.functional import focal_loss
from tests.losses.recorded import META, load_case
from tests.losses.scenes import random_output, random_targets

PAIRS = (3, 5)


def test_recorded_cases_hold_the_tagger():
    cases = {case for case in META["cases"] if case.startswith("tagger")}
    assert cases == {
        "tagger", "tagger_extreme", "tagger_no_verbs_at_all", "tagger_empty_image", "tagger_empty_batch",
    }  # fmt: skip
    # rows beyond the targets of an image get no gradient
    assert not load_case("tagger")["grad/pred_verb_logits"][:, 0, 8:].any()


def test_rows_beyond_the_targets_of_an_image_give_nothing():
    output, targets = random_output(), random_targets(*PAIRS)
    changed = {}
    for name in ("object_logits", "subject_logits", "relation_logits"):
        values = getattr(output, name).clone()
        values[:, 0, 3:], values[:, 1, 5:] = 7.0, -7.0
        changed[name] = values
    one = TaggerCriterion()(output, targets)
    other = TaggerCriterion()(dataclasses.replace(output, **changed), targets)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_class_loss_is_the_plain_mean_over_all_pairs():
    output, targets = random_output(), random_targets(*PAIRS)
    rows = torch.cat([output.object_logits[-1, image, :size] for image, size in enumerate(PAIRS)])
    labels = torch.cat([target.object_labels for target in targets])
    loss = TaggerCriterion()(output, targets)["loss_object_class"]
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(rows, labels))


def test_relation_loss_is_the_focal_loss_of_the_pairs_with_negative_ones():
    output, targets = random_output(), random_targets(*PAIRS)
    targets[1].relations[2:] = 0
    rows = torch.cat([output.relation_logits[0, image, :size] for image, size in enumerate(PAIRS)])
    expected = focal_loss(rows[None], torch.cat([target.relations for target in targets])[None])[0]
    torch.testing.assert_close(TaggerCriterion()(output, targets)["loss_relation_layer0"], expected)


def test_swapping_two_pairs_of_outputs_and_targets_changes_nothing():
    output, (target,) = random_output(images=1, queries=4), random_targets(4)
    order = torch.tensor([2, 0, 3, 1])
    names = ("object_logits", "subject_logits", "relation_logits", "subject_boxes", "object_boxes")
    permuted = dataclasses.replace(output, **{name: getattr(output, name)[:, :, order] for name in names})
    moved = dataclasses.replace(
        target, **{field.name: getattr(target, field.name)[order] for field in dataclasses.fields(target)}
    )
    one, other = TaggerCriterion()(output, [target]), TaggerCriterion()(permuted, [moved])
    for name in one:
        torch.testing.assert_close(one[name], other[name])
    wrong = TaggerCriterion()(output, [moved])
    assert not torch.isclose(wrong["loss_subject_box"], one["loss_subject_box"])


def test_a_batch_without_pairs_has_losses_of_zero_and_a_graph():
    output = random_output()
    output.object_logits.requires_grad_()
    losses = TaggerCriterion()(output, random_targets(0, 0))
    total = weighted_sum(losses, LOSS_WEIGHTS)
    total.backward()
    assert total == 0
    assert losses["object_class_error"] == 100


def test_class_errors_are_given_for_every_layer():
    losses = TaggerCriterion(subject_class=False)(random_output(), random_targets(*PAIRS))
    assert {name for name in losses if "error" in name} == {
        "object_class_error", "object_class_error_layer0", "object_class_error_layer1",
    }  # fmt: skip
    assert not any("subject_class" in name for name in losses)


def test_more_targets_than_pairs_are_refused():
    with pytest.raises(ValueError, match="9 target pairs, the model takes 8: give data and model the same num_pairs"):
        TaggerCriterion()(random_output(), random_targets(2, 9))


def test_a_model_without_subject_classes_is_refused():
    output = dataclasses.replace(random_output(), subject_logits=None)
    with pytest.raises(ValueError, match="no subject_logits"):
        TaggerCriterion()(output, random_targets(*PAIRS))
