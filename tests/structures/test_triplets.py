"""Triplets: choosing among them, their distinct boxes, and what they are handed on as."""

import json
import sys

import pytest
import torch

from rlipv2.structures import LabelSpace, Triplets

SPACE = LabelSpace(objects=("person", "horse", "missing objects"), relations=("ride", "hold", "walk"))
RIDER, OTHER, HORSE = [10.0, 10, 30, 50], [60.0, 10, 80, 50], [5.0, 30, 45, 70]
NOTHING = [0.0, 0, 0, 0]


def moved(box, by):
    return [value + by for value in box]


def triplets(rows, size=(80, 100)):
    """Rows (subject label, box, object label, box, relation, score)."""
    subjects, subject_boxes, objects, object_boxes, relations, scores = zip(*rows, strict=True) if rows else ((),) * 6
    return Triplets(
        subject_boxes=torch.tensor(subject_boxes, dtype=torch.float32).reshape(-1, 4),
        object_boxes=torch.tensor(object_boxes, dtype=torch.float32).reshape(-1, 4),
        subject_labels=torch.tensor(subjects, dtype=torch.long),
        object_labels=torch.tensor(objects, dtype=torch.long),
        relation_labels=torch.tensor(relations, dtype=torch.long),
        scores=torch.tensor(scores, dtype=torch.float32),
        label_space=SPACE,
        image_size=size,
    )


@pytest.fixture
def several():
    """One rider, found three times, of one horse; another person who holds the rider and walks."""
    return triplets(
        [
            (0, RIDER, 1, HORSE, 0, 0.9),
            (0, moved(RIDER, 1), 1, moved(HORSE, 1), 1, 0.8),
            (0, OTHER, 0, RIDER, 1, 0.7),
            (0, moved(RIDER, 0.5), 1, HORSE, 0, 0.6),
            (0, moved(OTHER, 1), 2, NOTHING, 2, 0.5),
        ]
    )


def test_top_and_filter_keep_the_order_and_the_size(several):
    assert several.top(2).scores.tolist() == pytest.approx([0.9, 0.8])
    assert several.top(2).image_size == (80, 100)
    assert several.filter(0.65).scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert several.filter(relations="hold").scores.tolist() == pytest.approx([0.8, 0.7])
    assert several.filter(0.75, relations=["hold", "walk"]).scores.tolist() == pytest.approx([0.8])
    assert several.filter(objects=["person"], subjects=["person"]).scores.tolist() == pytest.approx([0.7])
    assert len(several.filter(subjects="horse")) == 0
    assert len(several.top(0)) == 0


def test_filtering_by_a_name_that_was_not_asked_for_is_an_error(several):
    with pytest.raises(ValueError, match=r"relations: \['fly'\] are none of the 3 names .*: ride, hold, walk"):
        several.filter(relations=["ride", "fly"])
    with pytest.raises(ValueError, match="from 0"):
        several.top(-1)


def test_distinct_triplets_are_the_best_of_the_nearly_equal_ones(several):
    assert several.distinct().scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.5])
    assert len(several.distinct(1.0)) == 5


def test_boxes_of_one_name_that_overlap_are_one_entity(several):
    found = several.entities()
    assert found.names == ("person", "horse", "person")
    assert found.boxes.tolist() == [RIDER, HORSE, OTHER]
    assert found.scores.tolist() == pytest.approx([0.9, 0.9, 0.7])
    assert found.subject_index.tolist() == [0, 0, 2, 0, 2]
    assert found.object_index.tolist() == [1, 1, 0, 1, -1]


def test_a_stricter_overlap_keeps_more_entities(several):
    assert len(several.entities(0.99)) > len(several.entities(0.5))


def test_subject_and_object_of_a_triplet_stay_two_entities():
    hug = triplets([(0, RIDER, 0, moved(RIDER, 2), 1, 0.9), (0, moved(RIDER, 2), 0, RIDER, 1, 0.8)])
    found = hug.entities()
    assert found.boxes.tolist() == [RIDER, moved(RIDER, 2)]
    assert (found.subject_index.tolist(), found.object_index.tolist()) == ([0, 1], [1, 0])


def test_nothing_has_no_entities():
    found = triplets([]).entities()
    assert (len(found), found.names, found.subject_index.tolist()) == (0, (), [])
    assert triplets([]).distinct().to_dict()["triplets"] == []


def test_a_dictionary_holds_names_boxes_and_the_size(several):
    values = several.top(1).to_dict()
    assert values == {
        "width": 100,
        "height": 80,
        "triplets": [
            {
                "subject": "person",
                "relation": "ride",
                "object": "horse",
                "score": 0.9,
                "subject_box": RIDER,
                "object_box": HORSE,
            }
        ],
    }
    assert json.loads(several.top(1).to_json()) == values
    assert "\n" not in several.to_json()


def test_what_was_a_dictionary_comes_back(several):
    again = Triplets.from_dict(json.loads(several.to_json()), SPACE)
    assert again.to_dict() == several.to_dict()
    assert torch.equal(again.object_labels, several.object_labels)
    own = Triplets.from_dict(several.to_dict())
    assert own.label_space == LabelSpace(("person", "horse", "missing objects"), ("ride", "hold", "walk"))
    assert own.to_dict() == several.to_dict()
    assert own.image_size == (80, 100)


def test_without_a_size_or_triplets_a_dictionary_works_too():
    values = triplets([], size=None).to_dict()
    assert values == {"width": None, "height": None, "triplets": []}
    assert len(Triplets.from_dict(values)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": "high"}, r"triplets\[0\]"),
        ({"subject_box": [1, 2, 3]}, r"triplets\[0\]: .* four numbers"),
        ({"relation": 3}, r"triplets\[0\]: .* strings"),
        ({"object": "zebra"}, "zebra"),
    ],
)
def test_a_wrong_dictionary_is_refused_by_row(several, change, message):
    values = several.top(1).to_dict()
    values["triplets"][0] |= change
    with pytest.raises(ValueError, match=message):
        Triplets.from_dict(values, SPACE)


def test_a_dictionary_of_something_else_is_refused():
    with pytest.raises(ValueError, match="width, height and a list triplets"):
        Triplets.from_dict({"boxes": []})


def test_supervision_gets_the_distinct_boxes(several):
    pytest.importorskip("supervision")
    detections, subjects, objects = several.to_supervision()
    assert detections.xyxy.tolist() == [RIDER, HORSE, OTHER]
    assert detections.data["class_name"].tolist() == ["person", "horse", "person"]
    assert detections.class_id.tolist() == [0, 1, 0]
    assert (subjects.tolist(), objects.tolist()) == ([0, 0, 2, 0, 2], [1, 1, 0, 1, -1])
    assert len(triplets([]).to_supervision().detections) == 0


def test_the_scene_graph_has_a_node_per_thing_and_an_edge_per_triplet(several):
    pytest.importorskip("networkx")
    graph = several.to_networkx()
    assert [graph.nodes[node]["name"] for node in graph] == ["person", "horse", "person"]
    assert graph.nodes[1]["box"] == HORSE
    edges = sorted((data["rank"], a, b, data["relation"]) for a, b, data in graph.edges(data=True))
    assert edges == [(0, 0, 1, "ride"), (1, 0, 1, "hold"), (2, 2, 0, "hold"), (3, 0, 1, "ride"), (4, 2, 2, "walk")]
    assert graph.graph == {"width": 100, "height": 80}


@pytest.mark.parametrize(("method", "package"), [("to_supervision", "supervision"), ("to_networkx", "networkx")])
def test_a_missing_package_is_named_with_its_extra(several, method, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}: pip install -e '\.\[graphs\]'"):
        getattr(several, method)()
