"""Baselines, bound and the statistics command."""

import sys

import pytest
import torch
from PIL import Image

from rlipv2.metrics.hico.metric import HICODetMAP
from rlipv2.microworld.__main__ import main
from rlipv2.microworld.baselines import ground_truth, nearest_pair, read_annotations, relation_counts
from rlipv2.microworld.statistics import count_interactions, per_image
from rlipv2.structures import Annotation
from rlipv2.vocabularies import load

VOCABULARY = load("hico")
PERSON, HORSE, BOTTLE = (VOCABULARY.label_space.objects.index(name) for name in ("person", "horse", "bottle"))
RIDE, HOLD, NOTHING = (VOCABULARY.verbs.index(name) for name in ("ride", "hold", "no_interaction"))


def evaluate(predictions, annotations):
    metric = HICODetMAP(hois=VOCABULARY.hois, rare=VOCABULARY.rare)
    metric.update(predictions, annotations)
    return metric.compute()


def annotation(relations):
    """A person beside a horse, a bottle far off."""
    boxes = torch.tensor([[0, 0, 10, 10], [5, 0, 25, 10], [80, 80, 90, 90]], dtype=torch.float32)
    labels = torch.tensor([PERSON, HORSE, BOTTLE])
    return Annotation(1, "1.jpg", boxes, labels, torch.tensor(relations, dtype=torch.int64).reshape(-1, 3))


def test_labels_as_predictions_are_perfect(world):
    annotations = read_annotations(world, "test")
    figures = evaluate(ground_truth(annotations), annotations)
    assert float(figures["map_full"]) == 1.0
    assert float(figures["mean_max_recall"]) == 1.0


def test_baselines_stay_below_the_labels(world):
    train, test = read_annotations(world, "train"), read_annotations(world, "test")
    counts = relation_counts(train, VOCABULARY)
    for with_no_interaction in (True, False):
        figures = evaluate(nearest_pair(test, counts, with_no_interaction=with_no_interaction), test)
        assert 0 <= float(figures["map_full"]) < 0.6


def test_relation_counts_follow_the_object_of_the_relation():
    counts = relation_counts([annotation([(0, 1, RIDE), (0, 2, NOTHING)]), annotation([(0, 1, RIDE)])], VOCABULARY)
    assert counts[RIDE, HORSE] == 2
    assert counts[NOTHING, BOTTLE] == 1
    assert counts.sum() == 3


@pytest.mark.parametrize(("with_no_interaction", "verb"), [(True, NOTHING), (False, RIDE)])
def test_nearest_pair_takes_the_nearest_object_and_its_favourite(with_no_interaction, verb):
    train = [annotation([(0, 1, NOTHING), (0, 2, HOLD)])] * 3 + [annotation([(0, 1, RIDE)])] * 2
    counts = relation_counts(train, VOCABULARY)
    (prediction,) = nearest_pair([annotation([])], counts, with_no_interaction=with_no_interaction)
    best = prediction.top(1, VOCABULARY.label_space)
    assert (int(best.object_labels[0]), int(best.relation_labels[0])) == (HORSE, verb)
    assert int((prediction.relation_scores > 0).sum()) == 1


def test_nearest_pair_says_nothing_but_its_one_relation():
    """The unsaid relation to the same pair would count as found if its score took part in the ranking."""
    test = [annotation([(0, 1, RIDE), (0, 1, NOTHING)])]
    counts = relation_counts([annotation([(0, 1, RIDE)])], VOCABULARY)
    assert float(evaluate(nearest_pair(test, counts), test)["map_full"]) == 0.5


def test_image_without_objects_gives_no_pairs():
    alone = Annotation(1, "1.jpg", torch.zeros(1, 4), torch.tensor([PERSON]), torch.zeros(0, 3, dtype=torch.int64))
    assert [len(p) for p in nearest_pair([alone], relation_counts([], VOCABULARY))] == [0]
    assert [len(p) for p in ground_truth([alone])] == [0]


def test_statistics_count_the_labels(world):
    train, test = read_annotations(world, "train"), read_annotations(world, "test")
    counts = count_interactions(world)
    assert sum(c.train for c in counts) == sum(len(a.relations) for a in train)
    assert sum(c.test for c in counts) == sum(len(a.relations) for a in test)
    assert [c.train for c in counts] == sorted((c.train for c in counts), reverse=True)
    assert per_image(train)["persons"][1] >= 1


def test_command_writes_a_world_and_its_statistics(tmp_path, monkeypatch, capsys):
    options = ["--train", "6", "--test", "6", "--size", "128", "128", "--workers", "1"]
    for arguments in (["hico", str(tmp_path / "w"), *options], ["stats", str(tmp_path / "w")]):
        monkeypatch.setattr(sys, "argv", ["microworld", *arguments])
        main()
    printed = capsys.readouterr().out
    assert "labels as predictions (upper bound)              1.000" in printed
    for name in ("long_tail.png", "relations.png"):
        with Image.open(tmp_path / "w" / "statistics" / name) as picture:
            assert min(picture.size) > 200
