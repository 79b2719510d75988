"""`python -m rlipv2 predict`, with a network of a few thousand weights."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from rlipv2.__main__ import main
from rlipv2.predict.cli import hash_of, words
from rlipv2.predict.results import read_lines
from tests.predict import fakes


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny"
    return fakes.write_weights(path)


@pytest.fixture
def photos(tmp_path):
    fakes.write_images(tmp_path / "photos", 5)
    return tmp_path / "photos"


def predict(photos, weights, out, *options):
    return main(["predict", str(photos), "--weights", str(weights), "--out", str(out), *map(str, options)])


def lines(out):
    return list(read_lines(out / "predictions.jsonl"))


def test_a_folder_gives_lines_pictures_and_a_gallery(photos, weights, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(photos, weights, out, "--device", "cpu", "--batch-size", 2, "--top", 3, "--graphs") == 0
    assert "5 images and 0 frames" in (said := capsys.readouterr()).out
    assert said.err == ""
    found = lines(out)
    assert [line["image"] for line in found] == [f"{k:04d}.png" for k in range(5)]
    assert all(len(line["triplets"]) <= 3 for line in found)
    assert {triplet["object"] for line in found for triplet in line["triplets"]} <= {"person", "dog", "kite"}
    for place in ("drawn", "graphs", "gallery/thumbnails", "gallery/pictures"):
        assert len(list((out / place).iterdir())) == 5
    run = json.loads((out / "run.json").read_text())
    assert run["settings"]["weights_sha256"] == hash_of(weights)
    assert run["settings"]["relations"] == ["hold", "ride", "walk", "no interaction"]
    assert run["summary"]["images"] == 5
    assert str(weights) in (out / "index.html").read_text()


def test_a_single_image_prints_its_best_triplets(photos, weights, tmp_path, capsys):
    assert predict(photos / "0000.png", weights, tmp_path / "out", "--no-draw", "--no-gallery") == 0
    first = lines(tmp_path / "out")[0]["triplets"][0]
    assert f"{first['score']:.2f}  {first['subject']} {first['relation']} {first['object']}" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")) == [
        "errors.jsonl",
        "predictions.jsonl",
        "run.json",
        "videos.jsonl",
    ]


def test_words_that_are_typed_are_those_that_come_out(photos, weights, tmp_path):
    options = ("--objects", "person, horse", "--relations", "feed,pet", "--no-draw", "--no-gallery")
    assert predict(photos, weights, tmp_path / "out", *options) == 0
    triplets = [triplet for line in lines(tmp_path / "out") for triplet in line["triplets"]]
    assert triplets
    assert {triplet["relation"] for triplet in triplets} <= {"feed", "pet"}
    assert {triplet["object"] for triplet in triplets} <= {"person", "horse"}


def test_relations_alone_go_with_the_objects_of_the_weights(photos, weights, tmp_path):
    (tmp_path / "words.txt").write_text("feed\n\npet\n")
    assert predict(photos, weights, tmp_path / "out", "--relations", tmp_path / "words.txt", "--no-draw") == 0
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["objects"] == ["person", "dog", "kite"]
    assert settings["relations"] == ["feed", "pet"]


def test_a_vocabulary_by_its_name(photos, weights, tmp_path):
    assert predict(photos / "0000.png", weights, tmp_path / "out", "--vocabulary", "hico", "--no-draw") == 0
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert (len(settings["objects"]), len(settings["relations"])) == (80, 117)


def test_failed_files_give_exit_status_1_and_are_named(photos, weights, tmp_path, capsys):
    (photos / "0003.png").write_bytes(b"<html>")
    assert predict(photos, weights, tmp_path / "out", "--no-draw") == 1
    assert "1 failed, all named in" in (said := capsys.readouterr().err)
    assert "0003.png" in said
    assert len(lines(tmp_path / "out")) == 4
    assert predict(photos, weights, tmp_path / "out", "--no-draw") == 1


def test_other_options_are_refused_until_overwritten(photos, weights, tmp_path, capsys):
    assert predict(photos, weights, tmp_path / "out", "--no-draw", "--top", 3) == 0
    assert predict(photos, weights, tmp_path / "out", "--no-draw", "--top", 4) == 2
    assert "top: 3 there, 4 now" in capsys.readouterr().err
    assert predict(photos, weights, tmp_path / "out", "--no-draw", "--top", 4, "--overwrite") == 0


def test_other_weights_are_refused(photos, weights, tmp_path, capsys):
    assert predict(photos, weights, tmp_path / "out", "--no-draw", "--no-gallery") == 0
    other = fakes.write_weights(tmp_path / "other", seed=1)
    assert predict(photos, other, tmp_path / "out", "--no-draw", "--no-gallery") == 2
    assert "weights_sha256" in capsys.readouterr().err


def test_images_of_another_folder_are_not_mixed_with_those_of_the_first(photos, weights, tmp_path, capsys):
    fakes.write_images(tmp_path / "other", 2)
    assert predict(photos, weights, tmp_path / "out", "--no-draw", "--no-gallery") == 0
    assert predict(tmp_path / "other", weights, tmp_path / "out", "--no-draw", "--no-gallery") == 2
    assert "inputs:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vocabulary", "nothing"], "nothing"),
        (["--vocabulary", "hico", "--objects", "person"], "leave out --objects"),
        (["--objects", "person,,dog"], "expected words with commas between them"),
        (["--objects", "person,person"], "more than once"),
        (["--objects", ""], "none of them blank"),
        (["--objects", "none.txt"], "none.txt"),
        (["--weights", "none/at/all"], "none/at/all"),
        (["--device", "cuda:77"], "cuda:77"),
    ],
)
def test_wrong_usage_gives_exit_status_2_and_leaves_nothing(options, message, photos, weights, tmp_path, capsys):
    assert predict(photos, weights, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "predictions.jsonl").exists()


@pytest.mark.parametrize(
    "options",
    [["--top", "0"], ["--min-score", "2"], ["--fps", "0"], ["--fps", "1", "--every", "2"], ["--batch-size", "x"]],
)
def test_numbers_out_of_range_give_exit_status_2(options, photos, weights, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        predict(photos, weights, tmp_path / "out", *options)
    assert stopped.value.code == 2


def test_words_without_the_subject_of_the_weights_are_refused_once(photos, weights, tmp_path, capsys):
    options = ("--objects", "dog", "--relations", "ride")
    assert predict(photos, weights, tmp_path / "out", "--mode", "hoi", *options) == 2
    assert capsys.readouterr().err.count("the only subject of relations") == 1
    assert not (tmp_path / "out").exists()
    assert predict(photos, weights, tmp_path / "out", "--mode", "scene_graph", *options) == 0
    assert {triplet["subject"] for line in lines(tmp_path / "out") for triplet in line["triplets"]} == {"dog"}


def test_results_in_the_place_of_a_file_are_refused(photos, weights, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert predict(photos, weights, tmp_path / "out") == 2
    assert "is a file; --out needs a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_no_such_input_gives_exit_status_2(weights, tmp_path, capsys):
    assert predict(tmp_path / "none.jpg", weights, tmp_path / "out") == 2
    assert "none.jpg: no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_too_little_memory_says_what_to_do(photos, weights, tmp_path, capsys, monkeypatch):
    import torch

    def large(*arguments, **options):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("rlipv2.predict.predictor.RelationPredictor.__call__", large)
    assert predict(photos, weights, tmp_path / "out") == 2
    assert "smaller --batch-size" in capsys.readouterr().err


def test_an_interruption_says_that_the_command_goes_on(photos, weights, tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("rlipv2.predict.predictor.RelationPredictor.__call__", interrupted)
    assert predict(photos, weights, tmp_path / "out") == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_the_hash_knows_names_and_contents_but_no_texts_about_them(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("1")
    first = hash_of(tmp_path)
    (tmp_path / "README.md").write_text("text")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "b").write_text("1")
    assert hash_of(tmp_path) == first
    (tmp_path / "in" / "a").write_text("2")
    assert hash_of(tmp_path) != first


def test_words_are_cleaned():
    assert words(" person , sports ball") == ("person", "sports ball")


# ---------------------------------------------------------------- the whole of it, killed


def command(photos, weights, out):
    options = ["--weights", str(weights), "--out", str(out), "--batch-size", "4"]
    return [sys.executable, "-m", "rlipv2", "predict", str(photos), *options]


@pytest.mark.slow
def test_500_images_with_10_corrupt_ones_killed_at_random_lose_nothing_and_repeat_nothing(weights, tmp_path):
    photos, generator = tmp_path / "photos", random.Random(0)
    names = fakes.write_images(photos, 490, size=(40, 48))
    bad = [f"bad{number}.jpg" for number in range(10)]
    good = (photos / names[0]).read_bytes()
    for number, name in enumerate(bad):
        (photos / name).write_bytes([b"", b"<html>", good[:50], good[: len(good) // 2], os.urandom(500)][number % 5])
    for number in range(0, 490, 7):  # sizes differ
        with Image.open(photos / names[number]) as picture:
            picture.resize((64, 40)).save(photos / names[number])

    whole = tmp_path / "whole"
    done = subprocess.run(command(photos, weights, whole), capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert len(lines(whole)) == 490
    assert sorted(line["image"] for line in read_lines(whole / "errors.jsonl")) == bad
    assert "10 failed" in done.stderr
    assert all(name in done.stderr for name in bad)

    out, kills, size = tmp_path / "out", 0, (whole / "predictions.jsonl").stat().st_size
    path = out / "predictions.jsonl"
    context = multiprocessing.get_context("forkserver")  # imports once: kills fall into all parts of a run
    context.set_forkserver_preload(["tests.predict.fakes", "rlipv2.predict.cli", "rlipv2.predict.predictor"])
    while True:
        process = context.Process(target=fakes.run_command, args=(command(photos, weights, out)[3:],))
        process.start()
        wanted = size_of(path) + (generator.uniform(0, size / 8) if kills else 0)
        while process.is_alive() and size_of(path) < wanted:
            time.sleep(0.002)
        time.sleep(generator.uniform(0, 0.2))
        if kills < 10 and process.is_alive():
            process.kill()
            kills += 1
        process.join()
        if process.exitcode != -signal.SIGKILL:
            break
        assert [line["image"] for line in lines_of_whole(path)] == names[: len(lines_of_whole(path))]
    assert process.exitcode == 1
    assert kills >= 5
    assert path.read_bytes() == (whole / "predictions.jsonl").read_bytes()
    assert sorted(line["image"] for line in read_lines(out / "errors.jsonl")) == bad
    assert len(list((out / "drawn").iterdir())) == 490
    assert not list(out.rglob("*.part"))
    assert (out / "index.html").read_bytes() == (whole / "index.html").read_bytes()


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def lines_of_whole(path):
    """The complete lines of a file that may end in half of one."""
    content = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
