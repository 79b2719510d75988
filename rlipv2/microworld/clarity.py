"""When a scene is clear: what may stand where, so that every label can be told from the picture."""

from rlipv2.microworld.groups import Box, Group
from rlipv2.microworld.relations import PERSON
from rlipv2.microworld.shapes import Point, Real

NEAR, FAR = 0.05, 0.11
"""Gaps between the boxes of a person and an object, relative to the short side of the image.

A pair without a relation is labelled `no_interaction` up to the first gap and not labelled from the second on;
spots with a gap in between are not used, so that no label hangs on a pixel.
"""

BACKDROPS = ("horse", "boat", "bench")
"""Large objects that often stand right behind somebody who has nothing to do with them."""


def gap(a: Box, b: Box) -> Real:
    """Distance between two boxes, 0 where they touch or overlap."""
    dx = max(a[0] - b[2], b[0] - a[2], 0.0)
    dy = max(a[1] - b[3], b[1] - a[3], 0.0)
    return (dx * dx + dy * dy) ** 0.5


def covered(a: Box, b: Box) -> Real:
    """Intersection of two boxes over the smaller of them."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))


def fits(group: Group, other: Group, short: int) -> bool:
    """Whether nothing of `group` seems to do something with an object of `other`, nor covers too much of it.

    Args:
        group: has its place in the image.
        other: likewise.
        short: short side of the image in pixels.
    """
    for name, box in zip(group.names, group.boxes, strict=True):
        for other_name, other_box in zip(other.names, other.boxes, strict=True):
            mixed = (name == PERSON) != (other_name == PERSON)
            if covered(box, other_box) > _most_cover(name, box, other_name, other_box):
                return False
            if mixed and NEAR * short < gap(box, other_box) < FAR * short:
                return False
    objects = [(name, box) for name, box in zip(other.names, other.boxes, strict=True) if name != PERSON]
    return all(_unrelated(group, name, box, short) for name, box in objects)


def _most_cover(name: str, box: Box, other_name: str, other_box: Box) -> Real:
    """How much of the smaller of two entities may be covered by the box of the other."""
    if (name == PERSON) == (other_name == PERSON):
        return 0.15
    person, thing = (box, other_box) if name == PERSON else (other_box, box)
    in_front = person[1] < thing[1] and (other_name if name == PERSON else name) in BACKDROPS
    return 0.8 if in_front else 0.3


def _unrelated(group: Group, name: str, box: Box, short: int) -> bool:
    """Whether a person cannot be taken to hold, carry, stand on, kick, look at, chase or jump over an object."""
    # Nobody holds, carries or pushes a backdrop, so a hand in front of it says nothing.
    for point in group.feet if name in BACKDROPS else (*group.hands, *group.feet):
        if _distance(point, box) < 0.03 * short:
            return False
    if group.gaze:
        start, stop = group.gaze
        if any(_distance(start + (stop - start) * step / 12, box) < 0.02 * short for step in range(13)):
            return False
    x1, y1, x2, y2 = group.boxes[0]
    if group.feet and x1 < (box[0] + box[2]) / 2 < x2 and abs(box[1] - y2) < 0.08 * short:
        return False  # it would seem to be carried on the head
    if group.idle == "hop":
        return not (x1 < box[2] and box[0] < x2 and box[1] < y1)
    runs = group.idle == "run" or any(verb == "chase" for verb, _ in group.relations)
    if runs and name == "dog":
        ahead = (box[0] + box[2] < x1 + x2) if group.mirrored else (box[0] + box[2] > x1 + x2)
        return not (ahead and gap(group.boxes[0], box) < 0.6 * short)
    return True


def _distance(point: Point, box: Box) -> Real:
    return gap((point.real, point.imag, point.real, point.imag), box)
