"""Pictures and tables in the forms of W&B. wandb is imported when something is logged, not before."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rlipv2.callbacks.shown import Shown
from rlipv2.dashboard.names import EXAMPLES, PICTURES, Chart
from rlipv2.structures import LabelSpace, Triplet, Triplets
from rlipv2.visualize import to_image

if TYPE_CHECKING:
    import wandb

LONG_SIDE = 640
"""Pictures are sent in this size at most: W&B scales the boxes along."""

COLUMNS = ("epoch", "image", "picture", "predicted", "labelled", "labels found", "labels")


def picture_rows(images: Sequence[Shown], stage: str, *, epoch: int) -> dict[str, Any]:
    """Values for a row of the history: `<stage>/pictures` with box overlays, `<stage>/examples` as a table.

    Args:
        images: what is shown.
        stage: `val` or `test`.
        epoch: goes into the table, so that tables of several epochs can be joined.
    """
    import wandb

    classes = _class_names(images)
    pictures = [overlay(image, classes) for image in images]
    table = wandb.Table(columns=list(COLUMNS))
    for image, picture in zip(images, pictures, strict=True):
        found = len({row for row in image.found if row is not None})
        words = sentences(image.predicted, show_scores=True), sentences(image.labelled, show_scores=False)
        table.add_data(epoch, image.name, picture, *("\n".join(lines) for lines in words), found, len(image.labelled))
    return {PICTURES.format(stage=stage): pictures, EXAMPLES.format(stage=stage): table}


def _class_names(images: Sequence[Shown]) -> dict[int, str]:
    """One numbering for all images of a table, which W&B asks for; pre-training has other names in every batch."""
    names = [name for image in images for name in _names(image, image.labelled.label_space)]
    return dict(enumerate(dict.fromkeys(names)))


def _names(image: Shown, label_space: LabelSpace) -> tuple[str, ...]:
    return label_space.relations if image.single_boxes else label_space.objects


def overlay(image: Shown, classes: dict[int, str]) -> "wandb.Image":
    """A picture whose boxes can be switched by class, by predicted or labelled, and by score.

    Boxes of a pair share a number; that of the object tells the relations. Numbers go by the best score.
    """
    import wandb

    numbers = {name: number for number, name in classes.items()}
    picture = to_image(image.image)
    size = picture.size
    picture.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    boxes = {
        layer: {
            "box_data": list(_box_data(triplets, size, numbers, single=image.single_boxes)),
            "class_labels": classes,
        }
        for layer, triplets in (("predictions", image.predicted), ("ground_truth", image.labelled))
    }
    caption = "; ".join(sentences(image.predicted, show_scores=True)) or "nothing predicted"
    return wandb.Image(picture, boxes=boxes, caption=f"{image.name}: {caption}")


def _box_data(
    triplets: Triplets, size: tuple[int, int], numbers: dict[str, int], *, single: bool
) -> Iterator[dict[str, Any]]:
    pairs: dict[tuple[Any, ...], list[Triplet]] = {}
    for triplet in triplets:
        pairs.setdefault((triplet.subject_box, triplet.object_box, triplet.subject, triplet.object), []).append(triplet)
    for number, members in enumerate(pairs.values(), start=1):
        first = members[0]
        score = max(member.score for member in members)
        relations = ", ".join(member.relation for member in members)
        named = first.relation if single else first.subject
        with_object = any(first.object_box) and first.object != LabelSpace.MISSING_OBJECT
        caption = named if single else f"{number} {named}" if with_object else f"{number} {named}: {relations}"
        yield _box(first.subject_box, size, numbers[named], caption, score)
        if with_object:
            yield _box(first.object_box, size, numbers[first.object], f"{number} {relations} {first.object}", score)


def _box(box: tuple[float, ...], size: tuple[int, int], number: int, caption: str, score: float) -> dict[str, Any]:
    """A box in fractions of the picture, cut at its edges."""
    (x1, x2), (y1, y2) = (
        sorted(min(max(box[corner + axis] / size[axis], 0.0), 1.0) for corner in (0, 2)) for axis in (0, 1)
    )
    return {
        "position": {"minX": x1, "maxX": x2, "minY": y1, "maxY": y2},
        "class_id": number,
        "box_caption": caption,
        "scores": {"score": round(score, 4)},
    }


def sentences(triplets: Triplets, *, show_scores: bool) -> list[str]:
    """`person ride bicycle 0.42` for each triplet, best first."""
    lines = []
    for triplet in triplets:
        words = [triplet.subject, triplet.relation]
        if any(triplet.object_box) and triplet.object != LabelSpace.MISSING_OBJECT:
            words.append(triplet.object)
        lines.append(" ".join([*words, f"{triplet.score:.2f}"] if show_scores else words))
    return lines


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> "wandb.Table":
    """A table of plain values: NumPy numbers become Python's, NaN becomes empty."""
    import wandb

    return wandb.Table(columns=list(columns), data=[[plain(value) for value in row] for row in rows])


def chart(kind: Chart, rows: Sequence[Sequence[Any]]) -> Any:
    """A chart that W&B draws from a table."""
    import wandb

    return wandb.plot_table(
        data_table=table(kind.columns, rows),
        vega_spec_name=kind.preset,
        fields=kind.fields,
        string_fields={"title": kind.title, **kind.strings},
    )


def plain(value: Any) -> Any:
    """A value that JSON knows.

    >>> plain(np.float64("nan")), plain(np.int64(3)), plain("word")
    (None, 3, 'word')
    """
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and value != value else value
