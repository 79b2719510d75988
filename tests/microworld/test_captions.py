"""Captions and true graphs beside the detection layouts."""

import json
import re
from collections import Counter

import pytest

from rlipv2.datasets.detection import COCODetection
from rlipv2.microworld.__main__ import main
from rlipv2.microworld.captions import CaptionOptions, captions_of, rewrite_captions
from rlipv2.microworld.truth import TRUTH_FILE, TrueGraph, read_truth, true_graph
from rlipv2.microworld.words import OBJECT_WORDS, RELATION_WORDS, accepted_texts, split_verb
from rlipv2.microworld.world import Drawn, Place

RIDER = TrueGraph(7, (700, 701, 702), ("person", "horse", "dog"), ((0, 1, "ride"),), ())
PLAIN = CaptionOptions(per_image=400, error_rate=0, synonyms=0, extras=0)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def drawn(names, boxes, relations, index=0):
    place = Place("coco/0", "train", index, index + 1)
    return Drawn(place, "0.jpg", (200, 160), tuple(names), tuple(boxes), tuple(relations), ("",) * len(names))


@pytest.mark.parametrize("name", ["coco", "objects365"])
def test_every_image_has_captions_and_a_graph(layout, name):
    root = layout(name)
    captions, graphs = read(root / "annotations" / "captions.json"), read_truth(root)
    counts = read(root / "microworld.json")
    assert list(captions) == [str(graph.image_id) for graph in graphs]
    assert len(graphs) == counts["train"]["images"] + counts["test"]["images"]
    assert all(len(texts) == 10 and all(text == text.lower().strip() for text in texts) for texts in captions.values())
    assert sum(len(graph.names) for graph in graphs) == counts["train"]["boxes"] + counts["test"]["boxes"]


def test_rows_of_the_graphs_are_those_of_the_boxes_that_are_no_crowd(layout):
    root = layout("coco")
    graphs = {graph.image_id: graph for graph in read_truth(root)}
    for split in ("train", "val"):
        dataset = COCODetection(root, split, training=False)
        content = read(root / "annotations" / f"instances_{split}2017.json")
        for row in range(len(dataset)):
            annotation = dataset[row].annotation
            graph = graphs[annotation.image_id]
            assert [dataset.label_space.objects[label] for label in annotation.labels] == list(graph.names)
            boxes = [a for a in content["annotations"] if a["image_id"] == graph.image_id and not a["iscrowd"]]
            assert [box["id"] for box in boxes] == list(graph.annotation_ids)
            assert all(s < len(boxes) and o < len(boxes) and s != o for s, o, _ in graph.relations + graph.implied)


def test_persons_of_a_crowd_leave_the_graph():
    boxes = [(10, 10, 20, 40), (22, 12, 32, 40), (100, 10, 110, 40), (124, 20, 150, 44)]
    names = ["person", "person", "person", "bench"]
    pictures = [drawn(names, boxes, [(2, 3, "inspect")], index=index) for index in range(20)]
    graphs = {true_graph(picture) for picture in pictures}
    crowded = next(graph for graph in graphs if len(graph.names) == 2)
    assert crowded.names == ("person", "bench")
    assert crowded.relations == ((0, 1, "inspect"),)
    assert crowded.annotation_ids[0] % 100 == 2
    alone = next(graph for graph in graphs if len(graph.names) == 4)
    assert (0, 1, "next to") in alone.relations


def test_what_nobody_has_to_say_is_implied():
    graph = true_graph(drawn(["person", "chair"], [(10, 50, 30, 80), (34, 40, 60, 84)], [(0, 1, "inspect")]))
    assert graph.relations == ((0, 1, "inspect"),)
    assert set(graph.implied) == {(0, 1, "next to"), (1, 0, "next to")}


def test_nearness_without_interaction_is_only_spatial():
    graph = true_graph(drawn(["person", "chair"], [(10, 50, 30, 80), (34, 40, 60, 84)], [(0, 1, "no_interaction")]))
    assert {name for *_, name in graph.relations} == {"next to"}
    assert graph.implied == ()


def test_captions_without_errors_say_what_is_there():
    texts = captions_of(RIDER, "world", PLAIN)
    active = re.compile(r"(a|the) man (riding|rides|is riding|that is riding) (a|the) horse")
    passive = re.compile(r"(a|the) horse (being )?ridden by (a|the) man")
    assert all(active.fullmatch(text) or passive.fullmatch(text) for text in texts)
    assert len({text.replace("the ", "a ") for text in texts}) == 6


def test_same_world_same_captions():
    assert captions_of(RIDER, "coco/0") == captions_of(RIDER, "coco/0")
    assert captions_of(RIDER, "coco/0") != captions_of(RIDER, "coco/1")


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("omission", lambda text: "horse" not in text or " and " in text),
        ("wrong_relation", lambda text: not re.search(r"rid(ing|es|den)", text)),
        ("wrong_object", lambda text: "horse" not in text),
        ("noise", lambda text: not re.fullmatch(r"(a|the) .*man.* (a|the) horse|(a|the) horse .*man", text)),
    ],
)
def test_kinds_of_errors(kind, wrong):
    options = CaptionOptions(per_image=300, error_rate=1, errors={kind: 1}, synonyms=0, extras=0)
    share = sum(map(wrong, captions_of(RIDER, "world", options))) / 300
    assert share == 1 if kind != "noise" else share > 0.2


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.7])
def test_error_rate_is_the_share_of_captions_with_an_error(rate):
    options = CaptionOptions(per_image=1000, error_rate=rate, errors={"wrong_object": 1}, synonyms=0, extras=0)
    wrong = sum("horse" not in text for text in captions_of(RIDER, "world", options)) / 1000
    assert wrong == pytest.approx(rate, abs=0.05)


def test_wrong_objects_are_often_in_the_image():
    options = CaptionOptions(per_image=400, error_rate=1, errors={"wrong_object": 1}, synonyms=0, extras=0)
    named = Counter("dog" in text for text in captions_of(RIDER, "world", options))
    assert 0.4 < named[True] / 400 < 0.7


def test_wordings_vary():
    graph = TrueGraph(7, (700, 701), ("person", "bicycle"), ((0, 1, "ride"),), ())
    texts = " | ".join(captions_of(graph, "world", CaptionOptions(per_image=300)))
    assert all(f" {word} " in texts for word in ("man", "woman", "guy", "bike", "bicycle", "riding", "rides", "on"))


@pytest.mark.parametrize("names", [(), ("dog",), ("dog", "boat")])
def test_images_without_relations_are_described_too(names):
    graph = TrueGraph(7, tuple(range(len(names))), names, (), ())
    texts = captions_of(graph, "world", CaptionOptions(per_image=20, error_rate=0.5))
    assert all(len(text.split()) >= 2 for text in texts)


def test_every_relation_can_be_said():
    for relation in RELATION_WORDS:
        graph = TrueGraph(1, (1, 2), ("person", "bench"), ((0, 1, relation),), ())
        assert len(set(captions_of(graph, "world", PLAIN))) > 1


def test_texts_that_name_a_relation():
    assert {"riding", "ride", "rides", "ridden", "on", "riding on", "ride on"} <= set(accepted_texts("ride"))
    assert {"next to", "near", "standing next to", "stand beside"} <= set(accepted_texts("next to"))
    assert "holding a" not in accepted_texts("hold")
    assert "chasing" not in accepted_texts("ride")


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("rides", ("riding", "")),
        ("holding a", ("holding", "")),
        ("sits on", ("sitting", "on")),
        ("in front of", (None, "in front of")),
        ("has", ("having", "")),
    ],
)
def test_verbs_of_names(word, parts):
    assert split_verb(word) == parts


def test_captions_can_be_written_anew(layout, tmp_path):
    root = layout("coco")
    again = rewrite_captions(root, tmp_path / "again.json")
    assert again.read_bytes() == (root / "annotations" / "captions.json").read_bytes()
    exact = read(rewrite_captions(root, tmp_path / "exact.json", CaptionOptions(per_image=3, error_rate=0)))
    assert {len(texts) for texts in exact.values()} == {3}


def test_truth_lists_what_names_its_relations(layout):
    content = read(layout("coco") / TRUTH_FILE)
    assert content["texts"]["ride"] == accepted_texts("ride")
    assert {name for record in content["images"] for *_, name in record["relations"]} <= content["texts"].keys()
    assert {name for record in content["images"] for name in record["names"]} <= OBJECT_WORDS.keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_image": 0}, "per_image=0"),
        ({"error_rate": 1.5}, "error_rate=1.5: must be between 0 and 1"),
        ({"errors": {"typo": 1}}, "expected weights of .*'omission'"),
        ({"errors": {"noise": 0}}, "all weights are 0"),
        ({"errors": {"noise": -1}}, "expected weights"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        CaptionOptions(**options)


def test_command(layout, tmp_path, monkeypatch, capsys):
    to = tmp_path / "more.json"
    command = ["microworld", "captions", str(layout("coco")), "--to", str(to), "--error-rate", "0.6"]
    monkeypatch.setattr("sys.argv", command)
    main()
    assert capsys.readouterr().out.strip() == str(to)
    assert read(to) != read(layout("coco") / "annotations" / "captions.json")


@pytest.mark.parametrize("name", [None, "hico"])
def test_folders_without_truth_have_no_captions(layout, tmp_path, monkeypatch, name):
    root = layout(name) if name else tmp_path / "none"
    monkeypatch.setattr("sys.argv", ["microworld", "captions", str(root)])
    with pytest.raises(SystemExit, match=r"no truth/scene_graphs\.json there"):
        main()
