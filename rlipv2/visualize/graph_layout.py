"""Where the nodes and arrows of a scene graph go.

Nodes lie so that their distances are near to the numbers of links between them: stress majorisation (Gansner, Koren,
North 2004), the method behind Kamada-Kawai layouts, in some lines of NumPy, so that no graph package is needed.
"""

import math
from collections import Counter

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from rlipv2.visualize.arrows import Curve, bent, center, loop
from rlipv2.visualize.canvas import Rectangle
from rlipv2.visualize.colours import ink_on
from rlipv2.visualize.fonts import wrapped
from rlipv2.visualize.labels import Label, Setting, label_size, place_words, touch
from rlipv2.visualize.layout import Layout
from rlipv2.visualize.placing import Places
from rlipv2.visualize.scene import Scene

_SIZES = (18, 16, 14, 12, 11, 10, 9)  # of the text, tried in turn until all labels find a place
_ROUNDS = 200
_STEP = 13.0  # longest distance of linked nodes, in parts of the size of the text
_BENDS = (0.0, 0.6, -0.6, 1.2, -1.2, 1.8, -1.8)  # tried in turn to lead an arrow around other nodes


def graph_layout(scene: Scene, frame: tuple[int, int], *, show_scores: bool = True) -> Layout:
    """The layout of a scene graph in a frame of (width, height) pixels, with the largest text that fits."""
    spread = _spread(scene)
    layouts = []
    for size in _SIZES:
        if size > min(frame) / 8 and size != _SIZES[-1]:
            continue
        setting = Setting(Places(frame, gap=0.25 * size), size, max(1.5, size / 9), show_scores)
        layouts.append(_layout(scene, frame, setting, spread))
        if not layouts[-1].lost:
            break
    return min(layouts, key=lambda layout: layout.lost)


def _layout(scene: Scene, frame: tuple[int, int], setting: Setting, spread: np.ndarray) -> Layout:
    size = setting.size
    texts = [wrapped(entity.name, size, 0.4 * frame[0], lines=2, bold=True) for entity in scene.entities]
    sizes = np.array([label_size(lines, size, bold=True) for lines in texts]).reshape(-1, 2)
    centers = _apart(_scaled(spread, sizes, frame, size), sizes, frame, size)
    boxes = tuple(_box(*row) for row in np.hstack([centers, sizes]).tolist())
    names = _nodes(scene, boxes, texts, setting)
    curves = _curves(scene, boxes, frame, size)
    for row, path in enumerate(curves):
        if path is not None:
            setting.places.avoid_points([path.stop], 4.0)
            setting.places.avoid_points([path.at(k / 16) for k in range(1, 16)], 0.3, owner=row)
    words = place_words(scene, boxes, curves, names, setting)
    return Layout(scene, frame, boxes, curves, names, words, size, setting.line)


def _nodes(
    scene: Scene, boxes: tuple[Rectangle, ...], texts: list[list[str]], setting: Setting
) -> tuple[Label | None, ...]:
    """The labels that are the nodes; those that could not be moved off another one get no place."""
    labels: list[Label | None] = []
    for entity, box, lines in zip(scene.entities, boxes, texts, strict=True):
        inside = box[0] >= 0 and box[1] >= 0 and box[2] <= setting.places.frame[0] and box[3] <= setting.places.frame[1]
        if not inside or any(touch(box, other, 0.0) for other in setting.places.taken):
            labels.append(None)
            continue
        setting.places.reserve(box)
        coloured = tuple((line, ink_on(entity.colour)) for line in lines)
        labels.append(Label(box, coloured, setting.size, entity.colour, True, "…" not in lines[-1]))
    return tuple(labels)


def _spread(scene: Scene) -> np.ndarray:
    """Positions "n 2" of the nodes, of any size, the longer side of the whole across."""
    n = len(scene.entities)
    if n < 2:
        return np.zeros((n, 2))
    ends = [(link.subject, link.target) for link in scene.links if link.target not in (None, link.subject)]
    rows, columns = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    links = coo_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    wanted = shortest_path(links.tocsr(), directed=False, unweighted=True)
    finite = np.isfinite(wanted)
    wanted[~finite] = 1.5 + 0.5 * wanted[finite].max()
    angles = 2 * math.pi * np.arange(n) / n
    places = np.stack([np.cos(angles), 0.7 * np.sin(angles)], axis=1) * wanted.max() / 2
    weights = np.where(wanted > 0, 1 / np.maximum(wanted, 1) ** 2, 0.0)
    inverse = np.linalg.pinv(np.diag(weights.sum(1)) - weights)
    for _ in range(_ROUNDS):
        offsets = places[:, None] - places[None]
        distances = np.linalg.norm(offsets, axis=-1)
        ratio = weights * wanted / np.maximum(distances, 1e-6)
        places = inverse @ (np.diag(ratio.sum(1)) - ratio) @ places
    places -= places.mean(0)
    axes = np.linalg.svd(places, full_matrices=False)[2]
    axes *= np.where(axes[np.arange(2), np.abs(axes).argmax(1)] < 0, -1, 1)[:, None]  # the sign of an axis is chance
    return places @ axes.T


def _scaled(spread: np.ndarray, sizes: np.ndarray, frame: tuple[int, int], size: int) -> np.ndarray:
    """The positions in the frame: filled, but for graphs so small that their arrows would get too long."""
    if not len(spread):
        return spread
    turned = spread if frame[0] >= frame[1] else spread[:, ::-1]
    room = np.maximum(np.asarray(frame) - sizes.max(0) - 2 * size, 1.0)
    extent = np.maximum(np.ptp(turned, axis=0), 1e-6)
    scale = np.minimum(room / extent, _STEP * size)
    middle = (turned.max(0) + turned.min(0)) / 2
    return (turned - middle) * scale + np.asarray(frame) / 2


def _apart(centers: np.ndarray, sizes: np.ndarray, frame: tuple[int, int], size: int) -> np.ndarray:
    """The positions with nodes moved until none is on another one, with room for an arrow between them."""
    centers = centers.copy()
    for _ in range(_ROUNDS):
        offsets = centers[:, None] - centers[None]
        wanted = (sizes[:, None] + sizes[None]) / 2 + np.array([1.6, 1.4]) * size
        missing = np.maximum(wanted - np.abs(offsets), 0)
        touching = (missing > 0).all(-1)
        np.fill_diagonal(touching, False)
        if not touching.any():
            break
        # along the axis with less to go; of two nodes in one place the first goes up
        order = np.sign(np.arange(len(centers))[:, None] - np.arange(len(centers))[None])
        signs = np.where(offsets == 0, order[..., None], np.sign(offsets))
        upright = missing[..., 1] <= missing[..., 0]
        moves = np.stack([missing[..., 0] * ~upright, missing[..., 1] * upright], -1) * signs * touching[..., None]
        centers += 0.35 * moves.sum(1)
        centers = np.clip(centers, sizes / 2 + 2, np.maximum(np.asarray(frame) - sizes / 2 - 2, sizes / 2 + 2))
    return centers


def _box(x: float, y: float, width: float, height: float) -> Rectangle:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _curves(scene: Scene, boxes: tuple[Rectangle, ...], frame: tuple[int, int], size: int) -> tuple[Curve | None, ...]:
    """An arrow per link, from edge to edge of its nodes and around others; there and back bend apart."""
    both = Counter(frozenset((link.subject, link.target)) for link in scene.links)
    curves: list[Curve | None] = []
    for link in scene.links:
        if link.target is None:
            curves.append(None)
            continue
        subject, target = boxes[link.subject], boxes[link.target]
        if link.subject == link.target:
            curves.append(loop(subject, frame, 1.6 * size, 0))
            continue
        others = [box for row, box in enumerate(boxes) if row not in (link.subject, link.target)]
        # the left side of the way there is not that of the way back: one sign keeps them apart
        bends = (
            [abs(bend) + 0.5 for bend in _BENDS[::2]] if both[frozenset((link.subject, link.target))] > 1 else _BENDS
        )
        options = [
            _trimmed(bent(center(subject), center(target), bend, frame), subject, target, size) for bend in bends
        ]
        curves.append(min(options, key=lambda path: _hits(path, others, 0.3 * size)))
    return tuple(curves)


def _hits(path: Curve, boxes: list[Rectangle], gap: float) -> int:
    """How many points of a curve lie on nodes."""
    points = [path.at(k / 20) for k in range(21)]
    return sum(touch(box, (*point, *point), gap) for box in boxes for point in points)


def _trimmed(path: Curve, subject: Rectangle, target: Rectangle, size: int) -> Curve:
    """The part of a curve between two nodes."""
    steps = [k / 60 for k in range(61)]
    gap = 0.2 * size
    first = next((t for t in steps if not touch(subject, (*path.at(t), *path.at(t)), gap)), 0.4)
    last = next((t for t in reversed(steps) if not touch(target, (*path.at(t), *path.at(t)), gap)), 0.6)
    return path.part(first, max(last, first + 0.05))
