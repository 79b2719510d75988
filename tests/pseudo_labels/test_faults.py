"""Bad images, bad captions, damaged files, killed and competing processes: counted, told, repaired, never mixed."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time

import pytest

from rlipv2.pseudo_labels import progress
from rlipv2.pseudo_labels.progress import TooManyFailures
from tests.fakes import write_image
from tests.fakes_pseudo_labels import SIZE, labelled, merged_file, write_own_images, write_tagger

ALL = ["stages=[caption,parse,candidates,tag,merge]"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Twelve images, captions, a tagger, and the finished run `whole` in four units."""
    root = tmp_path_factory.mktemp("world")
    write_own_images(root)
    write_tagger(root / "tagger")
    labelled(root, "whole", *ALL)
    return root


@pytest.fixture(scope="module")
def bad_world(tmp_path_factory):
    """Twelve images, of which some are bad and some have bad captions, and the run `out` of all stages."""
    root = tmp_path_factory.mktemp("bad")
    write_own_images(root)
    write_tagger(root / "tagger")
    pictures = root / "pictures"
    (pictures / "000001.png").unlink()
    (pictures / "000002.png").write_bytes((pictures / "000002.png").read_bytes()[:60])
    (pictures / "000003.png").write_bytes(b"")
    write_image(pictures / "000004.png", (SIZE[1], SIZE[0]))  # turned
    write_image(pictures / "000007.png", SIZE, mode="L")
    captions = json.loads((root / "captions.json").read_text())
    captions["8"] = ["", "  ", "\n"]
    captions["9"] = ["ein Mann reitet auf einem Pferd", "一个人骑马", "человек на лошади"]
    captions["10"] = ["a man riding a horse " * 200, "\x00\x01 \ud800", "a a a a", "riding " * 30]
    del captions["12"]
    captions["99"] = ["a man riding a horse"]
    (root / "captions.json").write_text(json.dumps(captions))
    labelled(root, "out")
    return root


def done_records(out, stage):
    return [json.loads(path.read_text()) for path in sorted((out / stage).glob("*.done.json"))]


def total(records, field, name):
    return sum(record[field].get(name, 0) for record in records)


def test_bad_images_and_captions_are_counted_and_the_run_completes(bad_world):
    out = bad_world / "out"
    assert (out / "report/index.html").exists()
    tags = done_records(out, "tags")
    assert total(tags, "failures", "missing image") == 1
    assert total(tags, "failures", "unusable image") == 3
    graphs = done_records(out, "graphs")
    assert total(graphs, "counts", "captions: empty") >= 3
    assert total(graphs, "counts", "captions: not English") >= 3
    assert total(graphs, "counts", "captions: truncated") >= 1
    assert total(graphs, "counts", "captions: control characters") >= 1
    assert total(done_records(out, "captions"), "counts", "images without captions") == 1
    assert total(done_records(out, "candidates"), "counts", "images without usable boxes") == 4


def test_failed_images_are_told_one_by_one_and_left_out(bad_world):
    out = bad_world / "out"
    errors = [json.loads(line) for path in sorted((out / "tags").glob("*.errors.jsonl")) for line in path.open()]
    assert [error["image_id"] for error in errors] == [1, 2, 3, 4]
    expected = ("not found", "copy it again", "the file is empty", "the annotations tell 64 x 48")
    assert [text for error, text in zip(errors, expected, strict=True) if text not in error["message"]] == []
    assert all(f"{error['image_id']:06d}.png" in error["message"] for error in errors)
    records = {record["image_id"]: record for record in json.loads(merged_file(out).read_text())}
    assert sorted(records) == list(range(5, 13))
    assert records[7]["relationships"]  # grey
    assert not any(records[number]["relationships"] for number in (5, 6, 8, 9, 12))
    assert "missing image" in (out / "report/tables/failures.csv").read_text()


def test_repaired_images_are_tried_again_on_request(bad_world):
    root = bad_world.parent / "repaired"
    shutil.copytree(bad_world, root)
    write_image(root / "pictures/000001.png", SIZE)
    before = (root / "out/tags/unit_000003.done.json").stat().st_mtime_ns
    for option, there in (("false", False), ("true", True)):
        labelled(root, "out", *ALL, f"retry_failures={option}")
        records = json.loads(merged_file(root / "out").read_text())
        assert (1 in [record["image_id"] for record in records]) == there
    assert (root / "out/tags/unit_000003.done.json").stat().st_mtime_ns == before


def test_failures_beyond_the_limit_end_the_stage_with_a_summary(bad_world, monkeypatch):
    monkeypatch.setattr(progress, "ALLOWED", 0)
    with pytest.raises(TooManyFailures, match=r"tag: .* images failed \(.*missing image.*max_failures"):
        labelled(bad_world, "limited", *ALL)
    labelled(bad_world, "limited", *ALL, "max_failures=0.5")
    assert merged_file(bad_world / "limited").read_bytes() == merged_file(bad_world / "out").read_bytes()


def test_captioning_leaves_bad_images_out_too(bad_world):
    options = ["captions=null", "captioner._target_=tests.fakes_pseudo_labels.MeanCaptioner", "stages=[caption]"]
    labelled(bad_world, "captioned", *options)
    records = done_records(bad_world / "captioned", "captions")
    assert total(records, "failures", "missing image") == 1
    assert total(records, "failures", "unusable image") == 2  # the turned one can be described
    assert total(records, "counts", "images without captions") == 3


def damage_data(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGES = [
    ("captions/unit_000001.jsonl", damage_data),
    ("captions/unit_000002.done.json", damage_data),
    ("graphs/unit_000000.jsonl", lambda path: path.write_bytes(b"")),
    ("candidates/unit_000003.done.json", lambda path: path.write_bytes(path.read_bytes()[:100])),
    ("tags/unit_000001.parquet", damage_data),
    ("tags/unit_000002.parquet", lambda path: path.unlink()),
    ("tags/unit_000000.done.json", lambda path: path.unlink()),
    ("annotations/pseudo_label_custom.json", lambda path: path.write_bytes(path.read_bytes()[:-3])),
    ("annotations/pseudo_label_custom.json.done.json", lambda path: path.write_bytes(b"{")),
]


def test_damaged_files_are_made_anew_and_no_others(world):
    out = world / "damaged"
    shutil.copytree(world / "whole", out)
    for name, damage in DAMAGES:
        damage(out / name)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("unit_*")}
    labelled(world, "damaged", *ALL)
    assert merged_file(out).read_bytes() == merged_file(world / "whole").read_bytes()
    touched = {path.relative_to(out).as_posix() for path, time in before.items() if path.stat().st_mtime_ns != time}
    units = {(name.split("/")[0], name.split("/")[1][:11]) for name, _ in DAMAGES if "unit" in name}
    assert {(name.split("/")[0], name.split("/")[1][:11]) for name in touched} == units


def test_an_interrupt_while_writing_leaves_no_temporary_file(world, monkeypatch):
    fsync, calls = os.fsync, []

    def interrupted(descriptor):
        calls.append(descriptor)
        if len(calls) == 12:
            raise KeyboardInterrupt
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        labelled(world, "interrupted", *ALL)
    monkeypatch.undo()
    assert not list((world / "interrupted").rglob("*.part"))
    labelled(world, "interrupted", *ALL)
    assert merged_file(world / "interrupted").read_bytes() == merged_file(world / "whole").read_bytes()


def test_a_full_disk_leaves_no_done_record(world, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    labelled(world, "full", "stages=[caption]")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        labelled(world, "full", "stages=[caption,parse]")
    assert not list((world / "full/graphs").glob("*.json*")) if (world / "full/graphs").exists() else True
    assert not list((world / "full").rglob("*.part"))


def in_process(world, name, *overrides):
    """A process that runs the command, which has everything imported already."""
    process = multiprocessing.get_context("fork").Process(target=labelled, args=(world, name, *ALL, *overrides))
    process.start()
    return process


def test_two_processes_at_once_make_what_one_makes(world):
    processes = [in_process(world, "both") for _ in range(2)]
    for process in processes:
        process.join(timeout=240)
        assert process.exitcode == 0
    assert merged_file(world / "both").read_bytes() == merged_file(world / "whole").read_bytes()
    assert not list((world / "both").rglob("*.part"))


def test_sigterm_ends_the_command_and_leaves_no_temporary_file(world):
    process = multiprocessing.get_context("fork").Process(target=terminated, args=(world, "terminated"))
    process.start()
    wait_for(lambda: list((world / "terminated/captions").glob("*.done.json")) or not process.is_alive())
    os.kill(process.pid, signal.SIGTERM)
    process.join(timeout=120)
    assert process.exitcode not in (0, None)
    assert not list((world / "terminated").rglob("*.part"))
    labelled(world, "terminated", *ALL)
    assert merged_file(world / "terminated").read_bytes() == merged_file(world / "whole").read_bytes()


def terminated(world, name):
    from rlipv2.pseudo_labels.workers import exit_on_sigterm

    exit_on_sigterm()
    fsync = os.fsync

    def slow(descriptor):  # so that the signal comes while files are written
        time.sleep(0.2)
        fsync(descriptor)

    os.fsync = slow
    labelled(world, name, *ALL)


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def killed_at(world, name, moment, delay):
    """Runs the command, which is killed `delay` seconds after it began to write its file number `moment`."""
    fsync, calls = os.fsync, []

    def counted(descriptor):
        calls.append(descriptor)
        if len(calls) == moment:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        fsync(descriptor)

    os.fsync = counted
    labelled(world, name, *ALL)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_killed_at_any_moment_and_run_again_makes_what_an_uninterrupted_run_makes(world, part):
    """Twenty runs over all stages, each killed at another moment, in four tests."""
    expected = merged_file(world / "whole").read_bytes()
    files = len([path for path in (world / "whole").rglob("*") if path.name.startswith("unit_")])
    generator = random.Random(part)
    killed = 0
    for number in range(5):
        moment = 1 + files * (number * 4 + part) // 20 + generator.randrange(2)
        out = world / f"killed{part}_{number}"
        arguments = (world, out.name, moment, generator.uniform(0, 0.03))
        process = multiprocessing.get_context("fork").Process(target=killed_at, args=arguments)
        process.start()
        process.join(timeout=300)
        killed += process.exitcode == -signal.SIGKILL
        labelled(world, out.name, *ALL)
        assert merged_file(out).read_bytes() == expected
        assert not list(out.rglob("*.part"))
        shutil.rmtree(out)
    assert killed >= 4  # one may have been done before


@pytest.mark.slow
def test_worker_processes_make_what_one_process_makes_and_die_with_it(world):
    process = in_process(world, "pool", "workers=2")
    process.join(timeout=400)
    assert process.exitcode == 0
    for stage in ("captions", "graphs", "candidates"):
        for path in sorted((world / "whole" / stage).glob("*.jsonl")):
            assert (world / "pool" / stage / path.name).read_bytes() == path.read_bytes()
    assert merged_file(world / "pool").read_bytes() == merged_file(world / "whole").read_bytes()
