import json

import pytest

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.pseudo_labels.matching import LexicalMatcher, OfficialMatcher, base_forms
from rlipv2.pseudo_labels.paraphrases import TABLES, built_in, class_words, expanded, own_words
from rlipv2.vocabularies import load

COCO = list(load("coco").names)


def rows(*names):
    return [COCO.index(name) for name in names]


def found(matcher, span, *names):
    """Names of the classes that a span is matched to in an image with these classes."""
    return [COCO[row] for row in matcher.classes_of(span, rows(*names))]


@pytest.fixture(scope="module")
def official():
    return OfficialMatcher(class_words(COCO))


@pytest.fixture(scope="module")
def lexical():
    return LexicalMatcher(class_words(COCO))


def test_a_phrase_counts_anywhere_in_the_words(official):
    assert found(official, "A Carrot", "car") == ["car"]
    assert found(official, "a handbag", "person") == ["person"]
    assert found(official, "men", "person") == []
    assert found(official, "a sofa", "couch") == []


def test_the_class_that_appeared_last_wins(official):
    assert found(official, "a teddy bear", "teddy bear", "bear") == ["bear"]
    assert found(official, "a teddy bear", "bear", "teddy bear") == ["teddy bear"]
    assert found(official, "a bench", "bench", "chair") == ["chair"]


def test_only_classes_of_the_image_are_matched(official, lexical):
    for matcher in (official, lexical):
        assert found(matcher, "a horse", "dog") == []
        assert found(matcher, "a dog", "dog") == ["dog"]


def test_original_text_takes_the_name_alone():
    matcher = OfficialMatcher(class_words(COCO), "original_text")
    assert found(matcher, "a man", "person") == []
    assert found(matcher, "a personal item", "person") == ["person"]


def test_original_text_of_a_compound_name_is_the_whole_name():
    matcher = OfficialMatcher(class_words(["bowl/basin"]), "original_text")
    assert matcher.classes_of("a bowl", [0]) == ()
    assert matcher.classes_of("a bowl/basin", [0]) == (0,)


@pytest.mark.parametrize(
    ("span", "names", "expected"),
    [
        ("two men", ["person"], ["person"]),
        ("the children", ["person"], ["person"]),
        ("knives", ["knife"], ["knife"]),
        ("a sofa", ["couch"], ["couch"]),
        ("a carrot", ["car"], []),
        ("a scarf", ["car"], []),
        ("relationship", ["boat"], []),
        ("a handbag", ["person", "handbag"], ["handbag"]),
        ("a bench", ["bench", "chair"], ["bench"]),  # own name beats paraphrase
        ("a bench", ["chair"], ["chair"]),
        ("a teddy bear", ["bear", "teddy bear"], ["teddy bear"]),  # longer beats shorter
        ("a teddy bear", ["bear"], []),  # and hides it also where the image has no such class
        ("a hot dog", ["dog"], []),
        ("a car driver", ["car", "person"], ["person"]),  # head beats modifier
        ("a car window", ["car", "person"], ["car"]),
        ("an orange shirt", ["orange"], []),
        ("a bowl of oranges", ["orange", "bowl"], ["bowl"]),
        ("a group of people", ["person"], ["person"]),
        ("a pair of skis", ["skis", "person"], ["skis"]),
        ("the man's hat", ["person"], []),
        ("", ["person"], []),
        ("...", ["person"], []),
        ("\u72ac", ["dog"], []),
    ],
)
def test_whole_words_are_compared_in_their_base_form(lexical, span, names, expected):
    assert found(lexical, span, *names) == expected


def test_all_classes_of_equal_rank_are_kept_if_asked_for():
    words = class_words(["jug", "flask"], "own")
    words = [type(row)(row.name, (*row.phrases, "carafe")) for row in words]
    assert LexicalMatcher(words).classes_of("a carafe", [1, 0]) == (1,)
    assert LexicalMatcher(words, all_matches=True).classes_of("a carafe", [1, 0]) == (1, 0)
    assert LexicalMatcher(words, all_matches=True).classes_of("a jug", [1, 0]) == (0,)


def test_modifiers_can_be_left_out():
    matcher = LexicalMatcher(class_words(COCO), modifiers=False)
    assert found(matcher, "a car window", "car") == []
    assert found(matcher, "a red car", "car") == ["car"]


def test_base_forms_of_words():
    assert base_forms("Two Men's-wear buses") == ("two", "men's", "wear", "bus")


@pytest.mark.parametrize("table", TABLES)
def test_built_in_tables_have_every_class_and_words_for_it(table):
    names = load(table).names
    entries = built_in(table)
    assert list(entries) == list(names)
    assert all(
        entry.phrases and all(phrase == phrase.lower().strip() for phrase in entry.phrases)
        for entry in entries.values()
    )
    matcher = OfficialMatcher(class_words(names))
    assert all(matcher.classes_of(own, [row]) == (row,) for row, name in enumerate(names) for own in own_words(name))


def test_words_of_other_classes_come_from_either_table_or_are_the_name():
    words = class_words(["person", "zebra", "rickshaw", "dragon/wyvern"])
    assert "man" in words[0].phrases
    assert "tuk-tuk" in words[2].further
    assert words[3].phrases == words[3].own == ("dragon", "wyvern")
    assert class_words(["person"], "own")[0].phrases == ("person",)


def test_a_tilde_is_a_space_or_nothing():
    assert expanded("fire~plug, hydrant,, ") == ("fire plug", "fireplug", "hydrant")


def test_a_file_of_phrases_is_taken_as_it_is(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"dog": ["hound", "Doggy"], "cat": ["cat"]}))
    words = class_words(["dog"], path)
    assert words[0].phrases == ("hound", "Doggy")
    matcher = OfficialMatcher(words)
    assert matcher.classes_of("A Greyhound", [0]) == (0,)
    # letters are compared with the lower-cased words, so a capital never counts, as officially
    assert matcher.classes_of("Doggy", [0]) == ()


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ('["dog"]', "not an object"),
        ('{"dog": "hound"}', "'dog': not a list of phrases"),
        ('{"dog": ["hound", ""]}', "'dog': not a list of phrases"),
        ('{"cat": ["cat"]}', "no phrases for the class 'dog'"),
        ('{"dog": [', "cut off"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, content, wrong):
    path = tmp_path / "table.json"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=wrong) as error:
        class_words(["dog"], path)
    assert str(error.value).startswith(f"{path}: ")


def test_missing_files_and_classes_are_refused(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"nothing\.json"):
        class_words(["dog"], tmp_path / "nothing.json")
    with pytest.raises(ValueError, match="no class 'dragon'"):
        class_words(["dog", "dragon"], "coco")
