"""Matchings, losses and gradients recorded from the official code."""

import json

import pytest
import torch

from rlipv2.losses import RelationCriterion
from rlipv2.parity.criterion import (
    build_criterion,
    check_case,
    check_criterion,
    read_output,
    read_targets,
    recorded_scores,
)
from tests.losses.recorded import META, load_case, write_folder

CASES = sorted(META["cases"])


def build(case: str, **options) -> tuple[RelationCriterion, dict]:
    arrays = load_case(case)
    base = build_criterion(META["cases"][case]["flags"], recorded_scores(arrays))
    return RelationCriterion(
        base.matcher,
        relation_quality=base.labels.relation_quality,
        pseudo_relations=base.labels.pseudo_relations,
        **options,
    ), arrays


@pytest.mark.parametrize("case", CASES)
def test_equals_the_official_code(case):
    entries = check_case(case, META["cases"][case], load_case(case))
    assert [entry for entry in entries if not entry.passed] == []
    assert len(entries) == 1 if "fails" in META["cases"][case] else len(entries) >= 30
    # tighter than required: rounding only
    assert all(entry.max_rel < 1e-6 for entry in entries if entry.name.startswith(("loss", "total")))


def test_a_folder_is_checked_case_by_case(tmp_path):
    entries = check_criterion(write_folder(tmp_path, ["hico_subject", "hico_missing_objects_far"]))
    assert {entry.case for entry in entries} == {"hico_subject", "hico_missing_objects_far"}
    assert all(entry.passed and not entry.skipped for entry in entries)


@pytest.mark.parametrize("field", ["loss/loss_verb_ce_1", "total_weighted", "match/layer0/1", "grad/pred_obj_boxes"])
def test_a_changed_recording_is_noticed(field):
    arrays = load_case("hico_subject")
    arrays[field] = arrays[field] + 1
    entries = check_case("hico_subject", META["cases"]["hico_subject"], arrays)
    assert [entry.name for entry in entries if not entry.passed] == [field]


def test_official_losses_that_are_left_out_are_skipped(tmp_path):
    flags = META["cases"]["hico_subject"]["flags"]
    folder = write_folder(tmp_path, [])
    cases = {"smooth": {"flags": flags | {"naive_obj_smooth": 0.1}}}
    (folder / "meta.json").write_text(json.dumps({"cases": cases}))
    (smooth,) = check_criterion(folder)
    assert "naive_obj_smooth" in smooth.name
    assert smooth.skipped


@pytest.mark.parametrize("case", ["overflow_first_image", "overflow_second_image", "overflow_pretrain_pseudo"])
def test_label_offset_of_the_targets_takes_the_labels_of_the_own_image(case):
    criterion, arrays = build(case, label_offset="targets")
    loss = criterion(read_output(arrays), read_targets(arrays, 2))["loss_relation"]
    expected = META["cases"][case]["verb_loss_check"]["with_the_image_s_own_columns"]
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_quality_of_missing_objects_from_the_subject_alone_never_fails():
    criterion, arrays = build("hico_missing_objects_far")
    output, targets = read_output(arrays), read_targets(arrays, 2)
    with pytest.raises(ValueError, match="missing_object_quality='subject'"):
        criterion(output, targets)
    criterion, _ = build("hico_missing_objects_far", missing_object_quality="subject")
    assert all(loss.isfinite() for loss in criterion(output, targets).values())


def test_missing_objects_change_the_quality_only_of_their_rows():
    losses = {}
    for choice in ("official", "subject"):
        criterion, arrays = build("hico_missing_objects", missing_object_quality=choice)
        losses[choice] = criterion(read_output(arrays), read_targets(arrays, 2))
    changed = {
        name for name in losses["official"] if not torch.equal(losses["official"][name], losses["subject"][name])
    }
    assert changed == {"loss_relation", "loss_relation_layer0", "loss_relation_layer1"}
