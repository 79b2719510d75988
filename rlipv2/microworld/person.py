"""The person: an articulated figure seen from the side, facing right, about 1 high, standing on y = 0.

Hands and feet reach for given points, so that contacts with objects are exact; the head turns to where it looks.
"""

import cmath
import math
from dataclasses import dataclass
from typing import NamedTuple

from rlipv2.microworld.shapes import Colour, Point, Real, Shape, arc, bent, disc, polygon, shade, stroke

HIP_HEIGHT = 0.47
TORSO = 0.32
NECK = 0.155
HEAD_RADIUS = 0.1
ARM = (0.17, 0.17)
LEG = (0.24, 0.24)

# Layers of a drawing, back to front: objects go between the parts of a person.
BEHIND, FAR, MIDDLE, BODY, IN_HAND, NEAR, FRONT = range(7)


class Clothes(NamedTuple):
    """The colours of one person."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour


@dataclass
class Pose:
    """Where the parts of a person are, in its own coordinates.

    Attributes:
        hip: the hip joint.
        lean: how far the upper body leans forward, radians.
        gaze: where the eyes look, radians: 0 ahead, positive upwards.
        near_hand: target of the arm at the viewer's side, as an offset from the shoulder; likewise `far_hand`.
        near_foot: target of the leg at the viewer's side, absolute; likewise `far_foot`.
    """

    hip: Point = HIP_HEIGHT * 1j
    lean: Real = 0.03
    gaze: Real = 0.0
    near_hand: Point = 0.05 - 0.32j
    far_hand: Point = 0.09 - 0.31j
    near_foot: Point = -0.03 + 0j
    far_foot: Point = 0.06 + 0j

    @property
    def shoulder(self) -> Point:
        """The shoulder joint, which both arms share."""
        return self.hip + TORSO * cmath.exp(1j * (math.pi / 2 - self.lean))

    @property
    def head(self) -> Point:
        """The centre of the head."""
        return self.shoulder + NECK * cmath.exp(1j * (math.pi / 2 - 0.6 * self.lean - 0.15))

    @property
    def eye(self) -> Point:
        """Where a gaze line starts."""
        return self.head + HEAD_RADIUS * cmath.exp(1j * self.gaze)

    def look_at(self, point: Point) -> None:
        """Turns the head to `point`, which must lie ahead."""
        self.gaze = max(-1.0, min(1.1, cmath.phase(point - self.head)))

    def grasp(self, point: Point, *, near: bool = True) -> None:
        """Lets a hand reach for a point in absolute coordinates."""
        if near:
            self.near_hand = point - self.shoulder
        else:
            self.far_hand = point - self.shoulder


def hands_and_feet(pose: Pose) -> tuple[list[Point], list[Point]]:
    """Where both hands and both feet end up, near side first."""
    hands = [bent(pose.shoulder, pose.shoulder + h, ARM, -1)[2] for h in (pose.near_hand, pose.far_hand)]
    feet = [bent(pose.hip, f + 0.03j, LEG, 1)[2] for f in (pose.near_foot, pose.far_foot)]
    return hands, feet


def person(pose: Pose, clothes: Clothes) -> list[tuple[int, Shape]]:
    """The shapes of a person with their layers."""
    far = Clothes(*(shade(colour, 0.72) for colour in clothes))
    layered = [(FAR, s) for s in _arm(pose, pose.far_hand, far)]
    layered += [(FAR, s) for s in _leg(pose, pose.far_foot, far)]
    layered += [(BODY, s) for s in _leg(pose, pose.near_foot, clothes)]
    layered += [(BODY, s) for s in (*_torso(pose, clothes), *_head(pose, clothes))]
    layered += [(NEAR, s) for s in _arm(pose, pose.near_hand, clothes)]
    return layered


def _arm(pose: Pose, hand: Point, clothes: Clothes) -> list[Shape]:
    shoulder, elbow, end = bent(pose.shoulder - 0.02j, pose.shoulder + hand, ARM, -1)
    sleeve = stroke((shoulder, elbow), 0.065, shade(clothes.shirt, 0.85))
    return [*stroke((elbow, end), 0.052, clothes.skin), *sleeve, disc(end, 0.036, clothes.skin)]


def _leg(pose: Pose, foot: Point, clothes: Clothes) -> list[Shape]:
    hip, knee, ankle = bent(pose.hip, foot + 0.03j, LEG, 1)
    # The shoe points forward and follows the shin, so that a lifted foot hangs naturally.
    toe = ankle + 0.075 * cmath.exp(1j * (cmath.phase(ankle - knee) + math.pi / 2 - 0.1))
    shoe = stroke((ankle, toe), 0.055, shade(clothes.trousers, 0.35))
    return [*shoe, *stroke((hip, knee, ankle), 0.078, clothes.trousers)]


def _torso(pose: Pose, clothes: Clothes) -> list[Shape]:
    up = (pose.shoulder - pose.hip) / TORSO
    side = -1j * up
    hip, shoulder = pose.hip, pose.shoulder
    outline = (hip - 0.065 * side, hip + 0.065 * side, shoulder + 0.08 * side, shoulder - 0.08 * side)
    neck = stroke((shoulder, pose.head), 0.06, shade(clothes.skin, 0.85))
    return [
        *neck,
        disc(shoulder - 0.01j, 0.078, clothes.shirt),
        polygon(outline, clothes.shirt),
        disc(hip, 0.066, clothes.trousers),
    ]


def _head(pose: Pose, clothes: Clothes) -> list[Shape]:
    center, ahead = pose.head, cmath.exp(1j * pose.gaze)

    def point(radius: Real, angle: Real) -> Point:
        return center + radius * ahead * cmath.exp(1j * angle)

    nose = polygon((point(0.095, 0.3), point(0.15, -0.05), point(0.09, -0.35)), clothes.skin)
    hair = arc(center, HEAD_RADIUS + 0.012, pose.gaze + 0.95, pose.gaze + 3.9, 10)
    return [
        nose,
        disc(center, HEAD_RADIUS, clothes.skin),
        polygon([*hair, point(0.04, 1.9)], clothes.hair),
        disc(point(0.062, 0.25), 0.021, (15, 15, 20)),
    ]
