"""Triplets of many shapes, and rules that every layout of them keeps."""

import dataclasses

import torch

from rlipv2.structures import LabelSpace, Triplets
from rlipv2.visualize.labels import Label
from rlipv2.visualize.layout import Layout
from rlipv2.visualize.legend import legend_lines

SPACE = LabelSpace(objects=("person", "horse", "bottle"), relations=("ride", "hold", "no interaction"))
A, B, NONE = (10, 10, 50, 100), (60, 20, 140, 110), (0, 0, 0, 0)


def triplets(rows, scores=None, *, space=SPACE, subject=0, target=1):
    """Rows (subject box, object box, relation); persons and horses unless told."""
    n = len(rows)
    return Triplets(
        subject_boxes=torch.tensor([row[0] for row in rows], dtype=torch.float32).reshape(-1, 4),
        object_boxes=torch.tensor([row[1] for row in rows], dtype=torch.float32).reshape(-1, 4),
        subject_labels=torch.full((n,), subject, dtype=torch.int64),
        object_labels=torch.full((n,), target, dtype=torch.int64),
        relation_labels=torch.tensor([row[2] for row in rows], dtype=torch.int64),
        scores=torch.tensor(scores if scores is not None else [0.5] * n),
        label_space=space,
    )


def joined(parts):
    """All triplets of several, which share a label space."""
    tensors = [field.name for field in dataclasses.fields(Triplets) if field.name not in ("label_space", "image_size")]
    values = {name: torch.cat([getattr(part, name) for part in parts]) for name in tensors}
    return dataclasses.replace(parts[0], **values)


def random_triplets(n, size=(150, 150), *, things=None, seed=0, names=SPACE):
    """Triplets with boxes in a picture of (width, height); between a few things only, if asked."""
    generator = torch.Generator().manual_seed(seed)
    things = things or 2 * n
    corners = torch.rand(things, 2, 2, generator=generator) * torch.tensor(size)
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    labels = torch.arange(things) % len(names.objects)
    subjects = torch.randint(max(things, 1), (n,), generator=generator)
    targets = (subjects + 1 + torch.randint(max(things - 1, 1), (n,), generator=generator)) % max(things, 1)
    return Triplets(
        subject_boxes=boxes[subjects],
        object_boxes=boxes[targets],
        subject_labels=labels[subjects],
        object_labels=labels[targets],
        relation_labels=torch.arange(n) % len(names.relations),
        scores=torch.linspace(0.9, 0.1, n),
        label_space=names,
    )


def check_labels(labels: list[Label], frame: tuple[int, int]) -> None:
    """All labels lie in the frame, and none of them touches another."""
    for number, label in enumerate(labels):
        x1, y1, x2, y2 = label.place
        assert 0 <= x1 < x2 <= frame[0]
        assert 0 <= y1 < y2 <= frame[1]
        for other in labels[:number]:
            assert x2 <= other.place[0] or other.place[2] <= x1 or y2 <= other.place[1] or other.place[3] <= y1


def check_complete(layout: Layout, count: int) -> None:
    """Every name and every triplet is in the picture or in the list, and each key leads to one line."""
    lines = legend_lines(layout)
    shown = {
        row
        for link, label in zip(layout.scene.links, layout.words, strict=True)
        if label is not None and label.complete
        for relation in link.relations
        for row in relation.rows
    }
    listed = {row for line in lines for row in line.rows}
    assert shown | listed == set(range(count))
    texts = {word.text for line in lines for word in line.words}
    for entity, label in zip(layout.scene.entities, layout.names, strict=True):
        in_picture = label is not None and "".join(text for text, _ in label.lines).replace(" ", "")
        assert in_picture == entity.name.replace(" ", "") or entity.name in texts
    keys = [label.key for label in layout.labels if label.key is not None]
    assert sorted(keys) == sorted(line.key for line in lines if line.key is not None)
    assert len(set(keys)) == len(keys)
