"""Candidates of pseudo-labelling: images per second, vectorised and with loops over pairs and triplets.

    python benchmarks/candidates.py [--images 2000] [--boxes 30] [--captions 10]

Both get the same images with random boxes of the 80 classes of COCO and the same parsed captions, and give the same
groups. "match" is the time for names and triplets alone, which both share; spans repeat as they do in captions.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
from rich.console import Console
from rich.table import Table

from rlipv2.pseudo_labels.candidates import caption_triplets, image_candidates, kept_boxes
from rlipv2.pseudo_labels.matching import LexicalMatcher, Matcher, OfficialMatcher
from rlipv2.pseudo_labels.paraphrases import class_words
from rlipv2.pseudo_labels.records import Entity, Group, LabelledImage, Relation, SceneGraph
from rlipv2.vocabularies import load

TEXTS = ("riding", "on", "next to", "holding", "sitting on", "near", "behind", "wearing", "in front of", "looking at")
ARTICLES = ("a", "the", "two", "a big", "a red", "some")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--boxes", type=int, default=30, help="boxes of an image; COCO has 7 on average")
    parser.add_argument("--captions", type=int, default=10)
    options = parser.parse_args()
    names = list(load("coco").names)
    data = [
        _example(np.random.default_rng(seed), names, options.boxes, options.captions) for seed in range(options.images)
    ]
    words = class_words(names)
    table = Table("matcher", "work", "images/s", "times the loop")
    for name, matcher in (("official", OfficialMatcher(words)), ("lexical", LexicalMatcher(words))):
        _rate(
            data[:200], lambda graphs, image, m=matcher: caption_triplets(graphs, image, m)
        )  # fills the memory of spans
        loop, groups = _rate(data, lambda graphs, image, m=matcher: looped(graphs, image, m))
        work: dict[str, Callable[..., object]] = {
            "parity": lambda graphs, image, m=matcher: image_candidates(graphs, image, m, mode="parity"),
            "fast": lambda graphs, image, m=matcher: image_candidates(graphs, image, m),
            "match": lambda graphs, image, m=matcher: caption_triplets(graphs, image, m),
        }
        table.add_row(name, "loop", f"{loop:,.0f}", "")
        for what, run in work.items():
            rate, ours = _rate(data, run)
            if what == "parity":
                assert [[g.to_json() for g in some] for some in ours] == [
                    [g.to_json() for g in some] for some in groups
                ]
            table.add_row(name, what, f"{rate:,.0f}", f"{rate / loop:.1f}")
    Console().print(f"{options.images} images, {options.boxes} boxes, {options.captions} captions; one process", table)


def looped(graphs: Sequence[SceneGraph], image: LabelledImage, matcher: Matcher) -> list[Group]:
    """The groups of `image_candidates` in "parity", pair by pair and triplet by triplet."""
    triplets = caption_triplets(graphs, image, matcher, max_words=None)
    labels = kept_boxes(image)[1].tolist()
    pairs, texts = [], []
    for subject, object_ in permutations(range(len(labels)), 2):
        for subject_class, text, object_class in triplets:
            if labels[subject] == subject_class and labels[object_] == object_class:
                pairs.append([subject, object_])
                texts.append(text)
    groups = []
    for start in range(0, len(pairs) + 1, 100):
        rows = np.array(pairs[start : start + 100], np.int64).reshape(-1, 2)
        groups.append(Group(rows, tuple(dict.fromkeys(texts[start : start + 100]))))
    return groups


def _example(
    generator: np.random.Generator, names: list[str], boxes: int, captions: int
) -> tuple[list[SceneGraph], LabelledImage]:
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
        spans = [f"{generator.choice(ARTICLES)} {names[generator.choice(classes)]}" for _ in range(3)]
        entities = tuple(Entity(span, span.split()[-1], span.split()[-1]) for span in spans)
        relations = tuple(
            Relation(0, row, text, text) for row, text in zip((1, 2), generator.choice(TEXTS, 2), strict=True)
        )
        graphs.append(SceneGraph(entities, relations))
    return graphs, image


def _rate(data: list[tuple[list[SceneGraph], LabelledImage]], run: Callable[..., object]) -> tuple[float, list[object]]:
    """Images per second, and what came out."""
    start = time.perf_counter()
    results = [run(graphs, image) for graphs, image in data]
    return len(data) / (time.perf_counter() - start), results


if __name__ == "__main__":
    main()
