import pytest

from rlipv2.demo.words import MAX_WORDS, WordsError, parse_label_space, parse_words


def test_commas_semicolons_and_lines_part_words():
    assert parse_words("person, dog;kite\n traffic   light ,", "objects") == ("person", "dog", "kite", "traffic light")


def test_repeated_words_count_once():
    assert parse_words("hold, ride, hold", "relations") == ("hold", "ride")


@pytest.mark.parametrize("text", ["", " , \n;"])
def test_no_word_is_told(text):
    with pytest.raises(WordsError, match="at least one word for the relations"):
        parse_words(text, "relations")


def test_too_many_words_are_told():
    with pytest.raises(WordsError, match=f"at most {MAX_WORDS}"):
        parse_words(",".join(f"word {number}" for number in range(MAX_WORDS + 1)), "objects")


def test_a_word_that_is_a_novel_is_told():
    with pytest.raises(WordsError, match="longer than"):
        parse_words("a" * 81, "objects")


def test_the_word_for_the_background_is_told():
    with pytest.raises(WordsError, match="background"):
        parse_label_space("person, no objects", "hold")
