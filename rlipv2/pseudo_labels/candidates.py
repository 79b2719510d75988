"""Pairs of labelled boxes that may be related, and the relations that captions name for them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from rlipv2.pseudo_labels.matching import Matcher
from rlipv2.pseudo_labels.records import Group, LabelledImage, SceneGraph

Mode = Literal["parity", "fast"]
Triplet = tuple[int, str, int]
"""Class of the subject, relation text, class of the object."""

MAX_WORDS = 10


def kept_boxes(image: LabelledImage) -> tuple[Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
    """The boxes that pairs are made of, and their labels: not crowd, cut to the image, with an area left, file order.

    Corners in pixels, in float32 as officially (datasets/coco.py, ConvertCocoPolysToMask): the indices of candidate
    files and of the tagger mean these rows.
    """
    boxes, area = _cut(image)
    kept = ~image.crowd & area
    return boxes[kept], np.asarray(image.labels[kept], np.int64)


def _cut(image: LabelledImage) -> tuple[Float[np.ndarray, "n 4"], Bool[np.ndarray, " n"]]:
    boxes = np.asarray(image.boxes_xywh, np.float32).reshape(-1, 4).copy()
    boxes[:, 2:] += boxes[:, :2]
    height, width = image.size
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    return boxes, np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1))


def caption_triplets(
    graphs: Sequence[SceneGraph],
    image: LabelledImage,
    matcher: Matcher,
    *,
    max_words: int | None = MAX_WORDS,
    counts: Counter[str] | None = None,
) -> list[Triplet]:
    """What the captions say about the classes of an image, each triplet once, in order of the captions.

    Classes are those of all its boxes, crowd and degenerate ones too, as officially.

    Args:
        graphs: one per caption.
        image: the image.
        matcher: matches entities to classes.
        max_words: longest relation text; longer ones and empty ones are left out. None keeps both, as officially.
        counts: is added to: entities and relations, how many matched, texts left out.
    """
    present = list(dict.fromkeys(image.labels.tolist()))
    triplets: dict[Triplet, None] = {}
    entities = matched = relations = related = empty = long = 0
    for graph in graphs:
        rows = [matcher.classes_of(entity.span, present) for entity in graph.entities]
        entities += len(rows)
        matched += sum(map(bool, rows))
        for relation in graph.relations:
            relations += 1
            subjects, objects = rows[relation.subject], rows[relation.object]
            if not subjects or not objects:
                continue
            if max_words is not None:
                words = len(relation.relation.split())
                if not words or words > max_words:
                    empty, long = empty + (not words), long + (words > 0)
                    continue
            related += 1
            for subject in subjects:
                for object_ in objects:
                    triplets[subject, relation.relation, object_] = None
    if counts is not None:
        counts["entities"] += entities
        counts["entities matched"] += matched
        counts["relations"] += relations
        counts["relations matched"] += related
        counts["relations without a text"] += empty
        counts["relations of too many words"] += long
    return list(triplets)


def image_candidates(
    graphs: Sequence[SceneGraph],
    image: LabelledImage,
    matcher: Matcher,
    *,
    mode: Mode = "fast",
    group_size: int = 100,
    box_overlap: bool = False,
    class_check: bool = True,
    max_words: int | Literal["auto"] | None = "auto",
    counts: Counter[str] | None = None,
) -> list[Group]:
    """The candidates of an image in groups of at most `group_size` pairs.

    In "parity": a pair appears once for each triplet that its classes agree with; pairs are in lexicographic order, the
    triplets of a pair in order of the captions; there is one more group after every full `group_size` pairs, so that
    the last one may be empty, and an image without candidates has one empty group. Official:
    `transform_BLIP_sngs_to_verb_tagger_input_format` in datasets/rlipv2_helper/BLIP_o365_caption_helper.py.

    In "fast": a pair appears once, no group is empty, and with `class_check` the pairs of a group have the same two
    classes and its texts are those of these classes alone.

    Args:
        graphs: one per caption.
        image: the image with its boxes.
        matcher: matches entities to classes.
        mode: see above.
        group_size: pairs that the tagger takes at once.
        box_overlap: only pairs of boxes that share some area. Officially off for the published labels; its helper for
            Objects365 compares other boxes than these, which is not repeated here.
        class_check: see above; of no effect in "parity".
        max_words: see `caption_triplets`; "auto" is None in "parity" and 10 in "fast".
        counts: see `caption_triplets`; pairs and groups are added as well.
    """
    limit = (None if mode == "parity" else MAX_WORDS) if max_words == "auto" else max_words
    triplets = caption_triplets(graphs, image, matcher, max_words=limit, counts=counts)
    labels = kept_boxes(image)[1]
    overlap = boxes_overlap(image_boxes_xywh(image)) if box_overlap and triplets else None
    if mode == "parity":
        groups = _official_groups(labels, triplets, overlap, group_size)
    elif class_check:
        by_classes: dict[tuple[int, int], list[Triplet]] = {}
        for triplet in triplets:
            by_classes.setdefault((triplet[0], triplet[2]), []).append(triplet)
        groups = [
            group for some in by_classes.values() for group in _groups_of_classes(labels, some, overlap, group_size)
        ]
    else:
        groups = _groups(labels, triplets, overlap, group_size)
    if counts is not None:
        counts["pairs"] += sum(len(group.pairs) for group in groups)
        counts["groups"] += len(groups)
    return groups


def prior_candidates(
    image: LabelledImage,
    prior: Mapping[int, Mapping[int, Sequence[str]]],
    *,
    mode: Mode = "fast",
    group_size: int = 100,
) -> list[Group]:
    """Candidates from relations that are known between classes, instead of captions.

    All ordered pairs of boxes whose classes have relations in the prior. In "parity" they are in lexicographic order,
    texts of a group are those of all its pairs, and the number of groups is that of all pairs of boxes, as officially,
    so that the last ones may be empty (datasets/rlipv2_helper/OD_rel_cand_select.py). In "fast" the pairs of a group
    have the same two classes.

    Args:
        image: the image with its boxes.
        prior: texts by class of the subject and class of the object.
        mode: see above.
        group_size: pairs that the tagger takes at once.
    """
    labels = kept_boxes(image)[1]
    count = len(labels)
    present = sorted({*labels.tolist()})
    known = [(s, "", o) for s in present for o in present if prior.get(s, {}).get(o)]
    if mode == "fast":
        each = ([(s, text, o) for text in prior[s][o]] for s, _, o in known)
        return [group for some in each for group in _groups_of_classes(labels, some, None, group_size)]
    pairs, which = matching_pairs(labels, known, None)
    texts = [prior[known[row][0]][known[row][2]] for row in which.tolist()]
    groups = count * (count - 1) // group_size + 1
    parts = [slice(row * group_size, (row + 1) * group_size) for row in range(groups)]
    return [Group(pairs[part], tuple(dict.fromkeys(text for some in texts[part] for text in some))) for part in parts]


def matching_pairs(
    labels: Int[np.ndarray, " n"], triplets: Sequence[Triplet], overlap: Bool[np.ndarray, "n n"] | None
) -> tuple[Int[np.ndarray, "m 2"], Int[np.ndarray, " m"]]:
    """Every (subject, object, triplet) whose classes agree, subject and object being two boxes.

    Rows are sorted by subject, object and triplet. Returned are the pairs and the number of the triplet.
    """
    by_classes: dict[tuple[int, int], list[int]] = {}
    rows = {label: row for row, label in enumerate(dict.fromkeys(labels.tolist()))}
    for number, (subject, _, object_) in enumerate(triplets):
        if subject in rows and object_ in rows:
            by_classes.setdefault((rows[subject], rows[object_]), []).append(number)
    if not by_classes:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
    # how many triplets two classes have, and where these begin in the list of all
    counts, starts = np.zeros((2, len(rows), len(rows)), np.int64)
    total = 0
    for classes, numbers in by_classes.items():
        counts[classes], starts[classes], total = len(numbers), total, total + len(numbers)
    local = np.array([rows[label] for label in labels.tolist()])
    repeats = counts[local][:, local]
    np.fill_diagonal(repeats, 0)
    if overlap is not None:
        repeats[~overlap] = 0
    flat = np.flatnonzero(repeats)
    times = repeats.ravel()[flat]
    first, second = np.divmod(flat, len(labels))
    begins = starts[local[first], local[second]] - np.cumsum(times) + times
    pairs = np.repeat(np.stack([first, second], axis=1), times, axis=0)
    numbers_of_all = np.array([number for numbers in by_classes.values() for number in numbers], np.int64)
    which = numbers_of_all[np.repeat(begins, times) + np.arange(len(pairs))]
    return pairs, which


def _official_groups(
    labels: Int[np.ndarray, " n"],
    triplets: Sequence[Triplet],
    overlap: Bool[np.ndarray, "n n"] | None,
    group_size: int,
) -> list[Group]:
    pairs, which = matching_pairs(labels, triplets, overlap)
    return [
        Group(pairs[start : start + group_size], _texts(triplets, which[start : start + group_size]))
        for start in range(0, len(pairs) + 1, group_size)  # one more than is needed where the last one is full
    ]


def _groups_of_classes(
    labels: Int[np.ndarray, " n"],
    triplets: Sequence[Triplet],
    overlap: Bool[np.ndarray, "n n"] | None,
    group_size: int,
) -> list[Group]:
    """Groups from triplets of the same two classes: each of their pairs has all of the texts."""
    subjects, objects = (np.flatnonzero(labels == triplets[0][end]) for end in (0, 2))
    wanted = subjects[:, None] != objects
    if overlap is not None:
        wanted &= overlap[subjects[:, None], objects]
    first, second = wanted.nonzero()
    pairs = np.stack([subjects[first], objects[second]], axis=1)
    texts = tuple(text for _, text, _ in triplets)
    return [Group(pairs[start : start + group_size], texts) for start in range(0, len(pairs), group_size)]


def _groups(
    labels: Int[np.ndarray, " n"],
    triplets: Sequence[Triplet],
    overlap: Bool[np.ndarray, "n n"] | None,
    group_size: int,
) -> list[Group]:
    pairs, which = matching_pairs(labels, triplets, overlap)
    if not len(pairs):
        return []
    # rows of a pair are next to each other
    first = np.concatenate([[True], (pairs[1:] != pairs[:-1]).any(axis=1)])
    starts = np.flatnonzero(first)[::group_size]
    stops = [*starts[1:].tolist(), len(pairs)]
    return [
        Group(pairs[start:stop][first[start:stop]], _texts(triplets, which[start:stop]))
        for start, stop in zip(starts.tolist(), stops, strict=True)
    ]


def _texts(triplets: Sequence[Triplet], which: Int[np.ndarray, " m"]) -> tuple[str, ...]:
    """The distinct texts of these triplets in order of appearance."""
    return tuple(dict.fromkeys(triplets[row][1] for row in dict.fromkeys(which.tolist())))


def image_boxes_xywh(image: LabelledImage) -> Float[np.ndarray, "n 4"]:
    """X y w h in pixels of the kept boxes after a round trip through 0-1 centers and sizes in float32.

    So they stand in the official files, a last digit off at times: 20.000001907348633.
    """
    boxes_xyxy, _ = kept_boxes(image)
    height, width = image.size
    scale = np.array([width, height], np.float32)
    center = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / np.float32(2) / scale
    size = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / scale
    return np.concatenate([(center - size / np.float32(2)) * scale, size * scale], axis=1)


def boxes_overlap(boxes_xywh: Float[np.ndarray, "n 4"]) -> Bool[np.ndarray, "n n"]:
    """True where two boxes share more than an edge; a box without area inside another counts as overlapping.

    Centers are closer than half of both sizes, on both axes. Official: `check_overlap` in coco_caption_helper.py.
    """
    half = boxes_xywh[:, 2:] / 2
    center = boxes_xywh[:, :2] + half
    near = np.abs(center[:, None] - center) < half[:, None] + half
    return np.asarray(near.all(axis=-1))
