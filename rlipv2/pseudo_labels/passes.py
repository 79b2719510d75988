"""Calls of the Relation Tagger for pseudo-labelling: as officially, and each image encoded once for all its groups."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from rlipv2.models.tagger import RelationTagger
from rlipv2.models.text_features import TextFeatureCache
from rlipv2.pseudo_labels.records import Group, Tags
from rlipv2.structures import LabelSpace, RelationTarget


@dataclass(frozen=True)
class TaggingInput:
    """An image and what is asked about it.

    Attributes:
        image: after the evaluation transform, 0-255.
        boxes_cxcywh: kept boxes (see `kept_boxes`), 0-1 of the image.
        labels: row of the class names for each box.
        groups: candidates; their pairs are rows of the boxes.
    """

    image: UInt8[Tensor, "3 h w"]
    boxes_cxcywh: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    groups: list[Group]


@dataclass(frozen=True)
class Question:
    """A chunk of the groups of an image: every text is asked about every pair.

    Attributes:
        place: of the image in the list that is tagged.
        source: the image.
        groups: of the chunk.
        texts: of the chunk.
    """

    place: int
    source: TaggingInput
    groups: tuple[Group, ...]
    texts: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Height and width of the image, groups, pairs of the largest group: what alike questions have in common."""
        height, width = self.source.image.shape[1:]
        return height, width, len(self.groups), max(len(group.pairs) for group in self.groups)


def official_scores(tagger: RelationTagger, question: Question, class_names: Sequence[str]) -> Float[Tensor, "g q r"]:
    """Probability of every text for every slot of every group: image and texts go through the network for each group.

    All slots of the tagger are decoded, unused ones hidden from the others; those mean nothing. Official:
    generate_relations_using_verb_tagger.py.
    """
    names = (*class_names, LabelSpace.NO_OBJECT)
    texts = tagger.text_features(tagger.text_encoder.encode((*names, *question.texts)), len(names))
    device = texts.pooled.device
    images = question.source.image.to(device).expand(len(question.groups), -1, -1, -1)
    mask = torch.zeros(len(images), *images.shape[-2:], dtype=torch.bool, device=device)
    queries = tagger.queries
    keep_empty, queries.keep_empty = queries.keep_empty, True
    try:
        output = tagger(images, mask, texts, targets_of([question], len(question.groups), device))
    finally:
        queries.keep_empty = keep_empty
    scores: Tensor = output.relation_logits[-1].sigmoid()
    return scores


def fast_scores(
    tagger: RelationTagger,
    questions: Sequence[Question],
    class_names: Sequence[str],
    texts: TextFeatureCache,
    *,
    encode_dtype: torch.dtype | None = None,
) -> Float[Tensor, "b g q r"]:
    """The same scores for several images of one size: each goes through backbone and encoder once.

    Groups, slots and texts that an image has fewer of than another are filled up, hidden from the rest, and mean
    nothing. Images of different sizes cannot share a call without changing scores: the networks' normalisation (and,
    as published, their fusion) reads padding too.

    Args:
        tagger: the network.
        questions: on images of the same size.
        class_names: of the labels.
        texts: encodes each string once.
        encode_dtype: precision of backbone and encoder; None as the surroundings are.
    """
    names = (*class_names, LabelSpace.NO_OBJECT)
    pooled, absent = texts.padded([(*names, *question.texts) for question in questions])
    device = pooled.device
    images = torch.stack([question.source.image for question in questions]).to(device, non_blocking=True)
    mask = torch.zeros(len(images), *images.shape[-2:], dtype=torch.bool, device=device)
    groups = max(len(question.groups) for question in questions)
    targets = targets_of(questions, groups, device)
    precision = nullcontext() if encode_dtype is None else torch.autocast(device.type, dtype=encode_dtype)
    with precision:
        encoded = tagger.encode(images, mask, pooled, len(names), absent_texts=absent)
    if encode_dtype is not None:
        encoded = replace(encoded, memory=encoded.memory.float(), texts=encoded.texts.float())
    logits = tagger.relation_logits(encoded, targets)
    return logits.sigmoid().unflatten(0, (len(questions), groups))


def targets_of(questions: Sequence[Question], groups: int, device: torch.device) -> list[RelationTarget]:
    """Boxes and labels of the pairs of `groups` groups of each question, empty ones at the end where it has fewer."""
    boxes, labels, counts = [], [], []
    for question in questions:
        pairs = torch.from_numpy(np.concatenate([group.pairs for group in question.groups])).T
        boxes.append(question.source.boxes_cxcywh[pairs])
        labels.append(question.source.labels[pairs])
        counts += [len(group.pairs) for group in question.groups] + [0] * (groups - len(question.groups))
    all_boxes, all_labels = torch.cat(boxes, 1).to(device), torch.cat(labels, 1).to(device)  # one transfer each
    return [
        RelationTarget(
            subject_boxes=both_boxes[0],
            object_boxes=both_boxes[1],
            subject_labels=both_labels[0],
            object_labels=both_labels[1],
            relations=both_boxes.new_zeros(both_boxes.shape[1], 0),
        )
        for both_boxes, both_labels in zip(all_boxes.split(counts, 1), all_labels.split(counts, 1), strict=True)
    ]


def kept_relations(
    scores: Float[Tensor, "b g q r"], questions: Sequence[Question], threshold: float, *, own_texts: bool = False
) -> tuple[list[Tags], int]:
    """What `emit` gives for each question, found on the device of the scores; and how many scores are no number."""
    valid = _valid(scores, questions, own_texts)
    kept = (scores > threshold) & valid
    where = kept.flatten().nonzero()[:, 0]
    # One transfer: positions and float32 scores are exact in float64.
    invalid = (scores.isnan() & valid).sum()[None]
    packed = torch.cat([invalid.double(), where.double(), scores.flatten()[where].double()]).cpu().numpy()
    count = (len(packed) - 1) // 2
    images, groups, slots, columns = np.unravel_index(packed[1 : count + 1].astype(np.int64), tuple(scores.shape))
    values = packed[count + 1 :].astype(np.float32)
    tags = []
    for row, question in enumerate(questions):
        mine = slice(*np.searchsorted(images, [row, row + 1]))
        offsets = np.cumsum([0, *(len(group.pairs) for group in question.groups)])
        pairs = np.concatenate([group.pairs for group in question.groups])
        texts = tuple(question.texts[column] for column in columns[mine].tolist())
        tags.append(Tags(pairs[offsets[groups[mine]] + slots[mine]], texts, values[mine]))
    return tags, int(packed[0])


def _valid(scores: Tensor, questions: Sequence[Question], own_texts: bool) -> Bool[Tensor, "b g q r"]:
    """True where a slot holds a pair and a column a text of the chunk (`own_texts`: of the pair's group)."""
    batch, groups, slots, columns = scores.shape
    pairs = np.zeros((batch, groups), np.int64)
    texts = np.zeros((batch, groups, columns), bool)
    for row, question in enumerate(questions):
        pairs[row, : len(question.groups)] = [len(group.pairs) for group in question.groups]
        for number, group in enumerate(question.groups):
            members = set(group.texts) if own_texts else None
            texts[row, number, : len(question.texts)] = [members is None or text in members for text in question.texts]
    counts, named = torch.from_numpy(pairs).to(scores.device), torch.from_numpy(texts).to(scores.device)
    used = torch.arange(slots, device=scores.device) < counts[..., None]
    return used[..., None] & named[:, :, None]
