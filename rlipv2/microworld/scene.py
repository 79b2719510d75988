"""Scenes: groups placed in an image so that every label can be told from the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from rlipv2.microworld.clarity import BACKDROPS, NEAR, fits, gap
from rlipv2.microworld.colours import pick_background
from rlipv2.microworld.groups import Box, Group, actor, actor_cards, lone_object, moved_group, outline
from rlipv2.microworld.relations import NO_INTERACTION, OBJECTS, PERSON, Interaction
from rlipv2.microworld.shapes import Colour

MAX_PERSONS, MAX_OBJECTS, MAX_LABELS = 4, 5, 8

# Width over height.
_ASPECTS = (1.0, 4 / 3, 4 / 3, 3 / 2, 5 / 4, 4 / 5, 3 / 4)


@dataclass(frozen=True)
class Scene:
    """What is where in an image of `width` x `height` pixels; x to the right, y upwards from the bottom."""

    width: int
    height: int
    background: tuple[Colour, Colour]
    groups: tuple[Group, ...]
    relations: tuple[tuple[tuple[int, int], tuple[int, int], str], ...]
    """(group, row) of the subject, (group, row) of the object, verb."""


def sample_scene(cards: Sequence[Interaction], size: tuple[int, int], key: str) -> Scene:
    """A scene that shows all planned interactions; the same key gives the same scene.

    Args:
        cards: planned interactions.
        size: bounds of the short side in pixels, inclusive.
        key: names the random stream.

    Raises:
        RuntimeError: the interactions do not fit into one image after many attempts.
    """
    for attempt in range(200):
        scene = _attempt(cards, size, Random(f"{key}/{attempt}"), crowding=max(0.0, 1 - attempt / 40))
        if scene is not None:
            return scene
    raise RuntimeError(f"{key}: no room for {cards} in an image with a short side of {size}; plan fewer of them")


def _attempt(cards: Sequence[Interaction], size: tuple[int, int], rng: Random, *, crowding: float) -> Scene | None:
    aspect, short = rng.choice(_ASPECTS), rng.randint(*size)
    width, height = (round(short * aspect), short) if aspect >= 1 else (short, round(short / aspect))
    background = pick_background(rng)
    hands = actor_cards(cards, rng)
    if len(hands) > MAX_PERSONS:
        return None
    groups = [actor(hand, background, rng) for hand in hands]
    unit = short * rng.uniform(0.39, {1: 0.5, 2: 0.45}.get(len(groups), 0.41))
    placed: list[Group] = []
    for group in sorted(groups, key=lambda g: g.bounds[0] - g.bounds[2]):
        spot = _place(group, placed, unit, (width, height), rng)
        if spot is None:
            return None
        placed.append(spot)
    _add_others(placed, unit, (width, height), background, rng, crowding=crowding)
    placed.sort(key=lambda group: -min(box[1] for box in group.boxes))
    relations = _relations(placed, short)
    if len(relations) > MAX_LABELS:
        return None
    return Scene(width, height, background, tuple(placed), tuple(relations))


def _add_others(
    placed: list[Group],
    unit: float,
    frame: tuple[int, int],
    background: Sequence[Colour],
    rng: Random,
    *,
    crowding: float,
) -> None:
    """Adds idle persons and lone objects, most of them next to somebody."""
    persons = sum(group.names[0] == PERSON for group in placed)
    objects = sum(name != PERSON for group in placed for name in group.names)
    others: list[Group] = []
    for _ in range(min(MAX_PERSONS - persons, rng.choice((0, 0, 1, 1, 2)))):
        if rng.random() < crowding:
            others.append(actor((), background, rng))
    for _ in range(min(MAX_OBJECTS - objects, rng.choice((1, 1, 1, 2, 2, 3)))):
        if rng.random() < crowding:
            others.append(lone_object(rng.choice(OBJECTS), background, rng))
    for group in others:
        mode = rng.random()
        backdrop = group.names[0] in BACKDROPS and mode < 0.5
        spot = _place(group, placed, unit, frame, rng, near="behind" if backdrop else "beside" if mode < 0.85 else None)
        if spot is not None:
            placed.append(spot)


def _place(
    group: Group,
    placed: Sequence[Group],
    unit: float,
    frame: tuple[int, int],
    rng: Random,
    *,
    near: Literal["beside", "behind"] | None = None,
) -> Group | None:
    """The group at a free spot, or None; `near` asks for a spot right beside or behind somebody."""
    short = min(frame)
    for _ in range(30):
        # What stands lower in the picture is nearer to the viewer, hence larger.
        depth = rng.random()
        scale = max(unit * (1.1 - 0.2 * depth), 0.355 * short)
        x1, y1, x2, y2 = (value * scale for value in group.bounds)
        room_x, room_y = frame[0] - (x2 - x1) - 4, frame[1] - (y2 - y1) - 4
        left, bottom = 2 + rng.random() * room_x, 2 + depth * room_y
        if near and placed:
            anchor = rng.choice(placed).boxes
            left, bottom = _next_to(
                anchor[0] if rng.random() < 0.7 else rng.choice(anchor), x2 - x1, short, rng, behind=near == "behind"
            )
        if not (2 <= left <= 2 + room_x and 2 <= bottom <= 2 + room_y):
            continue
        offset = complex(left - x1, bottom - y1)
        spot = outline(group, scale, offset)
        if all(fits(spot, other, short) and fits(other, spot, short) for other in placed):
            return moved_group(group, scale, offset)
    return None


def _next_to(box: Box, width: float, short: int, rng: Random, *, behind: bool) -> tuple[float, float]:
    """Left and bottom of something `width` wide that stands right beside or behind `box`."""
    if behind:
        middle = (box[0] + box[2]) / 2 + rng.uniform(-0.1, 0.1) * short
        return middle - width / 2, box[1] + rng.uniform(0.035, 0.12) * short
    distance = rng.uniform(-0.06, NEAR) * short
    left = box[2] + distance if rng.random() < 0.5 else box[0] - distance - width
    return left, box[1] + rng.uniform(-0.08, 0.15) * short


def _relations(groups: Sequence[Group], short: int) -> list[tuple[tuple[int, int], tuple[int, int], str]]:
    """All labels of a scene: what the persons do, and `no_interaction` for near pairs that do nothing."""
    relations = []
    for g, group in enumerate(groups):
        relations += [((g, 0), (g, row), verb) for verb, row in group.relations]
        if group.names[0] != PERSON:
            continue
        for o, other in enumerate(groups):
            if o == g:
                continue
            for row, name in enumerate(other.names):
                if name != PERSON and gap(group.boxes[0], other.boxes[row]) <= NEAR * short:
                    relations.append(((g, 0), (o, row), NO_INTERACTION))
    return relations
