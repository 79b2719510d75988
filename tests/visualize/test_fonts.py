import unicodedata
import warnings
from pathlib import Path

import matplotlib
import pytest

from rlipv2.visualize import fonts
from rlipv2.visualize.fonts import clean, clipped, runs, text_width, wrapped

BUNDLED = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture
def only_bundled(monkeypatch):
    """No fonts but those of matplotlib, whatever the machine has."""
    monkeypatch.setattr(fonts, "_installed", lambda: (str(BUNDLED / "STIXGeneral.ttf"),))
    fonts.runs.cache_clear()
    fonts._file_with.cache_clear()
    yield
    fonts.runs.cache_clear()
    fonts._file_with.cache_clear()


def test_western_and_right_to_left_scripts_need_one_font():
    for text in ("person: riding ✓", "человек", "άλογο", "يركب", "שלום", "ძაღლი"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (run,) = runs(text, 20)
        assert run.text == text


def test_characters_that_the_font_lacks_come_from_another_one(only_bundled):
    lacking = sorted(fonts._characters(str(BUNDLED / "STIXGeneral.ttf")) - fonts._characters(fonts._main_file(False)))
    character = next(chr(code) for code in lacking if unicodedata.category(chr(code)) in ("Sm", "So", "Lu", "Ll"))
    first, second, third = runs(f"ride {character} on", 20)
    assert (first.text, second.text, third.text) == ("ride ", f"{character} ", "on")
    assert first.font.path == third.font.path != second.font.path
    assert text_width(f"ride {character} on", 20) == pytest.approx(
        sum(run.font.getlength(run.text) for run in (first, second, third))
    )


def test_characters_without_any_font_are_named_in_a_warning(only_bundled):
    with pytest.warns(UserWarning, match=r"'马' \(CJK UNIFIED IDEOGRAPH-9A6C\).*fonts-noto-cjk"):
        assert runs("马", 20)[0].text == "马"


def test_marks_stay_with_their_letter(only_bundled):
    assert len(runs("e\u0301\ufe0f", 20)) == 1


@pytest.mark.parametrize("text", ["short", "a rather long text of several words", "w" * 200, ""])
@pytest.mark.parametrize("width", [0, 30, 100, 1000])
def test_text_is_cut_to_its_width(text, width):
    cut = clipped(text, 16, width)
    assert cut == text or text_width(cut, 16) <= max(width, text_width("…", 16))
    assert (cut == text) == (text_width(text, 16) <= width)


def test_text_is_broken_between_words_and_in_long_ones():
    assert wrapped("stand in front of", 16, text_width("stand in_", 16), lines=3) == ["stand in", "front of"]
    parts = wrapped("w" * 30, 16, text_width("w" * 10, 16), lines=3)
    assert "".join(parts) == "w" * 30
    assert max(map(len, parts)) == 10
    assert wrapped("one two three", 16, text_width("three", 16), lines=2)[1].endswith("…")
    assert wrapped("", 16, 100) == [""]


def test_line_breaks_and_control_characters_become_spaces():
    assert clean("next\tto \n\x00x ") == "next to x"
