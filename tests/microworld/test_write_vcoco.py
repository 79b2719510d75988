"""The world as V-COCO: the release holds together, and the files for RLIPv2 say the same."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from rlipv2.datasets.vcoco.dataset import VCOCO
from rlipv2.microworld.vcoco import labelled_persons, person_actions
from rlipv2.vocabularies import load
from tests.microworld.test_write_layouts import drawn

VOCABULARY = load("vcoco")
SPLITS = ("train", "val", "trainval", "test")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def root(layout):
    return layout("vcoco")


@pytest.fixture(scope="module")
def instances(root):
    return read(root / "data" / "instances_vcoco_all_2014.json")


def ids(root, split):
    return [int(line) for line in (root / "data" / "splits" / f"vcoco_{split}.ids").read_text().split()]


def test_splits_are_disjoint_and_complete(root, instances):
    train, val, trainval, test = (ids(root, split) for split in SPLITS)
    assert train + val == trainval
    assert (len(train), len(val), len(test)) == (8, 8, 12)
    assert sorted(trainval + test) == sorted(ids(root, "all")) == sorted(image["id"] for image in instances["images"])
    folders = {True: "train2014", False: "val2014"}
    for image in instances["images"]:
        folder = folders[image["id"] in trainval]
        assert image["file_name"] == f"COCO_{folder}_{image['id']:012d}.jpg"
        assert (root / "images" / folder / image["file_name"]).is_file()


@pytest.mark.parametrize("split", SPLITS)
def test_release_has_its_structure(root, instances, split):
    images = {box["id"]: box["image_id"] for box in instances["annotations"]}
    crowds = {box["id"] for box in instances["annotations"] if box["iscrowd"]}
    categories = {box["id"]: box["category_id"] for box in instances["annotations"]}
    content = read(root / "data" / "vcoco" / f"vcoco_{split}.json")
    assert [action["action_name"] for action in content] == [name for name, _ in VOCABULARY.actions]
    for action, (_, roles) in zip(content, VOCABULARY.actions, strict=True):
        assert action["role_name"] == ["agent", *roles]
        assert len(action["include"]) == len(action["role_name"])
        count = len(action["ann_id"])
        assert len(action["image_id"]) == len(action["label"]) == count > 0
        table = np.array(action["role_object_id"]).reshape(len(roles) + 1, count).T
        assert table[:, 0].tolist() == action["ann_id"]
        assert {categories[number] for number in action["ann_id"]} == {1}
        assert not crowds & set(action["ann_id"])
        assert set(action["image_id"]) <= set(ids(root, split))
        for image, label, row in zip(action["image_id"], action["label"], table, strict=True):
            assert {images[number] for number in row if number} == {image}
            assert label or not row[1:].any()


def test_files_for_rlipv2_say_the_same_as_the_release(root, instances):
    boxes = {box["id"]: box for box in instances["annotations"]}
    for split, file in (("trainval", "trainval_vcoco.json"), ("test", "test_vcoco.json")):
        expected = Counter()
        for action in read(root / "data" / "vcoco" / f"vcoco_{split}.json"):
            count = len(action["ann_id"])
            table = np.array(action["role_object_id"]).reshape(-1, count).T
            for image, label, row in zip(action["image_id"], action["label"], table, strict=True):
                subject = tuple(boxes[row[0]]["bbox"])
                for role, number in zip(action["role_name"][1:] or [None], [*row[1:]] or [0], strict=True):
                    name = action["action_name"] if role is None else f"{action['action_name']}_{role}"
                    if label:
                        expected[image, name, subject, tuple(boxes[number]["bbox"]) if number else None] += 1
        found = Counter()
        for record in read(root / "annotations" / file):
            corners = [box["bbox"] for box in record["annotations"]]
            sides = [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in corners]
            for entry in record["hoi_annotation"]:
                target = sides[entry["object_id"]] if entry["object_id"] >= 0 else None
                image = int(record["file_name"][-10:-4])
                found[image, VOCABULARY.verbs[entry["category_id"]], sides[entry["subject_id"]], target] += 1
        assert found == expected


@pytest.mark.parametrize("split", ["trainval", "test"])
def test_both_sources_are_read_alike(root, split):
    counts = read(root / "microworld.json")["train" if split == "trainval" else "test"]
    listed, released = (VCOCO(root, split, annotations=kind, training=False) for kind in ("hoia", "release"))
    assert len(listed) == len(released) == counts["images"]
    assert listed.counts["relations"] == counts["relations"]
    assert listed.counts["of them without object"] == counts["without object"] > 0
    for one, other in zip(listed, released, strict=True):
        assert one.annotation.file_name == other.annotation.file_name
        assert torch.equal(one.annotation.boxes_xyxy, other.annotation.boxes_xyxy)
        assert torch.equal(one.annotation.labels, other.annotation.labels)
        assert {*map(tuple, one.annotation.relations.tolist())} == {*map(tuple, other.annotation.relations.tolist())}


def test_ground_truth_knows_unlabelled_persons(root):
    truth = VCOCO(root, "trainval").ground_truth
    labelled = read(root / "microworld.json")["train"]["persons"]
    assert len(truth["person"]) == labelled < (truth["category_id"] == 1).sum()


def test_relations_without_object_and_unlabelled_persons_occur(root, instances):
    content = read(root / "data" / "vcoco" / "vcoco_trainval.json")
    without_role = [action for action in content if len(action["role_name"]) == 1]
    assert sum(sum(action["label"]) for action in without_role) > 5
    records = read(root / "annotations" / "trainval_vcoco.json")
    missing = [
        VOCABULARY.verbs[entry["category_id"]]
        for record in records
        for entry in record["hoi_annotation"]
        if entry["object_id"] < 0
    ]
    assert {"stand", "jump_instr"} <= set(missing)
    persons = [box["id"] for box in instances["annotations"] if box["category_id"] == 1]
    labelled = {n for s in ("trainval", "test") for n in read(root / "data" / "vcoco" / f"vcoco_{s}.json")[0]["ann_id"]}
    assert 0 < len(labelled) < len(persons)


BOXES = [(10, 10, 20, 40), (12, 30, 40, 60), (30, 5, 40, 20), (60, 10, 70, 40)]


@pytest.mark.parametrize(
    ("names", "relations", "activity", "expected"),
    [
        (["person", "bicycle"], [(0, 1, "ride")], "", {"ride": 1, "sit": 1}),
        (["person", "boat"], [(0, 1, "sit_on")], "", {"sit": None}),
        (["person", "horse"], [(0, 1, "jump")], "", {"jump": None}),
        (["person", "umbrella", "bottle"], [(0, 1, "hold"), (0, 2, "hold")], "", {"hold": 1, "stand": None}),
        (["person", "chair"], [(0, 1, "carry")], "", {"carry": 1, "walk": None}),
        (["person", "backpack"], [(0, 1, "carry")], "", {"carry": 1, "stand": None}),
        (["person", "dog"], [(0, 1, "no_interaction")], "run", {"run": None}),
        (["person"], [], "hop", {"jump": None}),
        (["person"], [], "wave", {"stand": None}),
    ],
)
def test_actions_of_a_person(names, relations, activity, expected):
    picture = drawn(names, BOXES[: len(names)], relations, [activity, *[""] * (len(names) - 1)])
    assert person_actions(picture, 0) == expected


def test_only_idle_persons_lack_labels():
    for index in range(30):
        relations = [(0, 1, "hold"), (3, 1, "no_interaction")]
        picture = drawn(["person", "bottle", "dog", "person"], BOXES, relations, ["", "", "", "stand"], index=index)
        assert 0 in labelled_persons(picture)
