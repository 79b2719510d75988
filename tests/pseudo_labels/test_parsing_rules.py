"""The embedded parser: agreement with hand-made triplets, what it records, and text that is no caption."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlipv2.pseudo_labels.parsing import RuleParser, graph_triplets, score_captions
from rlipv2.pseudo_labels.parsing.base import CaptionParser, Problem
from rlipv2.pseudo_labels.records import Entity, SceneGraph

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pseudo_labels"


def triplets(caption: str) -> list[tuple[str, str, str]]:
    (graph,) = RuleParser().parse([caption])
    return graph_triplets(graph)


@pytest.mark.parametrize("name", ["captions_dev", "captions_first", "captions_second", "captions_third"])
def test_agreement_with_a_careful_reader(name):
    cases = json.loads((FIXTURES / f"{name}.json").read_text())["captions"]
    graphs = RuleParser().parse([case["caption"] for case in cases])
    scores = score_captions(cases, map(graph_triplets, graphs))
    assert scores.lenient.f1 >= 0.97
    assert scores.exact.f1 >= 0.95


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A man riding a horse on a beach.", [("man", "ride", "horse"), ("man", "on", "beach")]),
        ("a horse being ridden by a man", [("man", "ride", "horse")]),
        ("a bench that a man is sitting on", [("man", "sit on", "bench")]),
        ("the bike that a girl rides", [("girl", "ride", "bike")]),
        ("a group of people in front of a bus", [("people", "in front of", "bus")]),
        ("a dog with a ball in its mouth", [("dog", "with", "ball"), ("ball", "in", "mouth")]),
        ("a woman watching a boy riding a bike", [("woman", "watch", "boy"), ("boy", "ride", "bike")]),
        ("two dogs next to each other", []),
        ("a man in in a a kitchen", [("man", "in", "kitchen")]),
        ("a cat on the", []),
        ("a man ' s hat on a t - shirt", [("hat", "on", "t-shirt")]),
        ("a cat on a mat. a dog chases it", [("cat", "on", "mat")]),
        ("a pan on a gas stove", [("pan", "on", "gas stove")]),
        ("a girl throws paper into a trash can", [("girl", "throw", "paper"), ("girl", "into", "trash can")]),
        ("a parrot that can ride a bike", [("parrot", "ride", "bike")]),
        ("a girl in a high chair", [("girl", "in", "high chair")]),
        ("a player trying to block the goal", [("player", "block", "goal")]),
        ("an owl with its wings spread", [("owl", "with", "wing")]),
        ("a mirror with a light up in front of a tub", [("mirror", "with", "light"), ("mirror", "in front of", "tub")]),
        ("a boy sharing a loaf of bread", [("boy", "share", "bread")]),
        ("a goat on a rope being fed by a girl", [("goat", "on", "rope"), ("girl", "feed", "goat")]),
        ("a boy opens a box together with a girl", [("boy", "open", "box"), ("boy", "with", "girl")]),
    ],
)
def test_triplets(caption, expected):
    assert triplets(caption) == expected


def test_spans_heads_and_both_forms_of_a_relation():
    (graph,) = RuleParser().parse(["Two young Women sitting on a red double decker BUS"])
    assert graph.entities == (
        Entity("two young women", "women", "woman"),
        Entity("a red double decker bus", "bus", "bus"),
    )
    (relation,) = graph.relations
    assert (relation.relation, relation.lemma_relation) == ("sitting on", "sit on")


def test_compounds_stay_in_the_head():
    (graph,) = RuleParser().parse(["a boy with two old tennis rackets"])
    assert graph.entities[1] == Entity("two old tennis rackets", "tennis rackets", "tennis racket")


def test_measures_are_no_part_of_the_span():
    (graph,) = RuleParser().parse(["a group of people on a bus"])
    assert [entity.span for entity in graph.entities] == ["people", "a bus"]


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("人がバイクに乗っている", "not English"),
        ("человек едет на велосипеде", "not English"),
        ("ein Mann sitzt auf einem Stuhl mit dem Hund", "not English"),
        ("una mujer sentada en una silla", "not English"),
        ("un uomo seduto su una sedia con il cane", "not English"),
        ("123 456", "not English"),
    ],
)
def test_what_cannot_be_parsed_has_an_empty_graph_and_a_record(caption, reason):
    good = "a man riding a horse"
    graphs, problems = RuleParser().parse_with_problems([good, caption, good])
    assert graphs[1] == SceneGraph()
    assert graphs[0] == graphs[2] != SceneGraph()
    assert problems == [Problem(1, reason, True)]


def test_long_captions_and_control_characters_are_repaired_and_recorded():
    long = "a man riding a horse " + "and so on " * 40 + "near a barn"
    graphs, problems = RuleParser().parse_with_problems([long, "a cat\x00 on a\x07 mat"])
    assert graph_triplets(graphs[0]) == [("man", "ride", "horse")]
    assert graph_triplets(graphs[1]) == [("cat", "on", "mat")]
    assert problems == [Problem(0, "truncated", False), Problem(1, "control characters", False)]


def test_an_exception_costs_one_caption_only():
    class Fails(CaptionParser):
        @property
        def identity(self):
            return {"parser": "fails"}

        def _graphs(self, texts):
            if any("bad" in text for text in texts):
                raise RuntimeError("no parse")
            return RuleParser().parse(texts)

    captions = ["a man on a bus", "a bad dog on a bus", "a cat on a bus"]
    graphs, problems = Fails().parse_with_problems(captions)
    assert [len(graph.relations) for graph in graphs] == [1, 0, 1]
    assert problems == [Problem(1, "RuntimeError: no parse", True)]


def test_no_text_raises():
    draw = random.Random(0)
    text = "a the man men riding ridden by of with in that which is are and , . her 's up to on top of cut two sits"
    words = text.split()
    alphabet = [chr(code) for code in (*range(0, 0x250), *range(0x2000, 0x2070), 0x1F600, 0xD800, 0xFFFF, 0x10FFFF)]
    texts = ["".join(draw.choices(alphabet, k=draw.randint(0, 80))) for _ in range(1500)]
    texts += [" ".join(draw.choices(words, k=draw.randint(1, 25))) for _ in range(3000)]
    texts += ["'", "' s", "'s", "-", "--", "a-", "-a-", "a - b", "'re", "ﬁ", "İ", "½", "²", "_", "a_b", "\ud800"]
    graphs, problems = RuleParser().parse_with_problems(texts)
    assert len(graphs) == len(texts)
    assert {problem.reason for problem in problems} <= {"empty", "not English", "control characters", "truncated"}
    for graph in graphs:
        assert SceneGraph.from_dict(graph.to_dict()) == graph
        assert all(relation.subject != relation.object for relation in graph.relations)


def test_identity_tells_what_decides_the_graphs():
    assert RuleParser().identity == RuleParser().identity
    assert RuleParser(max_words=20).identity != RuleParser().identity
    assert {"parser", "version", "words", "lemminflect"} <= set(RuleParser().identity)


def test_importing_the_package_does_not_load_the_dictionary():
    code = "import sys, rlipv2.pseudo_labels.parsing; print({'lemminflect', 'spacy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "lemminflect" not in done.stdout
    assert "spacy" not in done.stdout


@pytest.mark.slow
def test_speed():
    cases = json.loads((FIXTURES / "captions_first.json").read_text())["captions"]
    captions = [f"{case['caption']} near {number} trees" for number in range(20) for case in cases]
    parser = RuleParser()
    parser.parse(captions[:100])
    start = time.process_time()
    parser.parse(captions)
    assert len(captions) / (time.process_time() - start) >= 1000
