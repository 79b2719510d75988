"""Groups of candidate pairs -> scored relations, by the Relation Tagger."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import numpy as np
import torch

from rlipv2.models.tagger import RelationTagger
from rlipv2.models.text_features import TextFeatureCache
from rlipv2.pseudo_labels.chunks import chunks, emit, joined
from rlipv2.pseudo_labels.passes import Question, TaggingInput, fast_scores, kept_relations, official_scores
from rlipv2.pseudo_labels.records import Group, Tags

__all__ = ["TagFailure", "TaggingInput", "tag_images"]

OutOfRange = Literal["drop_pair", "drop_image"]


@dataclass(frozen=True)
class TagFailure:
    """Why an image has no relations: a few words that failures are counted by, and the whole message."""

    kind: str
    message: str


@torch.no_grad()
def tag_images(
    tagger: RelationTagger,
    images: Sequence[TaggingInput],
    class_names: Sequence[str],
    *,
    mode: Literal["parity", "fast"] = "fast",
    store_threshold: float = 0.05,
    groups_per_pass: int = 16,
    images_per_pass: int = 8,
    texts: TextFeatureCache | None = None,
    own_texts: bool = False,
    out_of_range: OutOfRange | None = None,
    encode_dtype: torch.dtype | None = None,
    counts: Counter[str] | None = None,
) -> list[Tags | TagFailure]:
    """The relations of each image that score above a threshold, by group, pair and text.

    A score is the probability (sigmoid of the last layer's logit) of a text for a pair, not multiplied with anything.
    Both modes give the same scores up to rounding (1e-4 in float32). `parity` is the official procedure: chunk by
    chunk, label texts are encoded anew and the image goes through the whole network once for each group. `fast` encodes
    each text once, an image once per chunk, several images of the same size together, and leaves out images without
    candidates. RLIPv2 (ICCV 2023), section 3.3. Official: generate_relations_using_verb_tagger.py.

    If the GPU's memory does not suffice, images are tried one by one, then with half of the groups of a chunk at once
    (with all its texts: the scores stay the same); if that does not help the image fails.

    Args:
        tagger: in evaluation mode.
        images: with their candidates.
        class_names: what the labels of the boxes count in, in the order of the dataset.
        mode: see above.
        store_threshold: what a score must exceed.
        groups_per_pass: groups of a chunk, whose texts are asked about together. Scores depend on it, as texts see
            each other. Official `img_inference_batch`: 16 with ResNet-50, 8 with Swin-T, 4 with Swin-L.
        images_per_pass: most images that are encoded together (`fast`).
        texts: features of texts that earlier calls encoded (`fast`).
        own_texts: ask about a pair only the texts of its own group; officially those of the whole chunk.
        out_of_range: what is left out where a candidate pair has a box that the image does not have: `drop_pair`
            (default of `fast`) or `drop_image` (default of `parity`; official for Objects365).
        encode_dtype: precision of backbone and encoder, such as `torch.bfloat16` (`fast`); scores change by up to 2e-2.
        counts: is added to: scores that are no number, pairs left out, images without candidates.

    Raises:
        ValueError: a tagger in training mode, an unknown option, labels beyond the class names, or a group of more
            pairs than the tagger takes.
    """
    _check(tagger, images, class_names, mode=mode, encode_dtype=encode_dtype)
    counts = Counter() if counts is None else counts
    results: list[Tags | TagFailure | None] = [None] * len(images)
    questions: list[Question] = []
    for place, image in enumerate(images):
        usable = _usable(image, out_of_range or ("drop_pair" if mode == "fast" else "drop_image"), counts)
        if isinstance(usable, TagFailure):
            results[place] = usable
        else:
            questions += _questions(place, usable, groups_per_pass, keep_empty=mode == "parity")
    counts["images without candidates"] += sum(not any(len(group.pairs) for group in image.groups) for image in images)

    if mode == "parity":

        def ask(batch: Sequence[Question]) -> list[Tags]:
            (question,) = batch
            scores = official_scores(tagger, question, class_names).cpu().numpy()
            return [
                emit(
                    question.groups,
                    question.texts,
                    scores,
                    threshold=store_threshold,
                    own_texts=own_texts,
                    counts=counts,
                )
            ]

        batches: Iterator[list[int]] = ([number] for number in range(len(questions)))
    else:
        cache = TextFeatureCache(tagger.text_encoder) if texts is None else texts

        def ask(batch: Sequence[Question]) -> list[Tags]:
            scores = fast_scores(tagger, batch, class_names, cache, encode_dtype=encode_dtype)
            tags, invalid = kept_relations(scores, batch, store_threshold, own_texts=own_texts)
            counts["scores that are no number"] += invalid
            return tags

        batches = _alike(questions, images_per_pass)

    answers: dict[int, Tags | TagFailure] = {}
    for numbers in batches:
        answers |= zip(numbers, _answers([questions[number] for number in numbers], ask), strict=True)
    parts: list[list[Tags | TagFailure]] = [[] for _ in images]
    for number, question in enumerate(questions):
        parts[question.place].append(answers[number])
    return [_joined(parts[place]) if result is None else result for place, result in enumerate(results)]


def _check(
    tagger: RelationTagger,
    images: Sequence[TaggingInput],
    class_names: Sequence[str],
    *,
    mode: str,
    encode_dtype: torch.dtype | None,
) -> None:
    if mode not in ("parity", "fast"):
        raise ValueError(f"mode={mode!r}: expected parity or fast")
    if tagger.training:
        raise ValueError("the tagger is in training mode, in which boxes and labels are noisy; call tagger.eval()")
    if mode == "parity" and encode_dtype is not None:
        raise ValueError(
            f"encode_dtype={encode_dtype} with mode='parity': official scores are float32; use mode='fast'"
        )
    for place, image in enumerate(images):
        if len(image.labels) and not 0 <= int(image.labels.min()) <= int(image.labels.max()) < len(class_names):
            raise ValueError(
                f"image {place}: labels {int(image.labels.min())} to {int(image.labels.max())}, but there are "
                f"{len(class_names)} class names: labels are rows of them, counted from 0"
            )
        most = max((len(group.pairs) for group in image.groups), default=0)
        if most > tagger.num_pairs:
            raise ValueError(
                f"image {place}: a group of {most} pairs, but this tagger takes {tagger.num_pairs} at once; make the "
                f"candidates with groups of at most {tagger.num_pairs}"
            )


def _usable(image: TaggingInput, out_of_range: OutOfRange, counts: Counter[str]) -> TaggingInput | TagFailure:
    """The image with only pairs of boxes that it has."""
    if out_of_range not in ("drop_pair", "drop_image"):
        raise ValueError(f"out_of_range={out_of_range!r}: expected drop_pair or drop_image")
    boxes = len(image.boxes_cxcywh)
    inside = [((group.pairs >= 0) & (group.pairs < boxes)).all(axis=1) for group in image.groups]
    outside = sum(int((~kept).sum()) for kept in inside)
    if not outside:
        return image
    if out_of_range == "drop_image":
        pair = next(group.pairs[~kept][0] for group, kept in zip(image.groups, inside, strict=True) if not kept.all())
        return TagFailure(
            "pair out of range",
            f"{outside} candidate pairs such as {pair.tolist()}, but the image has {boxes} boxes: the candidates were "
            "made from other annotations",
        )
    counts["pairs out of range"] += outside
    groups = [Group(group.pairs[kept], group.texts) for group, kept in zip(image.groups, inside, strict=True)]
    return replace(image, groups=groups)


def _questions(place: int, image: TaggingInput, size: int, *, keep_empty: bool) -> Iterator[Question]:
    """The chunks of an image. Groups without pairs have no say in the scores of others and may be left out."""
    for groups, texts in chunks(image.groups, size):
        asked = tuple(group for group in groups if keep_empty or len(group.pairs))
        if asked and (keep_empty or texts):
            yield Question(place, image, asked, texts)


def _alike(questions: Sequence[Question], most: int) -> Iterator[list[int]]:
    """Numbers of questions to ask together: images of one size, with about as many groups and pairs each."""
    shapes = [question.shape for question in questions]
    order = sorted(range(len(questions)), key=lambda number: shapes[number])
    for _, members in groupby(order, key=lambda number: shapes[number][:2]):
        alike = list(members)
        for start in range(0, len(alike), most):
            yield alike[start : start + most]


def _answers(batch: Sequence[Question], ask: Callable[[Sequence[Question]], list[Tags]]) -> Sequence[Tags | TagFailure]:
    """One answer per question; with less at once where the memory of the GPU does not suffice."""
    try:
        return ask(batch)
    except torch.OutOfMemoryError:
        pass  # the traceback holds tensors: go on when it is gone
    if len(batch) > 1:
        return [answer for question in batch for answer in _answers([question], ask)]
    (question,) = batch
    middle = (len(question.groups) + 1) // 2
    halves = [part for part in (question.groups[:middle], question.groups[middle:]) if part]
    try:
        return [joined(ask([replace(question, groups=part)])[0] for part in halves)]
    except torch.OutOfMemoryError:
        height, width, groups, _ = question.shape
        return [
            TagFailure(
                "out of memory",
                f"{groups} groups with {len(question.texts)} texts on an image of {height}x{width} do not fit the "
                "GPU's memory, nor do half of them; lower groups_per_pass or the size of the images",
            )
        ]


def _joined(answers: Sequence[Tags | TagFailure]) -> Tags | TagFailure:
    """The answers to all chunks of an image in their order, or the first failure."""
    failure = next((answer for answer in answers if isinstance(answer, TagFailure)), None)
    tags = joined(answer for answer in answers if isinstance(answer, Tags))
    return failure or replace(tags, scores=tags.scores.astype(np.float32))
