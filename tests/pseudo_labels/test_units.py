"""Work units on disk: complete or not there, whatever happens to their files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rlipv2.ops.files import remove_leftovers
from rlipv2.pseudo_labels.batches import ImageFailure
from rlipv2.pseudo_labels.records import Tags
from rlipv2.pseudo_labels.unit_rows import read_tags, tags_bytes
from rlipv2.pseudo_labels.units import (
    StageFolder,
    UnitError,
    UnitResult,
    assigned,
    unit_seed,
)

ROWS = [{"image_id": 1, "captions": ["a man", "ä \ud800"]}, {"image_id": 2, "captions": []}]
FAILED = [ImageFailure(2, "missing image", "images/2.jpg: not found")]


@pytest.fixture
def captions(tmp_path):
    folder = StageFolder(tmp_path, "caption", "settings")
    folder.write(3, UnitResult(ROWS, FAILED, {"captions": 2}), images=2, seconds=1.5)
    return folder


def test_a_unit_comes_back_with_what_is_told_about_it(captions):
    record = captions.record(3)
    assert (record.unit, record.images, record.rows) == (3, 2, 2)
    assert (record.failures, record.counts, record.seconds) == ({"missing image": 1}, {"captions": 2}, 1.5)
    assert captions.rows(3) == ROWS
    assert captions.failures(3) == FAILED
    assert captions.problem(3) is None
    assert captions.problem(4) == f"{captions.done(4)}: not there"
    names = sorted(path.name for path in captions.folder.iterdir())
    assert names == ["unit_000003.done.json", "unit_000003.errors.jsonl", "unit_000003.jsonl"]


def test_a_unit_without_failures_has_no_file_of_them(captions):
    captions.write(3, UnitResult(ROWS), images=2)
    assert not captions.errors(3).exists()
    assert captions.failures(3) == []


def test_the_same_rows_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        StageFolder(tmp_path / name, "caption", "s").write(0, UnitResult(ROWS), images=2)
    assert (tmp_path / "a/captions/unit_000000.jsonl").read_bytes() == (
        tmp_path / "b/captions/unit_000000.jsonl"
    ).read_bytes()


def edit_done(**changes):
    def edit(folder):
        path = folder.done(3)
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: folder.done(3).write_bytes(folder.done(3).read_bytes()[:-40]), "damaged"),
        (lambda folder: folder.done(3).write_bytes(b""), "damaged"),
        (lambda folder: folder.done(3).write_bytes(b"\xff\xfe[]"), "damaged"),
        (lambda folder: folder.done(3).write_text("[]"), "damaged"),
        (edit_done(rows=7), "damaged, or of another version"),
        (edit_done(format=0), "damaged, or of another version"),
        (lambda folder: folder.done(3).unlink(), "not there"),
        (lambda folder: folder.data(3).write_bytes(folder.data(3).read_bytes() + b"\n"), "not what its done-record"),
        (lambda folder: folder.data(3).unlink(), "not what its done-record"),
        (lambda folder: folder.errors(3).write_bytes(b"{}"), "not what its done-record"),
    ],
)
def test_a_damaged_unit_is_not_complete(captions, damage, told):
    damage(captions)
    assert told in captions.problem(3)
    with pytest.raises(UnitError, match=r"unit_000003"):
        captions.record(3)


def test_a_unit_of_other_settings_is_not_complete(captions):
    assert "other settings" in StageFolder(captions.out, "caption", "others").problem(3)


def test_rows_of_a_file_that_was_changed_are_refused(captions):
    captions.data(3).write_text('{"image_id": 1, "captions": ["other"]}\n')
    with pytest.raises(UnitError, match="not what its done-record tells; run its stage again"):
        captions.rows(3)
    captions.data(3).unlink()
    with pytest.raises(UnitError, match="gone"):
        captions.rows(3)


def test_a_unit_follows_the_content_of_the_unit_it_was_made_from(captions):
    graphs = StageFolder(captions.out, "parse", "more settings")
    _, digest = captions.read(3)
    graphs.write(3, UnitResult([{"image_id": 1, "graphs": []}]), images=2, made_from=digest)
    assert graphs.problem(3) is None
    captions.write(3, UnitResult(ROWS, FAILED, {"captions": 3}), images=2, seconds=9.0)
    assert graphs.problem(3) is None  # the same rows, whatever is told about them
    captions.write(3, UnitResult(ROWS[:1]), images=2)
    assert "another caption unit" in graphs.problem(3)
    captions.done(3).unlink()
    assert graphs.problem(3) is None  # nothing to compare with


def test_a_unit_tells_what_was_read_even_if_another_one_came_while_it_was_made(captions):
    graphs = StageFolder(captions.out, "parse", "more settings")
    _, digest = captions.read(3)
    captions.write(3, UnitResult(ROWS[:1]), images=2)  # of another process, which retries failures
    graphs.write(3, UnitResult([{"image_id": 1, "graphs": []}]), images=2, made_from=digest)
    assert "another caption unit" in graphs.problem(3)


def test_a_unit_follows_the_units_before_those_it_was_made_from(captions):
    graphs, candidates, tags = (StageFolder(captions.out, stage, "more") for stage in ("parse", "candidates", "tag"))
    rows = {"parse": [{"image_id": 1, "graphs": []}], "candidates": [{"image_id": 1, "groups": []}], "tag": []}
    made_from = captions.read(3)[1]
    for folder in (graphs, candidates, tags):
        folder.write(3, UnitResult(rows[folder.stage]), images=2, made_from=made_from)
        made_from = folder.read(3)[1]
    assert tags.problem(3) is None
    captions.write(3, UnitResult(ROWS[:1]), images=2)  # a failed image was tried again, for example
    for folder in (graphs, candidates, tags):
        assert f"{graphs.done(3)}: made from another caption unit" in folder.problem(3)
    graphs.write(3, UnitResult(rows["parse"]), images=2, made_from=captions.read(3)[1])  # with the same result
    assert candidates.problem(3) is None
    assert tags.problem(3) is None


def test_tags_come_back_from_parquet():
    rows = [
        (7, Tags(np.array([[0, 1], [1, 0]]), ("ride", "on"), np.array([0.25, 0.5], np.float32))),
        (5, Tags(np.zeros((0, 2), np.int64), (), np.zeros(0, np.float32))),
        (6, Tags(np.array([[2, 3]]), ("hält",), np.array([0.1], np.float32))),
    ]
    content = tags_bytes(rows)
    assert content == tags_bytes(rows)
    found = read_tags(content)
    assert [image for image, _ in found] == [7, 6]
    for (_, tags), (_, given) in zip(found, [rows[0], rows[2]], strict=True):
        assert tags.pairs.tolist() == given.pairs.tolist()
        assert tags.texts == given.texts
        assert tags.scores.dtype == np.float32
        assert tags.scores.tolist() == given.scores.tolist()
    assert read_tags(tags_bytes([])) == []


def test_units_of_all_workers_are_all_units_once():
    for parts in (1, 2, 3, 7):
        found = [unit for part in range(parts) for unit in assigned(11, part=part, parts=parts)]
        assert sorted(found) == list(range(11))


def test_seeds_differ_by_run_stage_unit_and_place_only():
    seeds = {unit_seed(*values) for values in [(1, "tag", 0), (2, "tag", 0), (1, "caption", 0), (1, "tag", 1)]}
    assert len(seeds | {unit_seed(1, "tag", 0, 1)}) == 5
    assert unit_seed(1, "tag", 0) == unit_seed(1, "tag", 0, 0)
    assert all(0 <= seed < 2**63 for seed in seeds)


WRITER = """
import sys, os
from pathlib import Path
from rlipv2.ops.files import opened_atomically
with opened_atomically(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), 9)
"""


def test_files_of_killed_writers_are_removed_and_those_of_running_ones_stay(tmp_path):
    path = tmp_path / "unit_000000.jsonl"
    result = subprocess.run([sys.executable, "-c", WRITER, str(path)], cwd=Path(__file__).parents[2], check=False)
    assert result.returncode == -9
    (left,) = tmp_path.iterdir()
    parts = left.name.split(".")
    alive = tmp_path / ".".join([*parts[:-3], str(os.getpid()), *parts[-2:]])
    alive.write_bytes(b"half")
    elsewhere = tmp_path / f".unit_000000.jsonl.another-machine.{parts[-3]}.x.part"
    elsewhere.write_bytes(b"half")
    assert remove_leftovers(tmp_path) == [left]
    assert sorted(tmp_path.iterdir()) == sorted([alive, elsewhere])
