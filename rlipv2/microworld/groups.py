"""Groups: a person with the objects it deals with, or a single object, ready to be placed in an image."""

import cmath
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from rlipv2.microworld.actions import Draft, compatible, idle, perform
from rlipv2.microworld.colours import pick_clothes, pick_ink, pick_palette
from rlipv2.microworld.glyphs import GLYPHS
from rlipv2.microworld.person import hands_and_feet, person
from rlipv2.microworld.relations import COMPANIONS, PERSON, Interaction
from rlipv2.microworld.shapes import Colour, Point, Real, Shape, bounds

NOBODY = -1
Box = tuple[Real, Real, Real, Real]
_INKS: tuple[Colour, ...] = ((20, 20, 20), (250, 250, 250))
_GAZE_INKS: tuple[Colour, ...] = ((225, 20, 20), (255, 235, 60))


@dataclass(frozen=True)
class Group:
    """A person with its objects, or one object, in some coordinates with y upwards.

    Attributes:
        names: category of each entity; a person comes first.
        drawing: (row of `names` or `NOBODY`, shape), back to front.
        boxes: x1 y1 x2 y2 with y upwards, what each entity covers without occlusion; empty before the first move.
        relations: (verb, row of the object); the subject is always row 0.
        hands: both hands of the person, empty for an object.
        feet: both feet of the person, empty for an object.
        gaze: start and end of a drawn gaze line.
        idle: what a person without relations does, "" where it has some.
        mirrored: whether it faces left.
    """

    names: tuple[str, ...]
    drawing: tuple[tuple[int, Shape], ...]
    boxes: tuple[Box, ...] = ()
    relations: tuple[tuple[str, int], ...] = ()
    hands: tuple[Point, ...] = ()
    feet: tuple[Point, ...] = ()
    gaze: tuple[Point, ...] = ()
    idle: str = ""
    mirrored: bool = False

    @cached_property
    def bounds(self) -> Box:
        """The box around everything, props included."""
        return bounds(shape for _, shape in self.drawing)


def moved_group(group: Group, factor: Point, offset: Point = 0, *, mirrored: bool = False) -> Group:
    """The group moved: see `Shape.moved`."""

    def points(values: Sequence[Point]) -> tuple[Point, ...]:
        return tuple((-p.conjugate() if mirrored else p) * factor + offset for p in values)

    drawing = tuple((owner, shape.moved(factor, offset, mirrored=mirrored)) for owner, shape in group.drawing)
    return replace(
        group,
        drawing=drawing,
        boxes=entity_boxes(len(group.names), drawing),
        hands=points(group.hands),
        feet=points(group.feet),
        gaze=points(group.gaze),
        mirrored=group.mirrored != mirrored,
    )


def outline(group: Group, scale: Real, offset: Point) -> Group:
    """The group scaled and shifted, without its drawing: quick, to try a place for it."""

    def points(values: Sequence[Point]) -> tuple[Point, ...]:
        return tuple(p * scale + offset for p in values)

    boxes = tuple(
        (x1 * scale + offset.real, y1 * scale + offset.imag, x2 * scale + offset.real, y2 * scale + offset.imag)
        for x1, y1, x2, y2 in group.boxes
    )
    return replace(
        group, drawing=(), boxes=boxes, hands=points(group.hands), feet=points(group.feet), gaze=points(group.gaze)
    )


def entity_boxes(count: int, drawing: Sequence[tuple[int, Shape]]) -> tuple[Box, ...]:
    """The box of each of `count` entities of a drawing."""
    return tuple(bounds(shape for owner, shape in drawing if owner == row) for row in range(count))


def actor_cards(cards: Sequence[Interaction], rng: Random) -> list[list[Interaction]]:
    """Deals the interactions of an image to persons: a person may hold or wear something during its action."""
    actors: list[list[Interaction]] = []
    things = [card for card in cards if card.verb in ("hold", "carry")]
    for card in cards:
        if card not in things:
            actors.append([card])
    for card in things:
        hosts = [actor for actor in actors if len(actor) == 1 and compatible(actor[0], card)]
        if hosts and rng.random() < 0.75:
            hosts[0].append(card)
        else:
            actors.append([card])
    return actors


def actor(cards: Sequence[Interaction], background: Sequence[Colour], rng: Random) -> Group:
    """A person that performs all of `cards`; with none of them an idle person."""
    draft = Draft(ink=pick_ink(background, _INKS), gaze_ink=pick_ink(background, _GAZE_INKS))
    kind = idle(draft, rng) if not cards else ""
    for card in cards:
        companion, probability = COMPANIONS.get(card, (card, 0.0))
        if rng.random() < probability:
            perform(draft, companion, pick_palette(background, rng), rng)
        perform(draft, card, pick_palette(background, rng), rng)
    layered = [(layer, 0, shape) for layer, shape in person(draft.pose, pick_clothes(background, rng))]
    for row, (_, glyph, layer) in enumerate(draft.objects, 1):
        layered += [(layer, row, shape) for shape in glyph.shapes]
    layered += [(layer, NOBODY, shape) for layer, shapes in draft.props for shape in shapes]
    layered.sort(key=lambda item: item[0])
    drawing = tuple((owner, shape) for _, owner, shape in layered)
    names = (PERSON, *(name for name, _, _ in draft.objects))
    hands, feet = hands_and_feet(draft.pose)
    group = Group(
        names=names,
        drawing=drawing,
        relations=tuple((verb, row + 1) for verb, row in draft.relations),
        hands=tuple(hands),
        feet=tuple(feet),
        gaze=() if draft.gaze_target is None else (draft.pose.eye, draft.gaze_target),
        idle=kind,
    )
    return moved_group(group, cmath.exp(1j * rng.uniform(-0.07, 0.07)), mirrored=rng.random() < 0.5)


def lone_object(name: str, background: Sequence[Colour], rng: Random) -> Group:
    """An object that nobody deals with."""
    glyph = GLYPHS[name](pick_palette(background, rng))
    drawing = tuple((0, shape) for shape in glyph.shapes)
    group = Group(names=(name,), drawing=drawing)
    turn = 0.3 if name in ("kite", "sports ball", "bottle", "umbrella") else 0.1
    factor = rng.uniform(0.95, 1.2) * cmath.exp(1j * rng.uniform(-turn, turn))
    return moved_group(group, factor, mirrored=rng.random() < 0.5)
