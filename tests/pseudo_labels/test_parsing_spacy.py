"""The adapter to spaCy, on documents built by hand because models are not installed with the tests."""

import json
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlipv2.pseudo_labels.parsing import RuleParser, build_parser
from rlipv2.pseudo_labels.parsing.spacy import SpacyModelError, SpacyParser, doc_records

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pseudo_labels"
CASES = json.loads((FIXTURES / "dependency_trees.json").read_text())["cases"]
MISSING = "en_model_that_is_not_there"


@pytest.fixture
def spacy():
    return pytest.importorskip("spacy")


@pytest.fixture
def parsed(spacy):
    """A pipeline whose parser knows the recorded trees; it fails on any other text."""
    from spacy.tokens import Doc

    pipeline = spacy.blank("en")
    known = {}
    for case in CASES:
        words, lemmas, pos, heads, deps = (list(column) for column in zip(*case["tokens"], strict=True))
        known[" ".join(words).lower()] = Doc(
            pipeline.vocab, words=words, lemmas=lemmas, pos=pos, heads=heads, deps=deps, spaces=[True] * len(words)
        )

    def parser(doc):
        return known[doc.text.lower()]

    spacy.language.Language.component("recorded_parser", func=parser)
    pipeline.add_pipe("recorded_parser", name="parser")
    return pipeline


@pytest.mark.parametrize("profile", ["official", "improved"])
def test_graphs_of_documents(parsed, profile):
    texts = [" ".join(row[0] for row in case["tokens"]) for case in CASES]
    parser = SpacyParser(parsed, profile=profile, batch_size=8)
    graphs, problems = parser.parse_with_problems(texts)
    assert problems == []
    if profile == "official":
        for graph, case in zip(graphs, CASES, strict=True):
            assert [entity.span for entity in graph.entities] == [
                entity["span"].lower() for entity in case["graph"]["entities"]
            ]
            assert [row.__dict__ for row in graph.relations] == case["graph"]["relations"]
    assert parser.identity["profile"] == profile


def test_a_document_that_fails_costs_one_caption_only(parsed):
    graphs, problems = SpacyParser(parsed).parse_with_problems(["a man is standing", "a dog is here", "a cat on a mat"])
    assert len(graphs[0].entities) == 1
    assert [(problem.index, problem.unparsed) for problem in problems] == [(1, True), (2, True)]
    assert problems[0].reason.startswith("KeyError")


def test_chunks_are_those_of_spacy(parsed):
    tokens, chunks = doc_records(parsed("a man and a woman sitting on a bench"))
    assert [(chunk.start, chunk.end) for chunk in chunks] == [(0, 2), (3, 5), (7, 9)]
    assert tokens[5].dep == "acl"


def test_missing_model_tells_what_to_install(spacy):
    with pytest.raises(SpacyModelError, match=f"python -m spacy download {MISSING}"):
        build_parser("spacy", model=MISSING)


def test_model_without_a_parser_is_refused(spacy, tmp_path):
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(SpacyModelError, match="no dependency parser"):
        SpacyParser(str(tmp_path / "blank"))


def test_missing_spacy_tells_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(SpacyModelError, match="pip install"):
        SpacyParser()


def test_other_phrasal_verbs_are_told_by_their_content_not_their_file(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(__version__="3.8"))

    def identity(name, text):
        (tmp_path / name).write_text(text)
        return SpacyParser(SimpleNamespace(meta={"name": "tiny"}), phrasal_verbs=tmp_path / name).identity

    first = identity("a.txt", "look at\nstand on\n")
    assert identity("b.txt", "# sorted\nstand on\nlook at\n") == first
    assert identity("a.txt", "look at\nstand by\n") != first


def test_auto_falls_back_to_the_rules_with_one_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.warns(UserWarning, match="embedded rules") as caught:
        parser = build_parser("auto")
    assert len(caught) == 1
    assert isinstance(parser, RuleParser)


def test_rules_need_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(build_parser("rules", max_words=30), RuleParser)


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="parser=stanza"):
        build_parser("stanza")
    with pytest.raises(ValueError, match="profile=strict"):
        SpacyParser("any", profile="strict")
