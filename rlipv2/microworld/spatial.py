"""Where things are in relation to each other: relations between any two entities, read off their boxes."""

import itertools
from collections.abc import Iterator

from rlipv2.microworld.clarity import BACKDROPS, covered, gap
from rlipv2.microworld.groups import Box
from rlipv2.microworld.relations import NO_INTERACTION
from rlipv2.microworld.world import Drawn

BESIDE = 0.1
"""Largest gap of two boxes that are next to each other, relative to the short side of the image."""

HIGH = ("kite", "umbrella")
"""What may hang over something; anything else that is higher in the picture is farther away instead."""


def spatial_relations(drawn: Drawn) -> list[tuple[int, int, str]]:
    """Rows (subject row, object row, name) with `next to`, `behind`, `in front of` or `under`, by row numbers.

    Pairs that a planned interaction relates have none: it decides where they are.
    """
    short = min(drawn.size)
    related = {frozenset((subject, target)) for subject, target, verb in drawn.relations if verb != NO_INTERACTION}
    found = []
    for a, b in itertools.permutations(range(len(drawn.names)), 2):
        if frozenset((a, b)) not in related:
            found += [(a, b, name) for name in _between(drawn, a, b, short)]
    return found


def _between(drawn: Drawn, a: int, b: int, short: int) -> Iterator[str]:
    """What entity `a` is to entity `b`: at most one of the names."""
    first, second = drawn.boxes[a], drawn.boxes[b]
    lower = (first[3] - second[3]) / short  # > 0: `a` stands lower in the picture, hence nearer to the viewer
    overlap = covered(first, second)
    if drawn.names[b] in HIGH and first[1] >= second[3] and _shared_width(first, second) > 0.5:
        yield "under"
    elif overlap > 0.1 and lower < -0.03 and drawn.names[a] in BACKDROPS:
        yield "behind"
    elif overlap > 0.1 and lower > 0.03 and drawn.names[b] in BACKDROPS:
        yield "in front of"
    elif overlap <= 0.1 and abs(lower) < 0.12 and gap(first, second) <= BESIDE * short:
        yield "next to"


def _shared_width(a: Box, b: Box) -> float:
    """How much of the narrower box lies below or above the other one."""
    return (min(a[2], b[2]) - max(a[0], b[0])) / min(a[2] - a[0], b[2] - b[0])
