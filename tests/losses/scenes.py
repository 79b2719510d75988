"""Outputs and targets for the tests of the losses."""

import torch

from rlipv2.structures import RelationOutput, RelationTarget

LEFT, RIGHT, TOP = [0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0], [0.5, 0.25, 1.0, 0.5]
WHOLE, NOTHING = [0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]


def by_hand() -> tuple[RelationOutput, list[RelationTarget]]:
    """Three queries, two targets (the second without object and relation), two objects, two relations."""
    output = RelationOutput(
        object_logits=torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]).log()[None, None],
        subject_logits=torch.tensor([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]).log()[None, None],
        relation_logits=torch.tensor([[0.8, 0.4], [0.5, 0.5], [0.1, 0.9]]).logit()[None, None],
        subject_boxes=torch.tensor([LEFT, RIGHT, TOP])[None, None],
        object_boxes=torch.tensor([RIGHT, LEFT, WHOLE])[None, None],
    )
    target = RelationTarget(
        subject_boxes=torch.tensor([LEFT, TOP]),
        object_boxes=torch.tensor([RIGHT, NOTHING]),
        subject_labels=torch.tensor([1, 0]),
        object_labels=torch.tensor([0, 1]),
        relations=torch.tensor([[1.0, 0.0], [0.0, 0.0]]),
    )
    return output, [target]


def random_boxes(*shape: int) -> torch.Tensor:
    return torch.cat([torch.rand(*shape, 2) * 0.6 + 0.2, torch.rand(*shape, 2) * 0.3 + 0.05], dim=-1)


def random_output(*, layers: int = 3, images: int = 2, queries: int = 8, objects: int = 5, relations: int = 4):
    shape = (layers, images, queries)
    return RelationOutput(
        object_logits=torch.randn(*shape, objects + 1),
        subject_logits=torch.randn(*shape, objects + 1),
        relation_logits=torch.randn(*shape, relations),
        subject_boxes=random_boxes(*shape),
        object_boxes=random_boxes(*shape),
        relation_text=torch.randn(relations, 16),
    )


def random_targets(*sizes: int, objects: int = 5, relations: int = 4) -> list[RelationTarget]:
    return [
        RelationTarget(
            subject_boxes=random_boxes(size),
            object_boxes=random_boxes(size),
            subject_labels=torch.randint(objects, (size,)),
            object_labels=torch.randint(objects, (size,)),
            relations=(torch.rand(size, relations) < 0.4).float(),
        )
        for size in sizes
    ]


def select(target: RelationTarget, rows: torch.Tensor) -> RelationTarget:
    return RelationTarget(*(getattr(target, name)[rows] for name in target.__dataclass_fields__))


def one_image(output: RelationOutput, image: int) -> RelationOutput:
    names = ("object_logits", "subject_logits", "relation_logits", "subject_boxes", "object_boxes")
    return RelationOutput(**{name: getattr(output, name)[:, image : image + 1] for name in names})
