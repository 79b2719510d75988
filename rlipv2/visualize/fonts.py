"""Text in pictures: its font, size, and breaks.

Text is set in DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew, Armenian, Georgian.
Characters that it lacks (Chinese, Japanese, Korean, Thai, Devanagari, ...) are taken from the first installed font
that has them. Where none has, a warning names the characters and they show as boxes.
"""

import unicodedata
import warnings
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib import font_manager
from PIL import ImageDraw, ImageFont

from rlipv2.visualize.colours import Colour

ELLIPSIS = "…"
LINE_HEIGHT = 1.3  # of the font size, from one baseline to the next
# Where several installed fonts have a character, families made for reading on screens come first.
_FAVOURITES = ("notosanscjk", "notosans", "sourcehan", "wqy", "wenquanyi", "droidsans", "unifont")
# Cannot be shown: stand for "no glyph here" in every script.
_PLACEHOLDER_FONTS = ("lastresort", "adobeblank")


class Run(NamedTuple):
    """A part of a text that one font has."""

    text: str
    font: ImageFont.FreeTypeFont


def clean(text: str) -> str:
    """The text on one line: spaces for tabs, line breaks and other control characters."""
    return " ".join("".join(c if c.isprintable() or c == "\u200d" else " " for c in text).split())


@lru_cache(maxsize=4096)
def text_width(text: str, size: int, *, bold: bool = False) -> float:
    """Width of one line in pixels."""
    return float(sum(run.font.getlength(run.text) for run in runs(text, size, bold=bold)))


def draw_text(
    canvas: ImageDraw.ImageDraw, place: tuple[float, float], text: str, *, size: int, fill: Colour, bold: bool = False
) -> None:
    """Draws one line whose baseline begins at `place`, in pixels."""
    x, y = place
    for run in runs(text, size, bold=bold):
        canvas.text((x, y), run.text, font=run.font, fill=fill, anchor="ls")
        x += run.font.getlength(run.text)


def clipped(text: str, size: int, width: float, *, bold: bool = False) -> str:
    """The text, or as much of its beginning as fits into `width` pixels with an ellipsis."""
    if text_width(text, size, bold=bold) <= width:
        return text
    return text[: _fitting(text, size, width, bold=bold, end=ELLIPSIS)].rstrip() + ELLIPSIS


def wrapped(text: str, size: int, width: float, *, lines: int = 2, bold: bool = False) -> list[str]:
    """The text on at most `lines` lines of `width` pixels, broken between words, within words that are too long.

    What does not fit is cut off with an ellipsis.
    """
    result: list[str] = []
    rest = text
    while len(result) < lines - 1 and text_width(rest, size, bold=bold) > width:
        most = max(1, _fitting(rest, size, width, bold=bold))
        space = rest.rfind(" ", 0, most + 1)
        result.append(rest[: space if space > 0 else most].rstrip())
        rest = rest[space if space > 0 else most :].lstrip()
    return [*result, clipped(rest, size, width, bold=bold)]


def _fitting(text: str, size: int, width: float, *, bold: bool, end: str = "") -> int:
    """How many characters of the beginning fit, with `end` after them."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(text[:middle] + end, size, bold=bold) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


@lru_cache(maxsize=4096)
def runs(text: str, size: int, *, bold: bool = False) -> tuple[Run, ...]:
    """The parts of a text by the font that has them, in order."""
    main = _main_file(bold)
    parts: list[tuple[str, str]] = []
    for character in text:
        file = main if ord(character) in _characters(main) else _file_with(character) or main
        # Marks belong to the letter before them, spaces to any font.
        if parts and (unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf") or character == " "):
            file = parts[-1][1]
        if parts and parts[-1][1] == file:
            parts[-1] = (parts[-1][0] + character, file)
        else:
            parts.append((character, file))
    return tuple(Run(part, _font(file, size)) for part, file in parts)


@cache
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


@cache
def _main_file(bold: bool) -> str:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name)


@cache
def _characters(file: str) -> frozenset[int]:
    """Code points that a font has a glyph for; none where the file cannot be read."""
    try:
        return frozenset(font_manager.get_font(file).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@cache
def _installed() -> tuple[str, ...]:
    """Font files of this machine and of matplotlib, favourites first."""
    bundled = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = {*font_manager.findSystemFonts(), *map(str, bundled.glob("*.ttf"))}

    def rank(file: str) -> tuple[int, bool, str]:
        name = Path(file).name.lower().replace("-", "")
        place = next((k for k, family in enumerate(_FAVOURITES) if family in name), len(_FAVOURITES))
        return place, "regular" not in name, file

    return tuple(file for file in sorted(files, key=rank) if not Path(file).name.lower().startswith(_PLACEHOLDER_FONTS))


@cache
def _file_with(character: str) -> str | None:
    """The first installed font that has a character; warns once per character where there is none."""
    for file in _installed():
        if ord(character) in _characters(file):
            return file
    warnings.warn(
        f"no installed font has {character!r} ({unicodedata.name(character, 'no name')}): it is drawn as a box. "
        "Install one that has it, for example `apt install fonts-noto-cjk` for Chinese, Japanese and Korean, "
        "`fonts-noto-core` for other scripts",
        stacklevel=2,
    )
    return None
