"""A page to look through the results of a run: `index.html`, with thumbnails and details in `gallery/` beside it.

Pictures are files, not text inside of the page: a page of a thousand would be 15 MB that have to arrive before
anything shows, while files are read as they come into view. The price is that the folder must travel as a whole. What
is known of every single triplet lies in scripts of a hundred images each: a page opened from a disk may load scripts,
but no data.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rlipv2.ops.files import write_atomically
from rlipv2.pages.template import NONE, as_script, render
from rlipv2.predict.names import (
    COPIES,
    DETAILS,
    DONE_VIDEOS,
    DRAWN,
    ERRORS,
    GRAPHS,
    PAGE,
    PREDICTIONS,
    THUMBNAILS,
    picture_name,
)
from rlipv2.predict.results import read_lines, read_run

IMAGES_PER_SCRIPT = 100
MOST_NAMED = 40
"""Distinct triplets of an image that the filters of the page know, best first; its details hold all."""
MOST_PER_FRAME = 20
"""Triplets of a frame of a video that its details hold."""
LEVELS = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02)


@dataclass
class Words:
    """Names as rows of a list, which pages repeat in place of the names."""

    names: dict[str, int] = field(default_factory=dict)

    def row(self, name: str) -> int:
        """The row of a name, a new one if need be."""
        return self.names.setdefault(name, len(self.names))


def write_gallery(folder: Path, *, title: str | None = None) -> Path:
    """Writes the page of a folder of results and the scripts that it loads; returns the path of the page.

    Images are sorted by name, videos among them. The same results give the same bytes.

    Args:
        folder: with the files of `rlipv2.predict.results`, and thumbnails.
        title: heading; tells the number of images if not given.

    Raises:
        ResultsError: a file there is damaged, or none is there.
    """
    run = read_run(folder)
    words = Words()
    videos = {line["image"]: line for line in read_lines(folder / DONE_VIDEOS)}
    frames: dict[str, list[dict[str, Any]]] = {}
    cards = []
    scripts = 0
    for chunk in _chunks(_images(folder, frames), IMAGES_PER_SCRIPT):
        _write_script(folder, scripts, [_rows(line["triplets"], words) for line in chunk])
        cards += [
            {**_card(folder, line["image"], words), "at": [scripts, k], **_shown(line, line["triplets"], words)}
            for k, line in enumerate(chunk)
        ]
        scripts += 1
    for name, lines in frames.items():
        lines.sort(key=lambda line: line["frame"])
        _write_script(folder, scripts, [[[line["seconds"], _rows(line["triplets"], words)] for line in lines]])
        triplets = [triplet for line in lines for triplet in line["triplets"]]
        card = {**_card(folder, name, words), "at": [scripts, 0], **_shown(lines[0], triplets, words)}
        drawn = videos.get(name, {}).get("drawn")
        cards.append({**card, "frames": len(lines), "video": _url(DRAWN, drawn) if drawn else None, "drawn": None})
        scripts += 1
    _remove_scripts(folder, scripts)
    cards.sort(key=lambda card: card["name"])
    errors = [(_readable(line["image"]), _readable(line["error"])) for line in read_lines(folder / ERRORS)]
    videos_only = sum("frames" in card for card in cards)
    page = render(
        "rlipv2.predict",
        "page.html",
        {
            "title": title or f"Relations in {_counted(len(cards) - videos_only, videos_only)}",
            "errors": errors,
            "settings": {
                "weights": _setting(run.get("summary", {}).get("weights")),
                **{name: _setting(value) for name, value in run["settings"].items()},
            },
            "data": as_script(
                {
                    "words": [_readable(name) for name in words.names],
                    "cards": cards,
                    "start": _start(cards, run["settings"]),
                }
            ),
        },
    )
    write_atomically(folder / PAGE, page)
    return folder / PAGE


def _images(folder: Path, frames: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """The lines of images; those of frames of videos go to `frames`, cut to what the page shows."""
    for line in read_lines(folder / PREDICTIONS):
        if "frame" in line:
            frames.setdefault(line["image"], []).append({**line, "triplets": line["triplets"][:MOST_PER_FRAME]})
        else:
            yield line


def _chunks(lines: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(lines)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _write_script(folder: Path, number: int, details: Sequence[Any]) -> None:
    content = json.dumps(details, separators=(",", ":"), allow_nan=False)
    write_atomically(folder / DETAILS / f"{number:05d}.js", f"details({number},{content});\n")


def _remove_scripts(folder: Path, number: int) -> None:
    """Removes what an earlier page had more."""
    for path in (folder / DETAILS).glob("*.js"):
        if int(path.stem) >= number:
            path.unlink()


def _card(folder: Path, name: str, words: Words) -> dict[str, Any]:
    """Name and files of an image; None for files that the run was told not to write."""
    picture = picture_name(name)
    return {
        "name": _readable(name),
        **{
            kind: _url(place, picture) if (folder / place / picture).exists() else None
            for kind, place in (("thumbnail", THUMBNAILS), ("picture", COPIES), ("drawn", DRAWN), ("graph", GRAPHS))
        },
    }


def _shown(line: Mapping[str, Any], triplets: Iterable[Mapping[str, Any]], words: Words) -> dict[str, Any]:
    """Size and distinct triplets with their best scores."""
    best: dict[tuple[int, int, int], float] = {}
    for triplet in triplets:
        key = words.row(triplet["subject"]), words.row(triplet["relation"]), words.row(triplet["object"])
        best[key] = max(best.get(key, 0.0), triplet["score"])
    ranked = sorted(best.items(), key=lambda item: -item[1])[:MOST_NAMED]
    named = [[*key, round(score, 3)] for key, score in ranked]
    return {"size": [line["width"], line["height"]], "named": named}


def _rows(triplets: Iterable[Mapping[str, Any]], words: Words) -> list[list[Any]]:
    """[subject, relation, object, score, subject box, object box] each."""
    return [
        [
            *(words.row(triplet[end]) for end in ("subject", "relation", "object")),
            round(triplet["score"], 4),
            [round(value, 1) for value in triplet["subject_box"]],
            [round(value, 1) for value in triplet["object_box"]] if triplet["object_box"] else None,
        ]
        for triplet in triplets
    ]


def _start(cards: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> float:
    """Where the slider begins: the highest level at which half of the images show something."""
    best = sorted((card["named"][0][3] for card in cards if card["named"]), reverse=True)
    middle = best[(len(best) - 1) // 2] if best else 0.0
    return max(settings.get("min_score", 0.0), next((level for level in LEVELS if level <= middle), 0.0))


def _counted(images: int, videos: int) -> str:
    parts = [
        f"{number:,} {what}{'s' * (number != 1)}" for number, what in ((images, "image"), (videos, "video")) if number
    ]
    return " and ".join(parts) or "no image"


def _url(folder: str, name: str) -> str:
    """Relative, with every odd character escaped, bytes that are no UTF-8 too."""
    return f"{folder}/{quote(os.fsencode(name))}"


def _readable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _setting(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)}: {', '.join(map(str, value))}"
    return NONE if value is None else _readable(str(value))
