"""The written files: official layout, the same bytes every time, complete or absent."""

import hashlib
import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest

from rlipv2.datasets.hico import HICODet
from rlipv2.microworld import write_hico
from rlipv2.microworld.splits import pick_unseen, world_vocabulary, zero_shot_lists
from rlipv2.microworld.storage import build_once
from rlipv2.vocabularies import load

SMALL = {"num_train": 4, "num_test": 3, "size": (128, 128), "progress": False}


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_number_of_workers_does_not_change_a_byte(tmp_path):
    alone = write_hico(tmp_path / "one", workers=1, **SMALL)
    together = write_hico(tmp_path / "two", workers=2, **SMALL)
    assert digests(alone) == digests(together)
    assert len(digests(alone)) == 4 + 3 + 5 + 1


def test_another_seed_gives_other_images(tmp_path):
    first = write_hico(tmp_path / "0", seed=0, workers=1, **SMALL)
    second = write_hico(tmp_path / "1", seed=1, workers=1, **SMALL)
    images = [{d for name, d in digests(root).items() if name.endswith(".jpg")} for root in (first, second)]
    assert not images[0] & images[1]


def test_splits_share_no_image(world):
    images = [{d for name, d in digests(world / "images" / f"{split}2015").items()} for split in ("train", "test")]
    assert [len(split) for split in images] == [16, 12]
    assert not images[0] & images[1]


@pytest.mark.parametrize("split", ["train", "test"])
def test_records_have_the_official_fields(world, split):
    name = {"train": "trainval_hico.json", "test": "test_hico.json"}[split]
    vocabulary = load("hico")
    for number, record in enumerate(json.loads((world / "annotations" / name).read_text()), 1):
        assert record["file_name"] == f"HICO_{split}2015_{number:08d}.jpg"
        assert record.get("img_id") == (number if split == "train" else None)
        for hoi in record["hoi_annotation"]:
            subject, target = (record["annotations"][hoi[key]] for key in ("subject_id", "object_id"))
            row = vocabulary.hoi_ids[hoi["category_id"] - 1, vocabulary.coco_rows[target["category_id"]]]
            assert subject["category_id"] == 1
            assert row >= 0
            assert hoi.get("hoi_category_id") == (row + 1 if split == "train" else None)


def test_official_tables_are_written(world):
    vocabulary = load("hico")
    np.testing.assert_array_equal(np.load(world / "annotations" / "corre_hico.npy"), vocabulary.valid_pairs)
    hois = json.loads((world / "annotations" / "hoi_list_new.json").read_text())
    assert [int(hoi["id"]) for hoi in hois] == list(range(1, 601))
    assert hois[18] == {"id": "19", "object_cat": 2, "verb_id": vocabulary.verbs.index("ride") + 1}


@pytest.mark.parametrize("split", ["train", "test"])
def test_ordinary_dataset_reads_the_world(world, split):
    dataset = HICODet(world, split=split)
    assert len(dataset) == {"train": 16, "test": 12}[split]
    for index in range(len(dataset)):
        sample = dataset[index]
        annotation, (height, width) = sample.annotation, sample.original_size
        assert len(annotation.relations) > 0
        assert (annotation.boxes_xyxy[:, 2:].amax(0) <= annotation.boxes_xyxy.new_tensor([width, height])).all()
        assert (annotation.labels[annotation.relations[:, 0]] == 0).all()


def test_settings_file_counts_what_was_written(world):
    settings = json.loads((world / "microworld.json").read_text())
    assert settings["settings"]["num_train"] == settings["train"]["images"] == 16
    assert settings["test"]["relations"] == sum(
        len(record["hoi_annotation"]) for record in json.loads((world / "annotations" / "test_hico.json").read_text())
    )


def test_world_vocabulary_knows_the_rare_and_unseen_of_this_world(world):
    vocabulary = world_vocabulary(world)
    dataset = HICODet(world, split="train")
    assert vocabulary.train_counts.sum() == len(dataset.records.relations)
    assert (vocabulary.train_counts[vocabulary.rare] < 10).all()
    assert vocabulary.unseen.keys() == {"uc_rf", "uc_nf"}
    fewer = HICODet(world, split="train", vocabulary=vocabulary, zero_shot="uc_nf")
    unseen = vocabulary.train_counts[vocabulary.unseen["uc_nf"]].sum()
    assert unseen > 0
    assert len(fewer.records.relations) == len(dataset.records.relations) - unseen


def test_unseen_interactions_leave_every_verb_and_object_seen():
    names = {1: ("ride", "horse"), 2: ("ride", "bicycle"), 3: ("walk", "horse"), 4: ("no_interaction", "horse")}
    assert pick_unseen([4, 2, 1, 3], names, 3) == [1]
    assert pick_unseen([3, 1, 2], names, 3) == [1]


def test_rare_and_frequent_unseen_lists_come_from_both_ends():
    vocabulary = load("hico")
    ids = [int(i) for i in np.flatnonzero(np.isin(vocabulary.verbs, ["carry", "hold"])[vocabulary.hois[:, 0]]) + 1]
    train = {hoi: 5 * rank + 1 for rank, hoi in enumerate(ids)}
    lists = zero_shot_lists(train, {ids[0]: 3}, vocabulary)
    assert lists["rare"] == ids[:2]
    first = lists["interactions"][0]
    assert (first["id"], first["train"], first["test"]) == (ids[0], 1, 3)
    means = {name: np.mean([train[hoi] for hoi in unseen]) for name, unseen in lists["unseen"].items()}
    assert means["uc_rf"] < np.mean(list(train.values())) < means["uc_nf"]


def test_finished_world_is_used_again(tmp_path):
    root = write_hico(tmp_path / "w", workers=1, **SMALL)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    write_hico(root, workers=2, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_other_settings_are_refused_and_named(tmp_path):
    root = write_hico(tmp_path / "w", workers=1, **SMALL)
    with pytest.raises(FileExistsError, match=r"seed: 0 there, 9 asked for.*delete it or choose another folder"):
        write_hico(root, seed=9, workers=1, **SMALL)


def test_older_version_is_written_anew(tmp_path):
    fresh = digests(write_hico(tmp_path / "fresh", workers=1, **SMALL))
    root = write_hico(tmp_path / "w", workers=1, **SMALL)
    settings = json.loads((root / "microworld.json").read_text())
    settings["settings"]["version"] = "0.9"
    del settings["settings"]["layout"]
    (root / "microworld.json").write_text(json.dumps(settings))
    (root / "annotations" / "test_hico.json").write_text("[]")
    write_hico(root, workers=1, **SMALL)
    assert digests(root) == fresh
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fresh.lock", ".w.lock", "fresh", "w"]


def test_older_version_with_other_settings_stays(tmp_path):
    root = write_hico(tmp_path / "w", workers=1, **SMALL)
    text = (root / "microworld.json").read_text().replace('"version": "', '"version": "0.')
    (root / "microworld.json").write_text(text)
    with pytest.raises(FileExistsError, match="num_test: 3 there, 4 asked for"):
        write_hico(root, workers=1, **{**SMALL, "num_test": 4})
    assert len(list((root / "images" / "test2015").iterdir())) == 3


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "thesis.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="no finished micro-world"):
        write_hico(tmp_path / "w", workers=1, **SMALL)
    assert (tmp_path / "w" / "thesis.txt").read_text() == "keep me"


def test_empty_folder_is_filled(tmp_path):
    (tmp_path / "w").mkdir()
    assert (write_hico(tmp_path / "w", workers=1, **SMALL) / "microworld.json").exists()


@pytest.mark.parametrize("wrong", [{"num_train": 0}, {"workers": 0}, {"size": (50, 100)}, {"size": (200, 100)}])
def test_impossible_requests_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"expected|at least"):
        write_hico(tmp_path / "w", **{**SMALL, **wrong})


def test_failing_writer_leaves_nothing(tmp_path):
    def write(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        build_once(tmp_path / "w", {}, write, "1")
    assert [path.name for path in tmp_path.iterdir()] == [".w.lock"]


def _hang(root, started):
    def write(folder):
        (folder / "half.txt").write_text("half")
        started.set()
        multiprocessing.Event().wait()
        return {}

    build_once(root, {}, write, "1")


def test_killed_writer_leaves_no_world_and_does_not_block_the_next(tmp_path):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=_hang, args=(tmp_path / "w", started))
    process.start()
    assert started.wait(30)
    process.kill()
    process.join()
    assert not (tmp_path / "w").exists()
    write_hico(tmp_path / "w", workers=1, **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".w.lock", "w"]


def test_processes_that_start_together_make_one_world(tmp_path):
    context = multiprocessing.get_context("fork")
    arguments = {"workers": 1, **SMALL}
    processes = [context.Process(target=write_hico, args=(tmp_path / "w",), kwargs=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".w.lock", "w"]
    alone = write_hico(tmp_path / "alone", **arguments)
    assert digests(tmp_path / "w") == digests(alone)


def test_second_writer_without_locks_takes_the_result_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr("rlipv2.microworld.storage.fcntl", None)

    def write(folder):
        (folder / "mine.txt").write_text("second")
        build_once(tmp_path / "w", {"seed": 0}, lambda other: (other / "mine.txt").write_text("first") and {}, "1")
        return {}

    assert not build_once(tmp_path / "w", {"seed": 0}, write, "1")
    assert (tmp_path / "w" / "mine.txt").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["w"]


def test_moved_world_still_works(world, tmp_path):
    shutil.copytree(world, tmp_path / "elsewhere")
    assert len(HICODet(tmp_path / "elsewhere", split="test")) == 12
