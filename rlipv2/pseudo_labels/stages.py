"""What the stages make of a unit: captions, their scene graphs, candidates, scored relations."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rlipv2.pseudo_labels.batches import ImageFailure
from rlipv2.pseudo_labels.candidates import Mode, image_candidates, kept_boxes
from rlipv2.pseudo_labels.matching import LexicalMatcher, Matcher, OfficialMatcher
from rlipv2.pseudo_labels.paraphrases import class_words
from rlipv2.pseudo_labels.parsing import SceneGraphParser
from rlipv2.pseudo_labels.records import LabelledImage, SceneGraph, Tags
from rlipv2.pseudo_labels.units import UnitResult

KNOWN_PROBLEMS = ("empty", "control characters", "truncated", "not English")
"""What may be wrong with a caption; anything else is an exception of the parser."""


class CaptionLookup(Protocol):
    """Captions that exist already."""

    def captions_of(self, image_ids: Sequence[int]) -> list[list[str]]:
        """The captions of each image; none for images that have none."""
        ...


class CaptionsOfFile:
    """Looks up the captions of the images of a unit.

    Args:
        captions: where.
    """

    def __init__(self, captions: CaptionLookup) -> None:
        self.captions = captions

    def __call__(self, images: list[LabelledImage], before: Mapping[int, Any]) -> UnitResult:
        """A row per image, also of those without captions."""
        found = self.captions.captions_of([image.image_id for image in images])
        return caption_rows(zip([image.image_id for image in images], found, strict=True))


class RecordCaptioner(Protocol):
    """Makes captions of labels."""

    def captions_of_record(self, image: LabelledImage, *, seed: int) -> list[str]:
        """The captions of an image."""
        ...


class CaptionsOfLabels:
    """Makes the captions of the images of a unit of their labels.

    Args:
        captioner: makes them.
        seed: of the run.
    """

    def __init__(self, captioner: RecordCaptioner, seed: int) -> None:
        self.captioner, self.seed = captioner, seed

    def __call__(self, images: list[LabelledImage], before: Mapping[int, Any]) -> UnitResult:
        """A row per image."""
        return caption_rows(
            (image.image_id, self.captioner.captions_of_record(image, seed=self.seed)) for image in images
        )


def captioned(
    images: Sequence[LabelledImage],
    results: Mapping[int, Sequence[str]],
    failures: Sequence[ImageFailure],
    counts: Mapping[str, int],
) -> UnitResult:
    """The unit of what a captioner said; images that failed have no captions."""
    found = [(image.image_id, results.get(image.image_id, ())) for image in images]
    result = caption_rows(found, _in_order(images, failures))
    return UnitResult(result.rows, result.failures, {**result.counts, **counts})


def tagged(
    images: Sequence[LabelledImage],
    results: Mapping[int, Tags],
    failures: Sequence[ImageFailure],
    counts: Mapping[str, int],
) -> UnitResult:
    """The unit of what the tagger found, images in their order."""
    rows = [(image.image_id, results[image.image_id]) for image in images if image.image_id in results]
    told = Counter(counts)
    told["images tagged"], told["relations"] = len(rows), sum(len(tags) for _, tags in rows)
    told["images tagged without relations"] = sum(not len(tags) for _, tags in rows)
    del told["images without candidates"]  # these are not handed to the tagger, and counted before
    return UnitResult(rows, _in_order(images, failures), told)


def _in_order(images: Sequence[LabelledImage], failures: Sequence[ImageFailure]) -> list[ImageFailure]:
    places = {image.image_id: place for place, image in enumerate(images)}
    return sorted(failures, key=lambda failure: places[failure.image_id])


def caption_rows(found: Iterable[tuple[int, Sequence[str]]], failures: Sequence[ImageFailure] = ()) -> UnitResult:
    """A row per image with its captions, and what is worth counting about them."""
    counts: Counter[str] = Counter()
    rows = []
    for image, captions in found:
        rows.append({"image_id": image, "captions": list(captions)})
        counts["captions"] += len(captions)
        counts["empty captions"] += sum(not caption.strip() for caption in captions)
        counts["images without captions"] += not captions
    return UnitResult(rows, failures, counts)


class ParseCaptions:
    """Parses the captions of a unit.

    Args:
        parser: parses them.
    """

    def __init__(self, parser: SceneGraphParser) -> None:
        self.parser = parser

    def __call__(self, images: list[LabelledImage], before: Mapping[int, Any]) -> UnitResult:
        """A row per image with a graph per caption; a caption that cannot be parsed has an empty one."""
        captions = [before.get(image.image_id, {"captions": ()})["captions"] for image in images]
        owners = [image.image_id for image, some in zip(images, captions, strict=True) for _ in some]
        graphs, problems = self.parser.parse_with_problems([caption for some in captions for caption in some])
        counts = Counter(
            {
                "captions": len(graphs),
                "captions without entities": sum(not graph.entities for graph in graphs),
                "relations": sum(len(graph.relations) for graph in graphs),
            }
        )
        failures = []
        for problem in problems:
            if problem.reason in KNOWN_PROBLEMS:
                counts[f"captions: {problem.reason}"] += 1
            else:
                failures.append(ImageFailure(owners[problem.index], "parser error", problem.reason))
        left = iter(graphs)
        rows = [
            {"image_id": image.image_id, "graphs": [next(left).to_dict() for _ in some]}
            for image, some in zip(images, captions, strict=True)
        ]
        return UnitResult(rows, failures, counts)


class FindCandidates:
    """Finds the pairs of boxes that captions may be about.

    Args:
        matcher: matches entities to classes.
        mode: "parity" or "fast", see `image_candidates`.
        options: further arguments of `image_candidates`.
    """

    def __init__(self, matcher: Matcher, *, mode: Mode, **options: Any) -> None:
        self.matcher, self.mode, self.options = matcher, mode, options

    def __call__(self, images: list[LabelledImage], before: Mapping[int, Any]) -> UnitResult:
        """A row per image with its groups."""
        counts: Counter[str] = Counter()
        rows = []
        for image in images:
            graphs = [SceneGraph.from_dict(graph) for graph in before.get(image.image_id, {"graphs": []})["graphs"]]
            groups = image_candidates(graphs, image, self.matcher, mode=self.mode, counts=counts, **self.options)
            counts.update(box_counts(image))
            counts["images without candidates"] += not any(len(group.pairs) for group in groups)
            rows.append({"image_id": image.image_id, "groups": [group.to_json() for group in groups]})
        return UnitResult(rows, (), counts)


def box_counts(image: LabelledImage) -> dict[str, int]:
    """How many boxes of an image no pair is made of, and why."""
    sizes, kept = image.boxes_xywh[:, 2:], len(kept_boxes(image)[1])
    negative, crowd = int((sizes < 0).any(axis=1).sum()), int(image.crowd.sum())
    without = len(sizes) - kept - int((image.crowd & (sizes >= 0).all(axis=1)).sum()) - negative
    return {
        "boxes": len(sizes),
        "boxes of a negative size": negative,
        "boxes without area in the image": without,
        "boxes of crowds": crowd,
        "images without usable boxes": int(not kept),
    }


class LeftOut:
    """Makes empty units of a stage that nothing depends on, as a later one comes from a file."""

    def __call__(self, images: list[LabelledImage], before: Mapping[int, Any]) -> UnitResult:
        """No rows."""
        return UnitResult(())


def make_matcher(names: Sequence[str], *, matcher: str, paraphrases: str | Path = "auto", **options: Any) -> Matcher:
    """The matcher of these classes.

    Args:
        names: of the classes.
        matcher: "official" or "lexical".
        paraphrases: words of the classes, see `class_words`.
        options: further arguments of `OfficialMatcher` or `LexicalMatcher`.

    Raises:
        ValueError: no such matcher, or paraphrases that lack a class.
    """
    kinds: dict[str, Callable[..., Matcher]] = {"official": OfficialMatcher, "lexical": LexicalMatcher}
    if matcher not in kinds:
        raise ValueError(f"candidates.matcher={matcher!r}: expected one of {sorted(kinds)}")
    return kinds[matcher](class_words(names, paraphrases), **options)


def candidates_stage(names: Sequence[str], matcher: Mapping[str, Any], options: Mapping[str, Any]) -> FindCandidates:
    """`FindCandidates` with a matcher of these arguments of `make_matcher`, made in the process that uses it."""
    return FindCandidates(make_matcher(names, **matcher), **options)
