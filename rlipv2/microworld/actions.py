"""How each interaction looks: the pose of the person and the place of the object, in the person's coordinates.

An action changes a `Draft`: it sets the pose, adds the object as a glyph on a layer, and records the relation. Only
geometry tells the relations apart; the object itself looks the same whatever is done with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from rlipv2.microworld.glyphs import GLYPHS, Glyph, Palette, dog, horse
from rlipv2.microworld.person import BEHIND, BODY, FAR, FRONT, IN_HAND, MIDDLE, Pose
from rlipv2.microworld.relations import Interaction
from rlipv2.microworld.shapes import Colour, Point, Shape, dotted, stroke


@dataclass
class Draft:
    """One person and the objects that it does something with, before they are placed in the image.

    Attributes:
        pose: of the person.
        objects: (category, glyph, layer) of each object.
        relations: (verb, row of `objects`).
        props: leashes, strings, gaze and motion lines: (layer, shapes); they belong to nobody.
        gaze_target: point that a drawn gaze line ends at.
        ink: colour of leashes, strings and motion lines, which must stand out from the background.
        gaze_ink: colour of gaze lines.
    """

    ink: Colour
    gaze_ink: Colour
    pose: Pose = field(default_factory=Pose)
    objects: list[tuple[str, Glyph, int]] = field(default_factory=list)
    relations: list[tuple[str, int]] = field(default_factory=list)
    props: list[tuple[int, list[Shape]]] = field(default_factory=list)
    gaze_target: Point | None = None

    def add(self, interaction: Interaction, glyph: Glyph, layer: int) -> None:
        """Adds the object of an interaction and records the relation."""
        self.objects.append((interaction.object, glyph, layer))
        self.relations.append((interaction.verb, len(self.objects) - 1))


def _walk(pose: Pose, rng: Random) -> None:
    stride = rng.uniform(0.12, 0.17)
    pose.near_foot, pose.far_foot = complex(stride, 0), complex(-stride, 0.02)
    if rng.random() < 0.5:
        pose.near_foot, pose.far_foot = pose.far_foot, pose.near_foot
    pose.hip = 0.45j


def _speed_lines(point: Point, direction: Point, spread: Point, ink: Colour) -> list[Shape]:
    shapes = []
    for k, length in ((-1, 0.1), (0, 0.15), (1, 0.1)):
        start = point + k * spread
        shapes += stroke((start, start + length * direction), 0.02, ink)
    return shapes


def _ride(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose = draft.pose
    if what.object == "bicycle":
        pose.hip, pose.lean = glyph.anchors["saddle"] + 0.04j, rng.uniform(0.4, 0.5)
        turn = complex(0.06, 0.07) * rng.choice((1, -1))
        pose.near_foot, pose.far_foot = glyph.anchors["crank"] + turn - 0.03j, glyph.anchors["crank"] - turn - 0.03j
        pose.grasp(glyph.anchors["grip"])
        pose.grasp(glyph.anchors["grip"] + 0.02, near=False)
    else:
        pose.hip, pose.lean = glyph.anchors["back"] + 0.03j, 0.1
        pose.near_foot, pose.far_foot = pose.hip + 0.1 - 0.4j, pose.hip + 0.14 - 0.4j
        hand = pose.shoulder + 0.24 - 0.17j
        pose.grasp(hand)
        pose.grasp(hand + 0.02, near=False)
        draft.props.append((FAR, stroke((hand, glyph.anchors["halter"]), 0.02, draft.ink)))
    draft.add(what, glyph, MIDDLE)


def _sit_on(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose = draft.pose
    pose.lean = rng.uniform(-0.1, 0.08)
    if what.object == "boat":
        pose.hip = glyph.anchors["deck"] + complex(rng.uniform(-0.08, 0), 0.05)
        pose.near_foot, pose.far_foot = pose.hip + 0.27 - 0.04j, pose.hip + 0.31 - 0.04j
    else:
        shift = rng.uniform(-0.25, 0.15) if what.object == "bench" else 0.0
        pose.hip = glyph.anchors["seat"] + complex(shift - 0.05, 0.045)
        pose.near_foot, pose.far_foot = pose.hip.real + 0.25 + 0j, pose.hip.real + 0.3 + 0j
    pose.grasp(pose.hip + 0.17 + 0.08j)
    pose.grasp(pose.hip + 0.2 + 0.08j, near=False)
    draft.add(what, glyph, BEHIND if what.object == "bench" else MIDDLE)


def _stand_on(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose = draft.pose
    base = glyph.anchors["seat"] if what.object == "chair" else glyph.anchors["deck"]
    base += rng.uniform(-0.04, 0.02)
    pose.hip = base + 0.47j
    pose.near_foot, pose.far_foot = base - 0.04, base + 0.05
    pose.near_hand, pose.far_hand = -0.16 - 0.26j, 0.2 - 0.24j
    draft.add(what, glyph, BEHIND)


def _jump(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose = draft.pose
    x, top = {"bicycle": (0.0, 0.56), "horse": (-0.1, 0.6), "boat": (-0.28, 0.24)}[what.object]
    lowest = complex(x, top + rng.uniform(0.16, 0.22))
    pose.hip, pose.lean = lowest + 0.31j, 0.15
    pose.near_foot, pose.far_foot = lowest + 0.12, lowest - 0.2 + 0.1j
    pose.near_hand, pose.far_hand = -0.2 + 0.24j, 0.22 + 0.22j
    draft.props.append((BEHIND, _speed_lines(lowest - 0.02j, -0.7j, 0.1 + 0j, draft.ink)))
    draft.add(what, glyph, BEHIND)


def _hold(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose, name = draft.pose, what.object
    layer = IN_HAND
    if name == "umbrella":
        pose.near_hand = 0.17 - 0.04j
        glyph = glyph.moved(1 + 0.12j).placed("grip", _near_hand(pose))
    elif name in ("bottle", "sports ball", "kite"):
        pose.near_hand = complex(0.27, rng.uniform(-0.16, -0.06))
        offset = {"bottle": 0.03, "sports ball": 0.02 - 0.01j, "kite": 0.06}[name]
        anchor = {"bottle": "grip", "sports ball": "bottom", "kite": "edge"}[name]
        glyph = glyph.placed(anchor, _near_hand(pose) + offset)
    elif name == "chair":
        pose.near_hand, pose.far_hand = 0.28 - 0.14j, 0.31 - 0.12j
        glyph = glyph.placed("under", _near_hand(pose) + 0.06)
    elif name == "backpack":
        pose.near_hand = 0.2 - 0.25j
        glyph = glyph.placed("loop", _near_hand(pose))
    else:
        pose.near_hand = 0.22 - 0.25j
        hand = _near_hand(pose)
        glyph = glyph.moved(1, hand.real - glyph.anchors["saddle"].real)
        pose.grasp(glyph.anchors["saddle"] + 0.03j)
        pose.gaze, layer = 0.25, MIDDLE
    draft.add(what, glyph, layer)


def _near_hand(pose: Pose) -> Point:
    return pose.shoulder + pose.near_hand


def _carry(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose = draft.pose
    if what.object == "backpack":
        up = (pose.shoulder - pose.hip) / abs(pose.shoulder - pose.hip)
        glyph = glyph.moved(complex(1, -pose.lean)).placed("middle", pose.shoulder + (0.22j - 0.13) * up)
        draft.props.append(
            (IN_HAND, stroke((pose.shoulder - 0.06 + 0.05j, pose.shoulder + 0.05 - 0.14j), 0.04, draft.ink))
        )
        draft.add(what, glyph, MIDDLE)
        return
    _walk(pose, rng)
    top = pose.head + complex(0, 0.11)
    glyph = glyph.moved(1, top)
    pose.grasp(top - 0.13 + 0.03j)
    pose.grasp(top + 0.15 + 0.03j, near=False)
    draft.add(what, glyph, MIDDLE)


def _push(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose = draft.pose
    pose.hip, pose.lean = -0.1 + 0.44j, rng.uniform(0.55, 0.65)
    pose.near_foot, pose.far_foot = -0.02 + 0j, -0.36 + 0.03j
    glyph = glyph.moved(1, 0.33 - glyph.anchors["saddle"].real)
    pose.grasp(glyph.anchors["saddle"] + 0.02j)
    pose.grasp(glyph.anchors["saddle"] + 0.05 + 0.02j, near=False)
    draft.add(what, glyph, MIDDLE)


def _fly(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose = draft.pose
    glyph = glyph.moved(1, complex(rng.uniform(0.4, 0.85), rng.uniform(1.1, 1.4)))
    pose.near_hand = 0.22 + 0.16j
    pose.look_at(glyph.anchors["middle"])
    draft.props.append((FAR, stroke((_near_hand(pose), glyph.anchors["cross"]), 0.018, draft.ink)))
    draft.add(what, glyph, MIDDLE)


def _pull(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose = draft.pose
    _walk(pose, rng)
    pose.lean, pose.hip = rng.uniform(0.3, 0.4), 0.05 + 0.45j
    pose.near_hand, pose.far_hand = -0.24 - 0.2j, 0.12 - 0.28j
    glyph = glyph.moved(1 + 0.5j).moved(1, complex(rng.uniform(-0.95, -0.7), rng.uniform(0.5, 0.7)))
    draft.props.append((IN_HAND, stroke((_near_hand(pose), glyph.anchors["cross"]), 0.022, draft.ink)))
    draft.add(what, glyph, MIDDLE)


def _lead(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose = draft.pose
    _walk(pose, rng)
    distance = rng.uniform(0.72, 0.95) if what.object == "dog" else rng.uniform(0.85, 1.0)
    glyph = glyph.moved(1, distance)
    pose.far_hand = 0.24 - 0.16j
    target = glyph.anchors["collar"] if what.object == "dog" else glyph.anchors["reins"] - 0.04 - 0.08j
    draft.props.append((IN_HAND, stroke((pose.shoulder + pose.far_hand, target), 0.024, draft.ink)))
    draft.add(what, glyph, MIDDLE)


def run(pose: Pose) -> None:
    """A running stride: one leg thrown back, arms swinging."""
    pose.hip, pose.lean = 0.46j, 0.32
    pose.near_foot, pose.far_foot = -0.32 + 0.2j, 0.24 + 0.05j
    pose.near_hand, pose.far_hand = 0.24 - 0.06j, -0.2 - 0.14j


def _chase(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    run(draft.pose)
    glyph = glyph.moved(1, rng.uniform(0.8, 1.05))
    draft.pose.gaze = -0.3
    draft.props.append((BEHIND, _speed_lines(-0.28 + 0.62j, -1 + 0j, 0.1j, draft.ink)))
    draft.add(what, glyph, MIDDLE)


def _inspect(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose, name = draft.pose, what.object
    held = ("hold", name) in [(verb, draft.objects[row][0]) for verb, row in draft.relations]
    if held:
        row = next(row for verb, row in draft.relations if verb == "hold")
        target = draft.objects[row][1].anchors["middle"]
        draft.relations.append((what.verb, row))
    else:
        half = {"bicycle": 0.48, "dog": 0.3, "boat": 0.62, "bench": 0.46, "backpack": 0.16}.get(name, 0.15)
        pose.lean = rng.uniform(0.15, 0.3)
        glyph = glyph.moved(1, rng.uniform(0.3, 0.55) + half, mirrored=rng.random() < 0.5)
        target = glyph.anchors["middle"]
        draft.add(what, glyph, MIDDLE)
    pose.look_at(target)
    if held:  # the hand at the brow must be the visible one
        pose.far_hand = pose.near_hand
    pose.grasp(pose.head + 0.09 + 0.06j)
    draft.gaze_target = target
    start = pose.eye + 0.06 * (target - pose.eye) / abs(target - pose.eye)
    draft.props.append((FRONT, dotted(start, target, 0.075, 0.018, draft.gaze_ink)))


def _kick(draft: Draft, what: Interaction, glyph: Glyph, rng: Random) -> None:
    pose = draft.pose
    pose.lean = -0.12
    pose.near_foot, pose.far_foot = complex(0.33, rng.uniform(0.1, 0.2)), -0.04 + 0j
    pose.near_hand, pose.far_hand = -0.26 - 0.1j, 0.24 - 0.06j
    glyph = glyph.placed("left", pose.near_foot + 0.08 + 0.06j)
    draft.props.append((BEHIND, _speed_lines(glyph.anchors["middle"] + 0.19 + 0.02j, 0.8 + 0.1j, 0.08j, draft.ink)))
    draft.add(what, glyph, BODY)


ACTIONS: dict[str, Callable[[Draft, Interaction, Glyph, Random], None]] = {
    "ride": _ride,
    "sit_on": _sit_on,
    "stand_on": _stand_on,
    "jump": _jump,
    "hold": _hold,
    "carry": _carry,
    "push": _push,
    "fly": _fly,
    "pull": _pull,
    "walk": _lead,
    "chase": _chase,
    "inspect": _inspect,
    "kick": _kick,
}

# What can be added to an action that leaves an arm or the back free.
_FREE_ARM = {"sit_on", "stand_on", "walk"}
_FREE_BACK = {"ride", "push", "walk", "chase", "kick", "stand_on", "fly", "inspect"}


def compatible(first: Interaction, second: Interaction) -> bool:
    """Whether one person can do both at once; `second` is then what is held or worn."""
    if second == Interaction("carry", "backpack"):
        held = first.verb == "hold" and first.object in ("umbrella", "bottle", "kite", "sports ball")
        return (first.verb in _FREE_BACK or held) and first.object != "backpack"
    one_handed = second in (Interaction("hold", "umbrella"), Interaction("hold", "bottle"))
    return one_handed and (first.verb in _FREE_ARM or first == Interaction("ride", "horse"))


def perform(draft: Draft, what: Interaction, palette: Palette, rng: Random) -> None:
    """Adds an interaction to a draft, in the order base action, then what is held or worn."""
    glyph = GLYPHS[what.object](palette)
    if what == Interaction("chase", "dog"):
        glyph = dog(palette, stride=0.11)
    elif what == Interaction("walk", "horse") or (what == Interaction("ride", "horse") and rng.random() < 0.5):
        glyph = horse(palette, stride=0.11)
    if what.object in ("dog", "kite", "sports ball", "bottle", "umbrella", "backpack"):
        glyph = glyph.moved(rng.uniform(0.92, 1.15))
    ACTIONS[what.verb](draft, what, glyph, rng)


def idle(draft: Draft, rng: Random) -> str:
    """A person that does nothing with any object: stands, walks, runs, waves or hops; returns which."""
    pose = draft.pose
    kind = rng.choice(("stand", "stand", "walk", "walk", "run", "wave", "hop"))
    pose.gaze = rng.uniform(-0.25, 0.45)
    if kind == "walk":
        _walk(pose, rng)
        pose.near_hand, pose.far_hand = -0.12 - 0.28j, 0.18 - 0.26j
    elif kind == "run":
        run(pose)
        draft.props.append((BEHIND, _speed_lines(-0.28 + 0.62j, -1 + 0j, 0.1j, draft.ink)))
    elif kind == "wave":
        pose.near_hand = complex(rng.uniform(0.1, 0.2), 0.27)
    elif kind == "hop":
        pose.hip, pose.lean = 0.62j, 0.15
        pose.near_foot, pose.far_foot = 0.12 + 0.31j, -0.2 + 0.41j
        pose.near_hand, pose.far_hand = -0.2 + 0.24j, 0.22 + 0.22j
        draft.props.append((BEHIND, _speed_lines(0.28j, -0.7j, 0.1 + 0j, draft.ink)))
    return kind
