"""Scores of triplets against those of a careful reader, by hand."""

import pytest

from rlipv2.pseudo_labels.parsing import graph_triplets, score_captions
from rlipv2.pseudo_labels.records import Entity, Relation, SceneGraph


def truth(*rows):
    keys = ("subject", "relation", "object", "accept", "optional")
    return {"triplets": [dict(zip(keys, row, strict=False)) for row in rows]}


def counts(agreement):
    return agreement.correct, agreement.wrong, agreement.missed, agreement.ignored


def test_lenient_takes_the_last_word_and_people_for_person():
    cases = [truth(("young man", "ride", "horse"), ("people", "on", "bus"))]
    scores = score_captions(cases, [[("man", "ride", "horse"), ("person", "on", "city bus")]])
    assert counts(scores.lenient) == (2, 0, 0, 0)
    assert counts(scores.exact) == (0, 2, 2, 0)


def test_accepted_relations_optional_triplets_and_errors():
    cases = [truth(("man", "sit on", "bench", ["on"]), ("bench", "in", "park", [], True), ("dog", "near", "man"))]
    predicted = [("man", "on", "bench"), ("bench", "in", "park"), ("man", "in", "park")]
    agreement = score_captions(cases, [predicted]).exact
    assert counts(agreement) == (1, 1, 1, 1)
    assert (agreement.precision, agreement.recall, agreement.f1) == (0.5, 0.5, 0.5)


def test_a_repeated_prediction_is_wrong():
    assert counts(score_captions([truth(("a", "on", "b"))], [[("a", "on", "b")] * 2]).exact) == (1, 1, 0, 0)


def test_a_required_triplet_is_matched_before_its_optional_twin():
    cases = [truth(("a", "on", "b", [], True), ("a", "on", "b"))]
    assert counts(score_captions(cases, [[("a", "on", "b")]]).exact) == (1, 0, 0, 0)


def test_nothing_gives_zeros():
    scores = score_captions([], [])
    assert scores.to_dict()["lenient"]["f1"] == 0.0


def test_as_many_predictions_as_cases_are_needed():
    with pytest.raises(ValueError, match="zip"):
        score_captions([truth()], [])


def test_triplets_of_a_graph_are_lemmas():
    entities = (Entity("two men", "men", "man"), Entity("a bench", "bench", "bench"))
    graph = SceneGraph(entities, (Relation(0, 1, "sitting on", "sit on"),))
    assert graph_triplets(graph) == [("man", "sit on", "bench")]
