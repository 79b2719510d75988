"""Scenes to pixels: backgrounds, clutter, anti-aliased drawing, and the boxes of what can be seen."""

import math
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from rlipv2.microworld.colours import pick_colour
from rlipv2.microworld.groups import NOBODY
from rlipv2.microworld.scene import Scene
from rlipv2.microworld.shapes import Colour, Shape, shade, stroke

_SCALE = 2  # supersampling


@dataclass(frozen=True)
class Picture:
    """A drawn scene.

    Attributes:
        image: RGB.
        names: category of each entity that can be seen.
        boxes: x1 y1 x2 y2 in whole pixels, tight around what can be seen.
        relations: (subject row, object row, verb).
        activities: per entity, what a person without planned interactions does ("stand", "walk", ...), else "".
    """

    image: Image.Image
    names: tuple[str, ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    relations: tuple[tuple[int, int, str], ...]
    activities: tuple[str, ...]


def render(scene: Scene, key: str) -> Picture | None:
    """Draws a scene, or gives None where an entity of it is hidden too much; the same key gives the same pixels."""
    rng = Random(f"{key}/render")
    image = _background(scene, rng).resize((scene.width * _SCALE, scene.height * _SCALE), Image.Resampling.NEAREST)
    owners = Image.new("L", image.size, 0)
    canvas, mask = ImageDraw.Draw(image, "RGBA"), ImageDraw.Draw(owners)
    for shape, alpha in _clutter(scene, rng):
        _draw(canvas, shape, scene.height, (*shape.colour, alpha))
    rows = {
        (g, r): k
        for k, (g, r) in enumerate((g, r) for g, group in enumerate(scene.groups) for r in range(len(group.names)))
    }
    for g, group in enumerate(scene.groups):
        for owner, shape in group.drawing:
            _draw(canvas, shape, scene.height, (*shape.colour, 255))
            if owner != NOBODY:
                _draw(mask, shape, scene.height, rows[g, owner] + 1)
    for shape, alpha in _occluder(scene, rng):
        _draw(canvas, shape, scene.height, (*shape.colour, alpha))
        _draw(mask, shape, scene.height, 0)
    boxes = _visible_boxes(scene, np.asarray(owners))
    if boxes is None:
        return None
    return Picture(
        image=image.reduce(_SCALE),
        names=tuple(name for group in scene.groups for name in group.names),
        boxes=boxes,
        relations=tuple((rows[subject], rows[target], verb) for subject, target, verb in scene.relations),
        activities=tuple(group.idle if row == 0 else "" for group in scene.groups for row, _ in enumerate(group.names)),
    )


def _draw(canvas: ImageDraw.ImageDraw, shape: Shape, height: int, fill: int | tuple[int, int, int, int]) -> None:
    points = [(_SCALE * p.real, _SCALE * (height - p.imag)) for p in shape.points]
    if not shape.radius:
        canvas.polygon(points, fill=fill)
        return
    (x, y), radius = points[0], _SCALE * shape.radius
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape.width:
        canvas.ellipse(box, outline=fill, width=max(1, round(_SCALE * shape.width)))
    else:
        canvas.ellipse(box, fill=fill)


def _visible_boxes(scene: Scene, owners: np.ndarray) -> tuple[tuple[int, int, int, int], ...] | None:
    """Tight boxes from the map of owners; None where occlusion took too much of a side of an entity."""
    boxes, value = [], 0
    for group in scene.groups:
        for x1, y1, x2, y2 in group.boxes:
            value += 1
            # Only the part that the entity can cover is searched.
            left, top = max(0, int(x1) - 1), max(0, int(scene.height - y2) - 1)
            part = owners[
                _SCALE * top : math.ceil(_SCALE * (scene.height - y1 + 1)), _SCALE * left : math.ceil(_SCALE * (x2 + 1))
            ]
            seen = part == value
            columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
            if not len(columns):
                return None
            box = (
                left + int(columns[0]) // _SCALE,
                top + int(rows[0]) // _SCALE,
                min(scene.width, left + int(columns[-1]) // _SCALE + 1),
                min(scene.height, top + int(rows[-1]) // _SCALE + 1),
            )
            if box[2] - box[0] < 0.7 * (x2 - x1) or box[3] - box[1] < 0.7 * (y2 - y1):
                return None
            boxes.append(box)
    return tuple(boxes)


def _background(scene: Scene, rng: Random) -> Image.Image:
    """Gradient, stripes, blotches or a horizon, with a little noise on top."""
    width, height = scene.width, scene.height
    first, second = (np.array(colour, np.float32) for colour in scene.background)
    kind = rng.choice(("gradient", "stripes", "blotches", "horizon", "horizon"))
    angle = rng.uniform(0, math.tau)
    mix: np.ndarray
    x, y = np.meshgrid(np.arange(width, dtype=np.float32) / width, np.arange(height, dtype=np.float32) / height)
    along = (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle)
    if kind == "stripes":
        mix = 0.5 + 0.5 * np.sin(along * rng.uniform(20, 70))
    elif kind == "blotches":
        grain = Image.frombytes("L", (9, 7), rng.randbytes(63)).resize((width, height), Image.Resampling.BICUBIC)
        mix = np.asarray(grain, np.float32) / 255
    elif kind == "horizon":
        ground = min(box[1] for box in scene.groups[0].boxes)  # the farthest group stands below the horizon
        level = 1 - min(0.9, max(0.25, ground / height + rng.uniform(0.02, 0.2)))
        mix = np.where(y < level, 0.25 * y / max(level, 0.1), 0.85 + 0.15 * (y - level))
    else:
        mix = np.clip(along + 0.5, 0, 1)
    pixels = first + mix[..., None] * (second - first)
    noise = np.frombuffer(rng.randbytes(width * height), np.uint8).reshape(height, width, 1).astype(np.float32)
    pixels = pixels + (noise / 255 - 0.5) * rng.choice((0, 6, 12, 20, 30))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _clutter(scene: Scene, rng: Random) -> list[tuple[Shape, int]]:
    """Harmless things that belong to no category, half transparent, behind everything else."""
    shapes: list[tuple[Shape, int]] = []
    for _ in range(rng.choice((0, 1, 2, 3, 5))):
        shapes += _thing(scene, complex(rng.uniform(0, scene.width), rng.uniform(0, scene.height)), rng)
    return shapes


def _thing(scene: Scene, at: complex, rng: Random) -> list[tuple[Shape, int]]:
    colour, size = _muted(scene, rng), min(scene.width, scene.height) * rng.uniform(0.04, 0.1)
    kind = rng.choice(("tuft", "cloud", "post", "cross", "crate"))
    if kind == "tuft":
        blades = [
            stroke((at + dx * size, at + complex(1.6 * dx, 0.9) * size), 0.1 * size, colour)
            for dx in (-0.4, -0.1, 0.2, 0.5)
        ]
        shapes = [shape for blade in blades for shape in blade]
    elif kind == "cloud":
        shapes = [
            Shape((at + dx * size,), colour, r * size) for dx, r in ((-0.8, 0.4), (-0.2, 0.6), (0.4, 0.5), (0.9, 0.35))
        ]
    elif kind == "post":
        shapes = stroke((at, at + 3j * size), 0.25 * size, colour)
    elif kind == "cross":
        shapes = stroke((at - size, at + size), 0.2 * size, colour) + stroke(
            (at - 1j * size, at + 1j * size), 0.2 * size, colour
        )
    else:
        corners = tuple(at + size * p for p in (-0.8 - 0.6j, 0.8 - 0.6j, 0.8 + 0.6j, -0.8 + 0.6j))
        shapes = [Shape(corners, colour), *stroke((corners[0], corners[2]), 0.1 * size, shade(colour, 0.8))]
    return [(shape, 150) for shape in shapes]


def _occluder(scene: Scene, rng: Random) -> list[tuple[Shape, int]]:
    """Sometimes a bush in front of the lower part of somebody or something."""
    if rng.random() > 0.25:
        return []
    x1, y1, x2, _ = rng.choice(rng.choice(scene.groups).boxes)
    colour, size = _muted(scene, rng), 0.06 * min(scene.width, scene.height)
    at = complex(rng.uniform(x1, x2), y1 - 0.2 * size)
    leaves = ((-1.1, 0.5), (-0.5, 0.8), (0.1, 1.0), (0.7, 0.75), (1.2, 0.5))
    return [
        (Shape((at + dx * size,), shade(colour, 0.9 + 0.1 * (k % 2)), r * size), 255)
        for k, (dx, r) in enumerate(leaves)
    ]


def _muted(scene: Scene, rng: Random) -> Colour:
    base, other = scene.background[rng.randrange(2)], pick_colour(rng, (0.1, 0.5), (0.3, 0.8))
    red, green, blue = ((a + b) // 2 for a, b in zip(base, other, strict=True))
    return red, green, blue
