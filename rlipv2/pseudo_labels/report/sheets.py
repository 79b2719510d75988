"""Sheets of pictures with their relations drawn in, for slides and papers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from rlipv2.pseudo_labels.report.statistics import ReportImage
from rlipv2.structures import LabelSpace, Triplets
from rlipv2.visualize import draw_triplets, image_grid

ON_A_SHEET, COLUMNS, RELATIONS = 12, 4, 5
"""Pictures of a sheet and in a row of it; surest relations of a picture."""


def write_sheets(
    folder: Path, images: Sequence[ReportImage], *, class_names: Sequence[str], threshold: float, title: str
) -> list[Path]:
    """Writes `sheet_000.png`, ... of the images that can be read, and returns the paths.

    Args:
        folder: where; sheets of before go.
        images: in their order.
        class_names: of the labels.
        threshold: what the score of a drawn relation reaches.
        title: heading.
    """
    for old in folder.glob("sheet_[0-9][0-9][0-9].png"):
        old.unlink()
    pictures, captions = [], []
    for report in images:
        picture = _picture(report.file)
        if picture is None or tuple(picture.shape[1:]) != report.image.size:
            continue
        found = kept_triplets(report, class_names, threshold)
        pictures.append(draw_triplets(picture, found.top(RELATIONS), long_side=600, legend=False))
        captions.append(f"{report.image.image_id}: {len(found)} relations")
    paths = []
    for number, start in enumerate(range(0, len(pictures), ON_A_SHEET)):
        part = slice(start, start + ON_A_SHEET)
        path = folder / f"sheet_{number:03d}.png"
        paths.append(image_grid(pictures[part], captions[part], path, title=title, columns=COLUMNS))
    return paths


def kept_triplets(report: ReportImage, class_names: Sequence[str], threshold: float) -> Triplets:
    """The relations of an image that reach a threshold, best first, each relation of a pair once."""
    tags, (boxes, labels) = report.tags, report.kept
    rows: dict[tuple[int, int, str], int] = {}
    for row in (-tags.scores).argsort(kind="stable").tolist():
        if tags.scores[row] >= threshold:
            subject, target = tags.pairs[row].tolist()
            rows.setdefault((subject, target, tags.texts[row]), row)
    names = tuple(dict.fromkeys(tags.texts[row] for row in rows.values()))
    kept = list(rows.values())
    pairs, corners = torch.from_numpy(tags.pairs[kept]), torch.from_numpy(boxes)
    all_labels = torch.from_numpy(labels)
    return Triplets(
        subject_boxes=corners[pairs[:, 0]],
        object_boxes=corners[pairs[:, 1]],
        subject_labels=all_labels[pairs[:, 0]],
        object_labels=all_labels[pairs[:, 1]],
        relation_labels=torch.tensor([names.index(tags.texts[row]) for row in kept], dtype=torch.int64),
        scores=torch.from_numpy(tags.scores[kept]),
        label_space=LabelSpace(objects=tuple(class_names), relations=names),
        image_size=report.image.size,
    )


def _picture(path: Path | None) -> UInt8[Tensor, "3 h w"] | None:
    """Pixels as stored, as boxes mean these; None where they cannot be read."""
    if path is None:
        return None
    try:
        with Image.open(path) as opened:
            return torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
