"""Candidates of pseudo-labelling: images per second, vectorised and with loops over pairs and triplets.

    python benchmarks/candidates.py [--images 1000] [--boxes 7 30 100] [--captions 10]

Images have random boxes of four of the 80 classes of COCO and parsed captions, a third of whose entities are of these
classes. "match" is the way from captions to triplets of classes, "pairs" that from there to the groups, "all" is both.
The loop gives the same groups as "parity"; this is compared.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rlipv2.pseudo_labels.candidates import Triplet, _official_groups, caption_triplets, image_candidates, kept_boxes
from rlipv2.pseudo_labels.matching import LexicalMatcher, Matcher, OfficialMatcher
from rlipv2.pseudo_labels.paraphrases import class_words
from rlipv2.pseudo_labels.records import Entity, Group, LabelledImage, Relation, SceneGraph
from rlipv2.vocabularies import load

TEXTS = ("riding", "on", "next to", "holding", "sitting on", "near", "behind", "wearing", "in front of", "looking at")
Example = tuple[list[SceneGraph], LabelledImage]
ARTICLES = ("a", "the", "two", "a big", "a red", "some")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--boxes", type=int, nargs="+", default=[7, 30, 100], help="boxes of an image")
    parser.add_argument("--captions", type=int, default=10)
    options = parser.parse_args()
    names = list(load("coco").names)
    words = class_words(names)
    table = Table("boxes", "matcher", "loop pairs", "parity pairs", "times", "match", "parity all", "fast all")
    for boxes in options.boxes:
        data = [_example(np.random.default_rng(seed), names, boxes, options.captions) for seed in range(options.images)]
        for name, matcher in (("official", OfficialMatcher(words)), ("lexical", LexicalMatcher(words))):
            table.add_row(str(boxes), name, *_row(data, matcher))
    Console().print(f"images per second of {options.images}, {options.captions} captions each; one process", table)


def _row(data: list[Example], matcher: Matcher) -> list[str]:
    triplets = [caption_triplets(graphs, image, matcher, max_words=None) for graphs, image in data]
    match = _rate([partial(caption_triplets, graphs, image, matcher) for graphs, image in data])[0]
    labels = [kept_boxes(image)[1] for _, image in data]
    loop, recorded = _rate([partial(looped, *row) for row in zip(labels, triplets, strict=True)])
    pairs, ours = _rate([partial(_official_groups, *row, None, 100) for row in zip(labels, triplets, strict=True)])
    if [[group.to_json() for group in groups] for groups in ours] != [
        [group.to_json() for group in groups] for groups in recorded
    ]:
        raise AssertionError("the loop gives other groups")
    parity = _rate([partial(image_candidates, *row, matcher, mode="parity") for row in data])[0]
    fast = _rate([partial(image_candidates, *row, matcher) for row in data])[0]
    rates = [f"{rate:,.0f}" for rate in (loop, pairs, match, parity, fast)]
    return [*rates[:2], f"{pairs / loop:.1f}", *rates[2:]]


def looped(labels: np.ndarray, triplets: Sequence[Triplet]) -> list[Group]:
    """The groups of "parity", pair by pair and triplet by triplet."""
    rows = labels.tolist()
    pairs, texts = [], []
    for subject, object_ in permutations(range(len(rows)), 2):
        for subject_class, text, object_class in triplets:
            if rows[subject] == subject_class and rows[object_] == object_class:
                pairs.append([subject, object_])
                texts.append(text)
    groups = []
    for start in range(0, len(pairs) + 1, 100):
        some = np.array(pairs[start : start + 100], np.int64).reshape(-1, 2)
        groups.append(Group(some, tuple(dict.fromkeys(texts[start : start + 100]))))
    return groups


def _example(generator: np.random.Generator, names: list[str], boxes: int, captions: int) -> Example:
    classes = generator.choice(len(names), min(4, boxes), replace=False)
    labels = generator.choice(classes, boxes)
    corners = generator.uniform(0, 400, (boxes, 2))
    image = LabelledImage(
        image_id=0,
        file_name="",
        split="",
        size=(480, 640),
        boxes_xywh=np.concatenate([corners, generator.uniform(10, 200, (boxes, 2))], axis=1),
        labels=labels,
        crowd=np.zeros(boxes, bool),
    )
    graphs = []
    for _ in range(captions):
        named = [generator.choice(classes) if generator.random() < 1 / 3 else generator.integers(80) for _ in range(3)]
        spans = [f"{generator.choice(ARTICLES)} {names[row]}" for row in named]
        entities = tuple(Entity(span, span.split()[-1], span.split()[-1]) for span in spans)
        relations = tuple(
            Relation(0, row, text, text) for row, text in zip((1, 2), generator.choice(TEXTS, 2), strict=True)
        )
        graphs.append(SceneGraph(entities, relations))
    return graphs, image


def _rate(calls: Sequence[Callable[[], Any]]) -> tuple[float, list[Any]]:
    """Calls per second, and what came out."""
    start = time.perf_counter()
    results = [call() for call in calls]
    return len(calls) / (time.perf_counter() - start), results


if __name__ == "__main__":
    main()
