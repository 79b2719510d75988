"""The boxes of the micro-world as COCO instances: corner and size, COCO ids, and idle persons as a crowd."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlipv2.microworld.clarity import gap
from rlipv2.microworld.relations import NO_INTERACTION, PERSON
from rlipv2.microworld.world import Drawn
from rlipv2.vocabularies import load

CROWD_GAP = 0.2
"""Idle persons so near to each other, relative to the short side, may be labelled as one crowd."""

ANNOTATIONS_PER_IMAGE = 100  # annotation ids of an image: its number times this, plus row


def busy_persons(drawn: Drawn) -> set[int]:
    """Rows of the persons that do something with an object."""
    return {subject for subject, _, verb in drawn.relations if verb != NO_INTERACTION}


def crowd(drawn: Drawn) -> tuple[int, ...]:
    """Rows of two or more persons that are labelled as one crowd: half of the groups of idle neighbours."""
    idle = [row for row, name in enumerate(drawn.names) if name == PERSON and row not in busy_persons(drawn)]
    near = CROWD_GAP * min(drawn.size)
    rows = tuple(
        row for row in idle if any(other != row and gap(drawn.boxes[row], drawn.boxes[other]) <= near for other in idle)
    )
    return rows if rows and drawn.random("crowd").random() < 0.5 else ()


def annotation_id(drawn: Drawn, row: int) -> int:
    """Id of an entity in a COCO file; unique in all splits. The crowd has that of its first person."""
    return drawn.place.number * ANNOTATIONS_PER_IMAGE + row


def annotations(drawn: Drawn, category_ids: Mapping[str, int]) -> list[dict[str, Any]]:
    """The COCO annotations of an image; persons of a crowd have no boxes of their own."""
    together = crowd(drawn)
    result = []
    for row, (name, box) in enumerate(zip(drawn.names, drawn.boxes, strict=True)):
        if row in together[1:]:
            continue
        if row in together:
            boxes = [drawn.boxes[member] for member in together]
            box = (*(min(b[k] for b in boxes) for k in (0, 1)), *(max(b[k] for b in boxes) for k in (2, 3)))  # type: ignore[assignment]
        result.append(_annotation(drawn, row, category_ids[name], box, is_crowd=row in together))
    return result


def _annotation(
    drawn: Drawn, row: int, category: int, box: tuple[int, int, int, int], *, is_crowd: bool
) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    corners: Any = [[float(value) for value in (x1, y1, x2, y1, x2, y2, x1, y2)]]
    return {
        "id": annotation_id(drawn, row),
        "image_id": drawn.place.number,
        "category_id": category,
        "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
        "area": float((x2 - x1) * (y2 - y1)),
        "iscrowd": int(is_crowd),
        "segmentation": run_lengths(box, drawn.size) if is_crowd else corners,
    }


def run_lengths(box: tuple[int, int, int, int], size: tuple[int, int]) -> dict[str, Any]:
    """The mask of a box as COCO stores crowds: runs of 0 and 1 in turn, column by column."""
    (x1, y1, x2, y2), (width, height) = box, size
    inside, between = y2 - y1, height - (y2 - y1)
    runs = [x1 * height + y1]
    for _ in range(x2 - x1 - 1):
        runs += [inside, between]
    runs += [inside, width * height - (x2 - 1) * height - y2]
    return {"counts": runs, "size": [height, width]}


def coco_category_ids() -> dict[str, int]:
    """COCO id (1 to 90) of every object name."""
    vocabulary = load("coco")
    return dict(zip(vocabulary.names, vocabulary.category_ids.tolist(), strict=True))


def instance_file(
    images: Iterable[Drawn], category_ids: Mapping[str, int], file_names: Sequence[str], **extra: Any
) -> dict[str, Any]:
    """The content of a file of COCO instances.

    Args:
        images: of the file.
        category_ids: id of every category that the file lists, by name.
        file_names: of the images, as they are stored in the file.
        extra: fields that every annotation gets besides COCO's.
    """
    images = list(images)
    return {
        "images": [
            {"id": drawn.place.number, "width": drawn.size[0], "height": drawn.size[1], "file_name": name}
            for drawn, name in zip(images, file_names, strict=True)
        ],
        "annotations": [extra | annotation for drawn in images for annotation in annotations(drawn, category_ids)],
        "categories": [{"id": number, "name": name} for name, number in category_ids.items()],
    }
