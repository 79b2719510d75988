"""Rules on dependency trees: recorded graphs of sng_parser, and what the improved profile changes."""

import json
from pathlib import Path

import pytest

from rlipv2.pseudo_labels.parsing.dependency import DependencyToken, find_chunks, read_dependencies
from rlipv2.pseudo_labels.parsing.dependency_words import phrasal_verbs, read_phrasal_verbs
from rlipv2.pseudo_labels.records import SceneGraph

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pseudo_labels"
CASES = {case["name"]: case for case in json.loads((FIXTURES / "dependency_trees.json").read_text())["cases"]}


def tree(rows):
    return [DependencyToken(*row) for row in rows]


def found(rows, **options):
    graph = read_dependencies(tree(rows), **options)
    heads = [entity.lemma_head for entity in graph.entities]
    return [(heads[row.subject], row.relation, heads[row.object]) for row in graph.relations]


@pytest.mark.parametrize("name", sorted(CASES))
def test_recorded_graphs_are_reproduced(name):
    assert read_dependencies(tree(CASES[name]["tokens"])).to_dict() == CASES[name]["graph"]


@pytest.mark.parametrize(
    ("name", "official", "improved"),
    [
        ("verb_prep_not_listed", [("man", "at", "phone")], [("man", "looking at", "phone")]),
        ("on_top_of", [], [("cat", "laying on top of", "laptop computer")]),
        ("standing_next_to", [("woman", "next to", "piano")], [("woman", "standing next to", "piano")]),
        (
            "group_of",
            [("group", "of", "people"), ("people", "standing around", "table")],
            [("people", "standing around", "table")],
        ),
    ],
)
def test_both_profiles(name, official, improved):
    rows = CASES[name]["tokens"]
    assert found(rows) == official
    assert found(rows, profile="improved") == improved


RELATIVE = [
    ["an", "an", "DET", 1, "det"],
    ["elephant", "elephant", "NOUN", 1, "ROOT"],
    ["that", "that", "PRON", 4, "nsubj"],
    ["is", "be", "AUX", 4, "aux"],
    ["standing", "stand", "VERB", 1, "relcl"],
    ["in", "in", "ADP", 4, "prep"],
    ["water", "water", "NOUN", 5, "pobj"],
]


def test_relative_clause():
    assert found(RELATIVE) == []
    assert found(RELATIVE, profile="improved") == [("elephant", "standing in", "water")]


COORDINATED = [
    ["a", "a", "DET", 1, "det"],
    ["man", "man", "NOUN", 2, "nsubj"],
    ["pulls", "pull", "VERB", 2, "ROOT"],
    ["a", "a", "DET", 4, "det"],
    ["cart", "cart", "NOUN", 2, "dobj"],
    ["and", "and", "CCONJ", 2, "cc"],
    ["feeds", "feed", "VERB", 2, "conj"],
    ["goats", "goat", "NOUN", 6, "dobj"],
]


def test_coordinated_verb():
    assert found(COORDINATED) == [("man", "pulls", "cart")]
    assert found(COORDINATED, profile="improved") == [("man", "pulls", "cart"), ("man", "feeds", "goat")]


def test_two_compounds_of_one_noun_change_places_officially():
    rows = [
        ["city", "city", "NOUN", 2, "compound"],
        ["bus", "bus", "NOUN", 2, "compound"],
        ["stop", "stop", "NOUN", 2, "ROOT"],
    ]
    assert read_dependencies(tree(rows)).entities[0].head == "bus city stop"
    assert read_dependencies(tree(rows), profile="improved").entities[0].head == "city bus stop"


def test_phrasal_verbs_are_an_option():
    rows = CASES["verb_prep_not_listed"]["tokens"]
    assert found(rows, verbs=phrasal_verbs() | {"look at"}) == [("man", "looking at", "phone")]


def test_what_the_pipeline_keeps_is_lower_case():
    graph = read_dependencies(tree(CASES["attr_copula"]["tokens"])).to_scene_graph()
    assert isinstance(graph, SceneGraph)
    assert graph.entities[0].span == "the woman"


def test_chunks_of_coordinated_nouns():
    chunks = find_chunks(tree(CASES["coord_subject"]["tokens"]))
    assert [(chunk.start, chunk.end) for chunk in chunks] == [(0, 2), (3, 5), (7, 9)]


def test_a_head_outside_the_tree_is_refused():
    with pytest.raises(ValueError, match="head=7: there are 1 tokens"):
        read_dependencies([DependencyToken("dog", "dog", "NOUN", 7, "ROOT")], chunks=[])


def test_file_of_phrasal_verbs(tmp_path):
    path = tmp_path / "verbs.txt"
    path.write_text("# mine\nLook  at\n\nstand on\n")
    assert read_phrasal_verbs(path) == {"look at", "stand on"}
    path.write_text("look at\nlook\n")
    with pytest.raises(ValueError, match=r"record 2: entry='look'"):
        read_phrasal_verbs(path)
    with pytest.raises(FileNotFoundError):
        read_phrasal_verbs(tmp_path / "none.txt")
