"""What is drawn: each distinct thing once, and the relations of each pair together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rlipv2.structures import LabelSpace, Triplet, Triplets
from rlipv2.visualize.canvas import Point, Rectangle
from rlipv2.visualize.colours import Colour, colour_of
from rlipv2.visualize.fonts import clean


@dataclass(frozen=True)
class Entity:
    """A thing that takes part in triplets, with the look it has in every picture of them.

    Attributes:
        name: its class; with a number where the picture has several things of this class.
        box: x1 y1 x2 y2 in pixels of the drawing, corners in order.
        colour: of its box, name and outgoing arrows.
        dashed: whether its outline is dashed, which tells apart the second use of a colour.
    """

    name: str
    box: Rectangle
    colour: Colour
    dashed: bool


@dataclass(frozen=True)
class Relation:
    """One relation of a pair: its word, score and mark of its best triplet, and all triplets that say it."""

    word: str
    score: float
    mark: bool | None
    rows: tuple[int, ...]

    def text(self, *, show_score: bool) -> str:
        """The word with its mark and score as a label shows them."""
        mark = {None: "", True: "✓ ", False: "✗ "}[self.mark]
        return f"{mark}{self.word} {self.score:.2f}" if show_score else f"{mark}{self.word}"


@dataclass(frozen=True)
class Link:
    """All relations from one entity to another, or to none, best first; both ends are rows of `Scene.entities`."""

    subject: int
    target: int | None
    relations: tuple[Relation, ...]


@dataclass(frozen=True)
class Scene:
    """The entities and links of one image, those of the best triplets first."""

    entities: tuple[Entity, ...]
    links: tuple[Link, ...]


def scene_of(
    triplets: Triplets, *, zoom: Point = (1.0, 1.0), marks: Sequence[bool | None] | None = None, merge: float = 0.5
) -> Scene:
    """The scene that triplets describe.

    Args:
        triplets: any number, boxes in pixels of the image.
        zoom: pixels of the drawing per pixel of the image, across and down.
        marks: per triplet whether it is right, None for no mark.
        merge: boxes of one class that overlap with at least this IoU are one entity, whose box is the one of its best
            triplet.

    Raises:
        ValueError: not one mark per triplet.
    """
    if marks is not None and len(marks) != len(triplets):
        raise ValueError(f"{len(marks)} marks for {len(triplets)} triplets: expected one mark per triplet")
    found = triplets.entities(merge)
    names = _numbered([clean(triplets.label_space.objects[int(label)]) for label in found.labels])
    entities = tuple(
        Entity(name, _scaled(box, zoom), *colour_of(number))
        for number, (name, box) in enumerate(zip(names, found.boxes.tolist(), strict=True))
    )
    rows: dict[tuple[int, int | None], dict[str, list[int]]] = {}
    listed = list(triplets)
    ends = zip(found.subject_index.tolist(), found.object_index.tolist(), strict=True)
    for row, (triplet, (subject, target)) in enumerate(zip(listed, ends, strict=True)):
        pair = rows.setdefault((subject, target if target >= 0 else None), {})
        pair.setdefault(clean(triplet.relation), []).append(row)
    links = tuple(
        Link(
            subject,
            target,
            tuple(
                Relation(word, listed[of_word[0]].score, marks[of_word[0]] if marks else None, tuple(of_word))
                for word, of_word in words.items()
            ),
        )
        for (subject, target), words in rows.items()
    )
    return Scene(entities, links)


def object_box(triplet: Triplet) -> Rectangle:
    """The box of the object, all zeros where the triplet has none."""
    return (0.0, 0.0, 0.0, 0.0) if triplet.object == LabelSpace.MISSING_OBJECT else triplet.object_box


def _numbered(names: Sequence[str]) -> list[str]:
    """Names with numbers where one occurs several times.

    >>> _numbered(["person", "horse", "person"])
    ['person 1', 'horse', 'person 2']
    """
    totals, seen = Counter(names), Counter[str]()
    result = []
    for name in names:
        seen[name] += 1
        result.append(f"{name} {seen[name]}" if totals[name] > 1 else name)
    return result


def _scaled(box: Sequence[float], zoom: Point) -> Rectangle:
    # Predictions may have their corners in any order where training has just begun.
    x1, y1, x2, y2 = box[0] * zoom[0], box[1] * zoom[1], box[2] * zoom[0], box[3] * zoom[1]
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
