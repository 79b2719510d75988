"""The world in the layouts of detection data, Open Images, Visual Genome and a user's own data."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest

from rlipv2 import microworld
from rlipv2.datasets.custom import CustomRelations
from rlipv2.datasets.detection import COCODetection
from rlipv2.datasets.open_images.dataset import OpenImagesSGG
from rlipv2.datasets.scene_graphs.dataset import SceneGraphs
from rlipv2.microworld.__main__ import WRITERS, main
from rlipv2.microworld.instances import annotations, crowd, run_lengths
from rlipv2.microworld.open_images import categories
from rlipv2.microworld.spatial import spatial_relations
from rlipv2.microworld.words import OBJECT_WORDS, RELATION_WORDS
from rlipv2.microworld.world import Drawn, Place

LAYOUTS = ("hico", "vcoco", "open_images", "coco", "objects365", "scene_graphs", "custom")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def images(root):
    return {digest for name, digest in digests(root).items() if name.endswith(".jpg")}


def drawn(names, boxes, relations=(), activities=None, size=(200, 160), index=0):
    place = Place("0", "train", index, index + 1)
    return Drawn(place, "0.jpg", size, tuple(names), tuple(boxes), tuple(relations), tuple(activities or [""] * 9))


@pytest.mark.parametrize("name", LAYOUTS[1:])
def test_number_of_workers_does_not_change_a_byte(tmp_path, name):
    write = getattr(microworld, f"write_{name}")
    options = {"num_train": 3, "num_test": 2, "size": (128, 128), "progress": False}
    alone = write(tmp_path / "one", workers=1, **options)
    assert digests(alone) == digests(write(tmp_path / "two", workers=2, **options))
    assert digests(alone) != digests(write(tmp_path / "other", seed=1, workers=1, **options))


@pytest.mark.parametrize("name", ["vcoco", "open_images", "custom"])
def test_layouts_with_relations_share_their_pictures(layout, name):
    assert images(layout("hico")) <= images(layout(name))


@pytest.mark.parametrize("name", ["coco", "objects365", "scene_graphs"])
def test_pictures_for_pre_training_are_others(layout, name):
    others = [images(layout(other)) for other in LAYOUTS if other != name]
    assert not any(images(layout(name)) & other for other in others)


@pytest.mark.parametrize("name", LAYOUTS)
def test_one_layout_is_not_taken_for_another(layout, name):
    other = LAYOUTS[LAYOUTS.index(name) - 1]
    with pytest.raises(FileExistsError, match=f"layout: {name} there, {other} asked for"):
        getattr(microworld, f"write_{other}")(
            layout(name), num_train=16, num_test=12, size=(128, 144), workers=1, progress=False
        )


@pytest.mark.parametrize(("name", "kind"), [("coco", "coco"), ("objects365", "objects365")])
@pytest.mark.parametrize(("split", "stored"), [("train", "train"), ("val", "test")])
def test_detection_files_are_read(layout, name, kind, split, stored):
    root = layout(name)
    counts = read(root / "microworld.json")[stored]
    dataset = COCODetection(root, split, layout=kind, training=False)
    assert len(dataset) == counts["images"]
    assert len(dataset.records.boxes) - dataset.records.crowd.sum() == counts["boxes"]
    assert dataset.records.crowd.sum() == counts["crowds"]
    sample = dataset[0]
    height, width = sample.original_size
    assert (sample.annotation.boxes_xyxy[:, 2:] <= sample.annotation.boxes_xyxy.new_tensor([width, height])).all()
    names = {
        dataset.label_space.objects[label] for row in range(len(dataset)) for label in dataset[row].annotation.labels
    }
    assert {"person", "bicycle", "dog"} <= names
    assert len(names) == 12


def test_objects365_lists_its_categories_in_another_order(layout):
    ids = [
        category["id"] for category in read(layout("objects365") / "train" / "zhiyuan_objv2_train.json")["categories"]
    ]
    assert sorted(ids) == list(range(1, 366))
    assert ids != sorted(ids)


def test_idle_neighbours_may_be_one_crowd():
    boxes = [(10, 10, 20, 40), (22, 12, 32, 40), (100, 10, 110, 40), (24, 20, 60, 44)]
    relations = [(2, 3, "inspect"), (0, 3, "no_interaction")]
    pictures = [drawn(["person", "person", "person", "bench"], boxes, relations, index=index) for index in range(40)]
    together = Counter(crowd(picture) for picture in pictures)
    assert together.keys() == {(), (0, 1)}
    assert 8 < together[()] < 32
    picture = next(picture for picture in pictures if crowd(picture))
    written = annotations(picture, {"person": 1, "bench": 15})
    assert [(box["category_id"], box["bbox"], box["iscrowd"]) for box in written] == [
        (1, [10.0, 10.0, 22.0, 30.0], 1),
        (1, [100.0, 10.0, 10.0, 30.0], 0),
        (15, [24.0, 20.0, 36.0, 24.0], 0),
    ]


@pytest.mark.parametrize("box", [(2, 1, 5, 3), (0, 0, 6, 4), (5, 3, 6, 4), (0, 2, 1, 4)])
def testrun_lengths_are_the_mask_of_the_box(box):
    runs = run_lengths(box, (6, 4))
    mask = np.repeat(np.arange(len(runs["counts"])) % 2, runs["counts"]).reshape(6, 4).T
    expected = np.zeros((4, 6), int)
    expected[box[1] : box[3], box[0] : box[2]] = 1
    assert runs["size"] == [4, 6]
    assert np.array_equal(mask, expected)


def test_open_images_files(layout):
    root = layout("open_images")
    names, counts = read(root / "annotations" / "categories_dict.json"), read(root / "microworld.json")
    several, between_objects, used = 0, 0, set()
    for split, number in (("train", 16), ("val", 3), ("test", 12)):
        records = read(root / "annotations" / f"vrd-{split}-anno.json")
        assert len(records) == number
        assert sum(len(record["rel"]) for record in records) == counts[split]["relations"]
        for record in records:
            assert (root / "images" / f"{record['img_fn']}.jpg").is_file()
            assert len(record["img_fn"]) == 16
            assert len(record["bbox"]) == len(record["det_labels"])
            width, height = record["img_size"]
            assert all(0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height for x1, y1, x2, y2 in record["bbox"])
            pairs = Counter((subject, target) for subject, target, _ in record["rel"])
            several += sum(count > 1 for count in pairs.values())
            person = names["obj"].index("Person")
            between_objects += sum(record["det_labels"][subject] != person for subject, _ in pairs)
            used |= {names["rel"][relation] for _, _, relation in record["rel"]}
    assert several > 3
    assert between_objects > 0
    assert {"ride", "on", "holds"} <= used
    assert "read" not in used


def test_scene_graph_files(layout):
    root = layout("scene_graphs")
    known = {word for words in OBJECT_WORDS.values() for word in words}
    predicates = {word for words in RELATION_WORDS.values() for word in words}
    ids, names, words = [], set(), set()
    for file, number in (("scene_graphs_preprocessv1.json", 16), ("scene_graphs_test.json", 12)):
        graphs = read(root / "annotations" / file)
        assert len(graphs) == number
        for graph in graphs:
            assert (root / "images" / f"{graph['image_id']}.jpg").is_file()
            own = {entity["object_id"] for entity in graph["objects"]}
            ids += [*own, *(relation["relationship_id"] for relation in graph["relationships"])]
            names |= {entity["names"] for entity in graph["objects"]}
            words |= {relation["predicate"] for relation in graph["relationships"]}
            rows = [(r["subject_id"], r["object_id"], r["predicate"]) for r in graph["relationships"]]
            assert len(set(rows)) == len(rows)
            assert all(subject in own and target in own for subject, target, _ in rows)
    assert len(set(ids)) == len(ids)
    assert names <= known
    assert words <= predicates
    assert len({"man", "woman", "person", "guy"} & names) > 2
    assert len(words) > 12


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_open_images_files_are_read(layout, split):
    root = layout("open_images")
    counts = read(root / "microworld.json")[split]
    dataset = OpenImagesSGG(root, split, training=False)
    assert len(dataset) == counts["images"]
    assert len(dataset.records.boxes) == counts["boxes"]
    assert len(dataset.records.relations) == counts["relations"]
    assert set(dataset.label_space.objects) <= {"Person", *categories()["obj"]} - {"Accordion", "Mug"}
    assert dataset[0].image.shape[1:] == dataset[0].original_size


@pytest.mark.parametrize(("split", "file"), [("train", None), ("test", "annotations/scene_graphs_test.json")])
def test_scene_graphs_are_read(layout, split, file):
    root = layout("scene_graphs")
    counts = read(root / "microworld.json")[split]
    dataset = SceneGraphs(root, annotations=file)
    assert len(dataset) == counts["images"]
    assert len(dataset.records.boxes) == counts["boxes"]
    assert len(dataset.records.relations) == counts["relations"]
    assert set(dataset[0].label_space.objects) <= {word for words in OBJECT_WORDS.values() for word in words}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_custom_files_are_read(layout, split):
    root = layout("custom")
    counts = read(root / "microworld.json")[split]
    dataset = CustomRelations(root, split, label_space="all", training=False)
    assert len(dataset) == counts["images"]
    assert len(dataset.records.relations) == counts["relations"] > 0
    sample = dataset[0]
    assert tuple(dataset.records.sizes[0]) == sample.original_size
    assert "no interaction" not in sample.label_space.relations


@pytest.mark.parametrize(
    ("names", "boxes", "expected"),
    [
        (["dog", "chair"], [(10, 50, 30, 80), (34, 40, 60, 84)], [(0, 1, "next to"), (1, 0, "next to")]),
        (["dog", "kite"], [(10, 90, 40, 120), (15, 20, 35, 60)], [(0, 1, "under")]),
        (["dog", "chair"], [(10, 90, 40, 120), (15, 20, 35, 60)], []),
        (["boat", "person"], [(10, 40, 90, 100), (40, 50, 60, 120)], [(0, 1, "behind"), (1, 0, "in front of")]),
        (["dog", "chair"], [(10, 50, 30, 80), (120, 40, 150, 84)], []),
    ],
)
def test_spatial_relations(names, boxes, expected):
    assert spatial_relations(drawn(names, boxes)) == expected


def test_pairs_that_do_something_have_no_spatial_relation():
    boxes = [(10, 50, 30, 80), (34, 40, 60, 84)]
    assert spatial_relations(drawn(["person", "chair"], boxes, [(0, 1, "inspect")])) == []
    assert len(spatial_relations(drawn(["person", "chair"], boxes, [(0, 1, "no_interaction")]))) == 2


@pytest.mark.parametrize("command", sorted(WRITERS))
def test_command_writes_and_counts(tmp_path, monkeypatch, capsys, command):
    options = ["--num-train", "2", "--num-test", "1", "--size", "128", "128", "--workers", "1"]
    monkeypatch.setattr("sys.argv", ["microworld", command, str(tmp_path / "w"), *options])
    main()
    assert read(tmp_path / "w" / "microworld.json")["settings"]["num_train"] == 2
    if command != "hico":
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["microworld", "stats", str(tmp_path / "w")])
        main()
        counts = read(tmp_path / "w" / "microworld.json")["test"]
        assert [int(value) for value in capsys.readouterr().out.splitlines()[-1].split()[1:]] == list(counts.values())


def test_counting_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["microworld", "stats", str(tmp_path / "w")])
    with pytest.raises(SystemExit, match="no micro-world there"):
        main()
