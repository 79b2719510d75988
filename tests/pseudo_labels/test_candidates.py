from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from rlipv2.pseudo_labels.candidates import (
    boxes_overlap,
    image_candidates,
    kept_boxes,
    matching_pairs,
    prior_candidates,
)
from rlipv2.pseudo_labels.chunks import chunks, emit, joined
from rlipv2.pseudo_labels.matching import OfficialMatcher
from rlipv2.pseudo_labels.paraphrases import class_words
from rlipv2.pseudo_labels.records import Entity, Group, LabelledImage, Relation, SceneGraph

NAMES = ["person", "horse", "dog"]
MATCHER = OfficialMatcher(class_words(NAMES, "own"))


def image(*boxes, size=(100, 100)):
    """Boxes are (label, x, y, w, h), crowd with a sixth value."""
    return LabelledImage(
        image_id=1,
        file_name="1.jpg",
        split="train2017",
        size=size,
        boxes_xywh=np.array([box[1:5] for box in boxes], np.float64).reshape(-1, 4),
        labels=np.array([box[0] for box in boxes], np.int64),
        crowd=np.array([len(box) > 5 for box in boxes], bool),
    )


def graph(*triplets):
    names = list(dict.fromkeys(name for subject, _, object_ in triplets for name in (subject, object_)))
    relations = tuple(Relation(names.index(s), names.index(o), text, text) for s, text, o in triplets)
    return SceneGraph(tuple(Entity(name, name, name) for name in names), relations)


THREE = image((0, 0, 0, 50, 50), (0, 10, 10, 50, 50), (1, 40, 40, 50, 50))


def as_json(groups):
    return [group.to_json() for group in groups]


def test_boxes_are_cut_to_the_image_and_crowd_and_empty_ones_go():
    boxes, labels = kept_boxes(
        image((0, -10, 5, 30, 200), (1, 3, 3, 0, 9), (1, 120, 3, 9, 9), (2, 1, 1, 5, 5, True), (2, 90, 90, 20, 20))
    )
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [[0, 5, 20, 100], [90, 90, 100, 100]]
    assert labels.tolist() == [0, 2]


def test_a_pair_is_repeated_for_each_triplet_in_parity_and_is_there_once_in_fast():
    graphs = [graph(("person", "riding", "horse")), graph(("person", "on", "horse"), ("person", "riding", "horse"))]
    assert as_json(image_candidates(graphs, THREE, MATCHER, mode="parity")) == [
        [[[0, 2], [0, 2], [1, 2], [1, 2]], ["riding", "on"]]
    ]
    assert as_json(image_candidates(graphs, THREE, MATCHER)) == [[[[0, 2], [1, 2]], ["riding", "on"]]]


def test_groups_of_fast_have_two_classes_unless_told_otherwise():
    graphs = [graph(("person", "riding", "horse"), ("person", "near", "person"))]
    assert as_json(image_candidates(graphs, THREE, MATCHER)) == [
        [[[0, 2], [1, 2]], ["riding"]],
        [[[0, 1], [1, 0]], ["near"]],
    ]
    mixed = image_candidates(graphs, THREE, MATCHER, class_check=False)
    assert as_json(mixed) == [[[[0, 1], [0, 2], [1, 0], [1, 2]], ["near", "riding"]]]


def test_full_groups_leave_an_empty_one_in_parity_alone():
    graphs = [graph(("person", "near", "person"))]
    assert as_json(image_candidates(graphs, THREE, MATCHER, mode="parity", group_size=2)) == [
        [[[0, 1], [1, 0]], ["near"]],
        [[], []],
    ]
    assert as_json(image_candidates(graphs, THREE, MATCHER, group_size=2)) == [[[[0, 1], [1, 0]], ["near"]]]
    assert as_json(image_candidates(graphs, THREE, MATCHER, group_size=1)) == [
        [[[0, 1]], ["near"]],
        [[[1, 0]], ["near"]],
    ]


@pytest.mark.parametrize(
    ("graphs", "labelled"),
    [
        ([], THREE),
        ([SceneGraph()], THREE),
        ([graph(("cat", "on", "sofa"))], THREE),
        ([graph(("person", "near", "person"))], image()),
        ([graph(("person", "near", "person"))], image((0, 0, 0, 5, 5))),
        ([graph(("person", "near", "person"))], image((0, 0, 0, 5, 5, True), (0, 3, 3, 5, 5, True))),
        ([graph(("person", "near", "person"))], image((0, 0, 0, 5, 0), (0, 300, 3, 5, 5))),
    ],
    ids=["no captions", "empty graph", "other classes", "no boxes", "one box", "only crowd", "only degenerate"],
)
def test_images_without_candidates(graphs, labelled):
    assert as_json(image_candidates(graphs, labelled, MATCHER, mode="parity")) == [[[], []]]
    assert image_candidates(graphs, labelled, MATCHER) == []


def test_classes_of_crowd_boxes_take_part_in_matching_as_officially():
    words = class_words(["bear", "teddy bear"], "own")
    labelled = image((1, 0, 0, 5, 5), (1, 5, 5, 5, 5), (0, 0, 0, 9, 9, True))
    graphs = [graph(("teddy bear", "near", "teddy bear"))]
    # the crowd's class appears last and wins, and has no box
    assert as_json(image_candidates(graphs, labelled, OfficialMatcher(words), mode="parity")) == [[[], []]]


def test_texts_without_words_and_long_ones_are_dropped_and_counted_in_fast():
    long = "one two three four five six seven eight nine ten eleven"
    graphs = [
        graph(("person", "", "horse"), ("person", long, "horse"), ("person", "on", "horse"), ("cat", "on", "horse"))
    ]
    counts = Counter()
    groups = image_candidates(graphs, THREE, MATCHER, counts=counts)
    assert groups[0].texts == ("on",)
    assert counts == {
        "entities": 3,
        "entities matched": 2,
        "relations": 4,
        "relations matched": 1,
        "relations without a text": 1,
        "relations of too many words": 1,
        "pairs": 2,
        "groups": 1,
    }
    assert image_candidates(graphs, THREE, MATCHER, mode="parity")[0].texts == ("", long, "on")
    assert image_candidates(graphs, THREE, MATCHER, max_words=11)[0].texts == (long, "on")


def test_boxes_that_only_touch_do_not_overlap():
    boxes = np.array([[0, 0, 10, 10], [10, 0, 10, 10], [9.999, 0, 10, 10], [5, 5, 0, 0]])
    assert boxes_overlap(boxes)[0].tolist() == [True, False, True, True]
    apart = image((0, 0, 0, 10, 10), (1, 5, 5, 10, 10), (1, 50, 50, 10, 10))
    graphs = [graph(("person", "on", "horse"))]
    for mode in ("parity", "fast"):
        assert as_json(image_candidates(graphs, apart, MATCHER, mode=mode, box_overlap=True)) == [[[[0, 1]], ["on"]]]


@pytest.mark.parametrize("count", [0, 1, 2, 9, 20])
def test_pairs_are_those_of_the_loop_over_all_pairs_and_triplets(count):
    generator = np.random.default_rng(count)
    labels = generator.integers(0, 4, count)
    triplets = [(int(s), f"r{row}", int(o)) for row, (s, o) in enumerate(generator.integers(0, 5, (9, 2)))]
    overlap = generator.random((count, count)) < 0.7
    pairs, which = matching_pairs(labels, triplets, overlap)
    expected = [
        (s, o, row)
        for s, o in permutations(range(count), 2)
        for row, (subject, _, object_) in enumerate(triplets)
        if overlap[s, o] and labels[s] == subject and labels[o] == object_
    ]
    assert [(*pair, row) for pair, row in zip(pairs.tolist(), which.tolist(), strict=True)] == expected


def test_candidates_from_relations_known_between_classes():
    prior = {0: {1: ["riding", "on"], 0: []}, 1: {0: ["on"]}}
    assert as_json(prior_candidates(THREE, prior, mode="parity", group_size=3)) == [
        [[[0, 2], [1, 2], [2, 0]], ["riding", "on"]],
        [[[2, 1]], ["on"]],
        [[], []],  # six pairs of boxes
    ]
    assert as_json(prior_candidates(THREE, prior, group_size=3)) == [
        [[[0, 2], [1, 2]], ["riding", "on"]],
        [[[2, 0], [2, 1]], ["on"]],  # "riding" is of other classes
    ]
    assert prior_candidates(image(), prior) == []


A, B, C = (Group(np.array([[0, row]]), texts) for row, texts in ((1, ("on", "near")), (2, ("near", "at")), (3, ())))


def test_chunks_have_the_distinct_texts_of_their_groups():
    assert [(len(groups), texts) for groups, texts in chunks([A, B, C], 2)] == [(2, ("on", "near", "at")), (1, ())]
    assert chunks([], 2) == []


def test_relations_come_out_by_group_pair_and_text():
    groups, texts = chunks([A, B], 2)[0]
    scores = np.array([[[0.9, 0.05, 0.3], [1, 1, 1]], [[0.2, 0.06, np.nan], [1, 1, 1]]], np.float32)
    counts = Counter()
    tags = emit(groups, texts, scores, threshold=0.05, counts=counts)  # 0.05 is not above 0.05; second slots are unused
    assert tags.pairs.tolist() == [[0, 1], [0, 1], [0, 2], [0, 2]]
    assert tags.texts == ("on", "at", "on", "near")
    assert tags.scores.tolist() == pytest.approx([0.9, 0.3, 0.2, 0.06])
    assert counts == {"scores that are no number": 1}
    own = emit(groups, texts, scores, threshold=0.05, own_texts=True)
    assert own.texts == ("on", "near")
    assert own.pairs.tolist() == [[0, 1], [0, 2]]


def test_texts_beyond_those_of_the_chunk_are_padding():
    tags = emit([A], ("on",), np.ones((1, 1, 3), np.float32), threshold=0.5)
    assert tags.texts == ("on",)


def test_relations_of_all_chunks_are_joined():
    tags = emit([A], ("on",), np.ones((1, 1, 1), np.float32), threshold=0.5)
    assert joined([tags, tags]).texts == ("on", "on")
    empty = joined([])
    assert empty.pairs.shape == (0, 2)
    assert len(empty) == 0
