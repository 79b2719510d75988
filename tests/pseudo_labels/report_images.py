"""Images of a small micro-world with relations of random scores, as the stages would hand them to a report."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from rlipv2.pseudo_labels.baselines import caption_shares, every_matching_pair
from rlipv2.pseudo_labels.matching import LexicalMatcher, Matcher
from rlipv2.pseudo_labels.paraphrases import class_words
from rlipv2.pseudo_labels.records import Entity, LabelledImage, Relation, SceneGraph, Tags
from rlipv2.pseudo_labels.report import ReportImage
from rlipv2.pseudo_labels.truth import Truth
from rlipv2.vocabularies import load

CLASS_NAMES = tuple(load("coco").names)
NOUNS = (
    " umbrella parasol kite bottle boat bench chair seat horse pony dog puppy bicycle bike backpack bag ball "
    " person man woman guy boy girl lady child kid "
)


def matcher() -> Matcher:
    return LexicalMatcher(class_words(CLASS_NAMES))


def parsed(caption: str) -> SceneGraph:
    """What stands between two nouns relates them: no grammar, but enough for a report."""
    words = [word for word in caption.split() if word not in ("a", "an", "the", "is", "that", "small", "old", "red")]
    places = [k for k, word in enumerate(words) if f" {word} " in NOUNS]
    relations = [
        Relation(k, k + 1, " ".join(words[a + 1 : b]), " ".join(words[a + 1 : b]))
        for k, (a, b) in enumerate(pairwise(places))
        if a + 1 < b and words[a + 1 : b] != ["and"]
    ]
    return SceneGraph(tuple(Entity(words[k], words[k], words[k]) for k in places), tuple(relations))


def labelled_images(root: Path) -> Iterator[LabelledImage]:
    rows = {number: row for row, number in enumerate(load("coco").category_ids.tolist())}
    for split in ("train2017", "val2017"):
        content = json.loads((root / "annotations" / f"instances_{split}.json").read_text(encoding="utf-8"))
        for image in content["images"]:
            own = [record for record in content["annotations"] if record["image_id"] == image["id"]]
            yield LabelledImage(
                image_id=image["id"],
                file_name=image["file_name"],
                split=split,
                size=(image["height"], image["width"]),
                boxes_xywh=np.array([record["bbox"] for record in own]).reshape(-1, 4),
                labels=np.array([rows[record["category_id"]] for record in own], np.int64),
                crowd=np.array([bool(record["iscrowd"]) for record in own]),
            )


def scored(tags: Tags, truth: Truth, image_id: int, rng: np.random.Generator) -> Tags:
    """The same relations with scores that know more or less which of them are right."""
    true = truth.relations_of(image_id)
    rows = zip(tags.pairs.tolist(), tags.texts, strict=True)
    right = np.array([true.verdict(s, o, text) == "right" for (s, o), text in rows], bool)
    scores = np.where(right, rng.beta(4, 2.5, len(right)), rng.beta(1.2, 5, len(right))).astype(np.float32)
    kept = scores > 0.05
    texts = tuple(text for text, keep in zip(tags.texts, kept, strict=True) if keep)
    return Tags(tags.pairs[kept], texts, scores[kept])


def report_images(root: Path, seed: int = 0) -> Iterator[ReportImage]:
    truth, rng, words = Truth(root / "truth" / "scene_graphs.json"), np.random.default_rng(seed), matcher()
    captions = json.loads((root / "annotations" / "captions.json").read_text(encoding="utf-8"))
    for image in labelled_images(root):
        texts = captions[str(image.image_id)]
        graphs = [parsed(text) for text in texts]
        pairs = every_matching_pair(caption_shares(graphs, image, words), image)
        yield ReportImage(
            image=image,
            file=root / image.split / image.file_name,
            captions=texts,
            graphs=graphs,
            tags=scored(pairs, truth, image.image_id, rng),
            num_candidates=len(np.unique(pairs.pairs, axis=0)),
        )
