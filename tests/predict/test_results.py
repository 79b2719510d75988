import json
import multiprocessing
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

from rlipv2.predict.results import Key, Results, ResultsError, cut_half_line, differences, read_lines

SETTINGS = {"top": 10, "objects": ["person", "dog"], "fps": None}


def line(name, **more):
    return {"image": name, **more, "width": 4, "height": 3, "triplets": []}


def test_what_was_added_is_done_at_the_next_start(tmp_path):
    with Results(tmp_path / "new" / "out", SETTINGS) as results:
        results.add([line("a.jpg"), line("clip.mp4", frame=3)])
        assert Key("a.jpg") in results.done
    with Results(tmp_path / "new" / "out", SETTINGS) as results:
        assert results.done == {Key("a.jpg"), Key("clip.mp4", 3)}
        assert results.frames("clip.mp4") == {3: line("clip.mp4", frame=3)}
        assert results.frames("other.mp4") == {}


@pytest.mark.parametrize("kept", range(0, 40, 3))
def test_a_line_that_was_cut_off_anywhere_goes(kept, tmp_path):
    with Results(tmp_path, SETTINGS) as results:
        results.add([line("a.jpg"), line("b.jpg")])
    path = tmp_path / "predictions.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:kept])
    with Results(tmp_path, SETTINGS) as results:
        assert results.done == {Key("a.jpg")}
        results.add([line("b.jpg")])
    assert path.read_bytes() == first + second


def test_a_long_half_line_is_cut_too(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"{}\n" + b"x" * 200_000)
    assert cut_half_line(path) == 200_000
    assert path.read_bytes() == b"{}\n"
    path.write_bytes(b"x" * 200_000)
    assert cut_half_line(path) == 200_000
    assert cut_half_line(path) == 0
    assert cut_half_line(tmp_path / "none") == 0


def test_pictures_that_were_half_written_go(tmp_path):
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    half = tmp_path / "drawn" / "in" / f".a.jpg.{socket.gethostname()}.{process.stdout.strip()}.0.part"
    half.parent.mkdir(parents=True)
    Results(tmp_path / "none", SETTINGS).__exit__(None, None, None)
    (tmp_path / "none" / "run.json").rename(tmp_path / "run.json")
    half.touch()
    Results(tmp_path, SETTINGS).__exit__(None, None, None)
    assert not half.exists()


def test_errors_begin_anew(tmp_path):
    with Results(tmp_path, SETTINGS) as results:
        results.add_error("a.jpg", "broken")
    with Results(tmp_path, SETTINGS) as results:
        assert not results.done
    assert list(read_lines(tmp_path / "errors.jsonl")) == []


def test_other_settings_are_refused_and_named(tmp_path):
    with Results(tmp_path, SETTINGS) as results:
        results.add([line("a.jpg")])
    with pytest.raises(ResultsError, match=r"top: 10 there, 20 now; fps: null there, 2.0 now.*--overwrite"):
        Results(tmp_path, {**SETTINGS, "top": 20, "fps": 2.0})
    with Results(tmp_path, SETTINGS) as results:  # the lock was given back, nothing is lost
        assert results.done == {Key("a.jpg")}


def test_overwrite_removes_results_and_nothing_else(tmp_path):
    with Results(tmp_path, SETTINGS) as results:
        results.add([line("a.jpg")])
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "a.jpg").touch()
    (tmp_path / "mine.txt").touch()
    with Results(tmp_path, {"top": 20}, overwrite=True) as results:
        assert not results.done
    assert not (tmp_path / "drawn").exists()
    assert (tmp_path / "mine.txt").exists()
    assert json.loads((tmp_path / "run.json").read_text())["settings"] == {"top": 20}


def test_an_overwriting_that_was_killed_can_be_started_again(tmp_path, monkeypatch):
    with Results(tmp_path, SETTINGS) as results:
        results.add([line("a.jpg")])
    (tmp_path / "drawn").mkdir()

    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rlipv2.predict.results.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            Results(tmp_path, {"top": 20}, overwrite=True)
    with Results(tmp_path, {"top": 20}, overwrite=True) as results:
        assert not results.done


@pytest.mark.parametrize("name", ["index.html", "predictions.jsonl", "drawn"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_somebody_else_are_never_touched(name, overwrite, tmp_path):
    (tmp_path / name).mkdir() if name == "drawn" else (tmp_path / name).write_text("mine")
    with pytest.raises(ResultsError, match=f"holds {name} but no run.json"):
        Results(tmp_path, SETTINGS, overwrite=overwrite)
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("content", ["", "[]", '{"format": "other", "settings": {}}', '{"format": "rlipv2-predict/1"}'])
def test_a_run_file_of_another_kind_is_refused(content, tmp_path):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ResultsError, match=r"run\.json: expected a JSON object with format='rlipv2-predict/1'"):
        Results(tmp_path, SETTINGS)


@pytest.mark.parametrize("bad", [b"\x00\x00\x00\n", b"[1]\n", b'{"no": 1}\n', b"{\n"])
def test_a_damaged_line_in_the_middle_is_named(bad, tmp_path):
    with Results(tmp_path, SETTINGS) as results:
        results.add([line("a.jpg")])
    with (tmp_path / "predictions.jsonl").open("ab") as file:
        file.write(bad + b'{"image": "b.jpg"}\n')
    with pytest.raises(ResultsError, match=r"predictions\.jsonl: line 2: .* --overwrite"):
        Results(tmp_path, SETTINGS)


def test_an_image_that_is_there_twice_is_refused(tmp_path):
    with Results(tmp_path, SETTINGS) as results:
        results.add([line("a.jpg"), line("a.jpg")])
    with pytest.raises(ResultsError, match=r"a\.jpg is there twice"):
        Results(tmp_path, SETTINGS)


def _hold(folder, ready, stop):
    with Results(folder, SETTINGS):
        ready.set()
        stop.wait(30)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, stop))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(ResultsError, match="another run is writing here"):
            Results(tmp_path, SETTINGS)
    finally:
        stop.set()
        other.join(30)
    Results(tmp_path, SETTINGS).__exit__(None, None, None)


def _write_all(folder, count):
    """A run in miniature: groups of four, of which only what is missing is added."""
    with Results(folder, SETTINGS) as results:
        for start in range(0, count, 4):
            group = [line(f"{k:04d}.jpg", padding="x" * 5000) for k in range(start, min(start + 4, count))]
            results.add([one for one in group if Key(one["image"]) not in results.done])


def test_killed_at_random_nothing_is_lost_and_nothing_is_there_twice(tmp_path):
    context, generator = multiprocessing.get_context("forkserver"), random.Random(0)
    path, count, kills = tmp_path / "predictions.jsonl", 200, 0
    while True:
        process = context.Process(target=_write_all, args=(tmp_path, count))
        process.start()
        wanted = (path.stat().st_size if path.exists() else 0) + generator.randrange(1, 150_000)
        while process.is_alive() and (not path.exists() or path.stat().st_size < wanted):
            time.sleep(0.001)
        if kills < 6:
            process.kill()
        process.join(60)
        kills += process.exitcode == -signal.SIGKILL
        if process.exitcode == 0:
            break
    assert kills >= 3
    assert [one["image"] for one in read_lines(path)] == [f"{k:04d}.jpg" for k in range(count)]


def test_long_values_are_cut_in_messages():
    (text,) = differences({"objects": ["thing"] * 80}, {"objects": ["other"]})
    assert len(text) < 160
    assert "(80 in all)" in text
