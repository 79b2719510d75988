"""Scores of pseudo-labels against true scene graphs, and the baselines without a tagger."""

import json

import numpy as np
import pytest

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.microworld import write_coco
from rlipv2.microworld.truth import TRUTH_FILE
from rlipv2.microworld.truth import read_truth as read_graphs
from rlipv2.pseudo_labels.baselines import caption_shares, every_matching_pair, nearest_matching_pair
from rlipv2.pseudo_labels.matching import LexicalMatcher
from rlipv2.pseudo_labels.paraphrases import class_words
from rlipv2.pseudo_labels.records import Entity, LabelledImage, Relation, SceneGraph, Tags
from rlipv2.pseudo_labels.truth import STEPS, Truth, TruthScores

TEXTS = {"ride": ["riding", "on"], "stand_on": ["standing on", "on"], "next to": ["near", "next to"]}
IMAGE = {
    "image_id": 5,
    "names": ["person", "horse", "person"],
    "relations": [[0, 1, "ride"], [2, 1, "next to"], [1, 2, "next to"]],
    "implied": [[0, 2, "next to"]],
}


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "truth.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def truth(written):
    return Truth(written({"texts": TEXTS, "images": [IMAGE, {"image_id": 6, "names": ["dog"]}]}))


def tags(*rows):
    pairs = np.array([row[:2] for row in rows], np.int64).reshape(-1, 2)
    return Tags(pairs, tuple(row[2] for row in rows), np.array([row[3] for row in rows], np.float32))


def scores_of(truth, *rows):
    scores = TruthScores(truth)
    scores.add(5, tags(*rows))
    return scores


def test_what_is_true_in_an_image(truth):
    true = truth.relations_of(5)
    assert true.num_boxes == 3
    assert true.rows.tolist() == [[0, 1, 0], [2, 1, 2], [1, 2, 2]]
    assert true.implied.tolist() == [[0, 2, 2]]
    assert truth.relations_of(6).rows.shape == (0, 3)
    assert 7 not in truth


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        ((0, 1, "riding"), "right"),
        ((0, 1, "on"), "right"),
        ((0, 1, "Riding "), "right"),
        ((1, 0, "riding"), "wrong"),
        ((2, 1, "riding"), "wrong"),
        ((0, 1, "standing on"), "wrong"),
        ((0, 1, "flying"), "wrong"),
        ((0, 2, "near"), "implied"),
        ((0, 2, "riding"), "wrong"),
    ],
)
def test_verdicts(truth, row, verdict):
    assert truth.relations_of(5).verdict(*row) == verdict


def test_precision_and_recall_by_hand(truth):
    curve = scores_of(
        truth, (0, 1, "riding", 0.9), (0, 1, "on", 0.4), (1, 0, "riding", 0.6), (2, 1, "near", 0.3), (0, 2, "near", 0.8)
    ).curve
    assert curve.at(0.9) == pytest.approx({"precision": 1.0, "recall": 1 / 3, "f1": 0.5})
    assert curve.at(0.5) == pytest.approx({"precision": 0.5, "recall": 1 / 3, "f1": 0.4})
    assert curve.at(0.3) == pytest.approx({"precision": 0.75, "recall": 2 / 3, "f1": 12 / 17})
    assert np.isnan(curve.at(0.95)["precision"])
    assert curve.at(0.95)["recall"] == 0
    # recall rises to 1/3 at precision 1, then to 2/3 at precision 3/4
    assert curve.average_precision == pytest.approx(1 / 3 + 1 / 3 * 0.75)
    assert curve.best == (pytest.approx(0.3), pytest.approx(12 / 17))
    assert curve.total == 3


def test_two_names_of_a_true_relation_find_it_once(truth):
    curve = scores_of(truth, (0, 1, "riding", 0.5), (0, 1, "on", 0.7)).curve
    assert curve.found[0] == 1
    assert curve.right[0] == 2
    assert curve.found[round(0.6 * STEPS)] == 1


def test_repeated_relations_count_once_with_their_best_score(truth):
    curve = scores_of(truth, (1, 0, "on", 0.2), (1, 0, "on", 0.8), (1, 0, "on", 0.5)).curve
    assert curve.wrong[0] == 1
    assert curve.wrong[round(0.8 * STEPS)] == 1


@pytest.mark.parametrize("score", [0.05, 0.2, 0.25, 0.3, 0.7, 1.0])
def test_a_threshold_keeps_scores_that_equal_it(truth, score):
    curve = scores_of(truth, (0, 1, "riding", score)).curve
    step = round(score * STEPS)
    assert curve.right[step] == 1
    assert step == STEPS or curve.right[step + 1] == 0


def test_scores_that_are_no_numbers_are_the_lowest(truth):
    assert scores_of(truth, (0, 1, "riding", float("nan"))).curve.right.tolist()[:2] == [1, 0]


def test_images_without_relations_are_missed(truth):
    scores = TruthScores(truth)
    scores.add(6, tags())
    assert scores.curve.total == 0
    assert np.isnan(scores.curve.recall).all()
    scores.add(5, tags())
    assert scores.curve.total == 3
    assert scores.curve.average_precision == 0
    assert scores.curve.best[1] == 0


def test_recall_of_single_relations(truth):
    scores = scores_of(truth, (0, 1, "on", 0.4), (2, 1, "near", 0.1))
    assert scores.relation_recalls(0.05) == {"ride": (1.0, 1), "next to": (0.5, 2)}
    assert scores.relation_recalls(0.3) == {"ride": (1.0, 1), "next to": (0.0, 2)}


def test_perfect_and_useless_scores(truth):
    right = [(0, 1, "riding"), (2, 1, "near"), (1, 2, "next to")]
    wrong = [(1, 0, "near"), (2, 0, "riding"), (0, 1, "standing on")]
    best = scores_of(truth, *((*row, 0.9) for row in right), *((*row, 0.1) for row in wrong)).curve
    worst = scores_of(truth, *((*row, 0.1) for row in right), *((*row, 0.9) for row in wrong)).curve
    assert best.average_precision == pytest.approx(1)
    assert worst.average_precision == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "does not begin with the texts"),
        ({"texts": {"ride": "riding"}, "images": []}, "does not begin with the texts"),
        ({"texts": TEXTS, "images": [IMAGE, {"names": []}]}, r"record 1 \(image None\): .*no image_id"),
        (
            {"texts": TEXTS, "images": [{**IMAGE, "relations": [[0, 3, "ride"]]}]},
            r"record 0 \(image 5\): relations=\[0, 3, 'ride'\]: its boxes are no rows of the 3 boxes",
        ),
        ({"texts": TEXTS, "images": [{**IMAGE, "implied": [[0, 1, "fly"]]}]}, "with a relation that `texts` lists"),
        ('{"texts": {}, "images": [', "cut off"),
    ],
)
def test_files_that_are_no_truth(written, content, message):
    with pytest.raises(AnnotationError, match=message):
        Truth(written(content))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"none\.json"):
        Truth(tmp_path / "none.json")


def test_the_micro_world_is_read(tmp_path):
    root = write_coco(tmp_path / "coco", num_train=3, num_test=2, size=(128, 144), workers=1, progress=False)
    truth = Truth(root / TRUTH_FILE)
    for graph in read_graphs(root):
        true = truth.relations_of(graph.image_id)
        assert true.num_boxes == len(graph.names)
        rows = [(s, o, truth.names[name]) for s, o, name in true.rows.tolist()]
        assert rows == list(graph.relations)
        assert len(true.implied) == len(graph.implied)


NAMES = ["person", "horse", "dog"]


def said(subject, relation, target):
    return SceneGraph(
        (Entity(f"a {subject}", subject, subject), Entity(f"a {target}", target, target)),
        (Relation(0, 1, relation, relation),),
    )


RIDES = said("man", "riding", "horse")
GRAPHS = [RIDES, RIDES, said("dog", "near", "man"), SceneGraph()]


def image(boxes, labels):
    boxes = np.array(boxes, float).reshape(-1, 4)
    return LabelledImage(1, "1.jpg", "train", (100, 200), boxes, np.array(labels, np.int64), np.zeros(len(boxes), bool))


@pytest.fixture(scope="module")
def matcher():
    return LexicalMatcher(class_words(NAMES))


def rows(found):
    together = zip(found.pairs.tolist(), found.texts, found.scores.tolist(), strict=True)
    return [(*pair, text, round(score, 3)) for pair, text, score in together]


def test_shares_are_of_all_captions(matcher):
    some = image([(0, 0, 10, 10), (20, 0, 10, 10), (40, 0, 10, 10)], [0, 1, 2])
    assert caption_shares(GRAPHS, some, matcher) == {(0, "riding", 1): 0.5, (2, "near", 0): 0.25}
    assert caption_shares([], some, matcher) == {}


def test_baselines_by_hand(matcher):
    some = image([(0, 0, 20, 20), (100, 0, 20, 20), (60, 0, 20, 20), (100, 40, 20, 20)], [0, 0, 1, 2])
    shares = caption_shares(GRAPHS, some, matcher)
    assert sorted(rows(every_matching_pair(shares, some))) == [
        (0, 2, "riding", 0.5),
        (1, 2, "riding", 0.5),
        (3, 0, "near", 0.25),
        (3, 1, "near", 0.25),
    ]
    assert sorted(rows(nearest_matching_pair(shares, some))) == [(1, 2, "riding", 0.5), (3, 1, "near", 0.25)]


def test_of_overlapping_boxes_the_nearest_centers(matcher):
    some = image([(0, 0, 50, 50), (10, 0, 60, 50), (30, 0, 50, 50)], [0, 0, 1])
    assert [row[:2] for row in rows(nearest_matching_pair({(0, "riding", 1): 1.0}, some))] == [(1, 2)]


def test_baselines_of_images_without_matches(matcher):
    for some in (image([], []), image([(0, 0, 9, 9)], [0])):
        shares = caption_shares(GRAPHS, some, matcher)
        assert not len(every_matching_pair(shares, some))
        assert not len(nearest_matching_pair(shares, some))
