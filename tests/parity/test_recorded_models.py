from pathlib import Path

import pytest

from rlipv2.parity.__main__ import check_folder, main

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"


def failures(name):
    entries = check_folder(FIXTURES / name)
    assert entries
    return [entry for entry in entries if not entry.passed]


def test_operators_equal_the_official_ones():
    assert failures("ops") == []


def test_the_detector_equals_the_official_one_in_evaluation():
    assert failures("parseda_r50_hico") == []


def test_losses_matchings_and_gradients_equal_the_official_ones():
    assert failures("parseda_r50_hico_train") == []


@pytest.mark.slow
def test_the_detector_with_a_swin_equals_the_official_one():
    assert failures("parseda_swin_t_hico") == []


def test_parsed_equals_the_official_one_in_evaluation():
    assert failures("parsed_r50_hico") == []


def test_the_tagger_equals_the_official_one_and_trains_alike_with_the_recorded_noise():
    assert failures("tagger_r50") == []


@pytest.mark.slow
def test_pretraining_losses_and_gradients_equal_the_official_ones():
    assert failures("parseda_r50_pretrain") == []


def test_a_deviation_fails_and_is_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rlipv2.layers.position_encoding._interleave", lambda phase: phase.sin())
    assert main([str(FIXTURES / "ops")]) == 1
    assert "FAIL ops/small_modules: sine_out" in capsys.readouterr().out


def test_folders_that_are_no_case_are_named(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path / "missing")]) == 2
    assert "not a recorded case" in capsys.readouterr().err
