"""What the stages on the CPU make of a unit: captions of a file, their scene graphs, candidates."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from rlipv2.pseudo_labels.batches import ImageFailure
from rlipv2.pseudo_labels.candidates import Mode, image_candidates, kept_boxes
from rlipv2.pseudo_labels.matching import Matcher
from rlipv2.pseudo_labels.records import LabelledImage, SceneGraph
from rlipv2.pseudo_labels.units import UnitResult

MAX_WORDS = 60
"""Words of a caption that are parsed; sampled captions have at most 20."""


class CaptionLookup(Protocol):
    """Captions that exist already."""

    def captions_of(self, image_ids: Sequence[int]) -> list[list[str]]:
        """The captions of each image; none for images that have none."""
        ...


class SceneGraphParser(Protocol):
    """Parses captions; a caption that it cannot parse gives an empty graph."""

    def parse(self, captions: Sequence[str]) -> list[SceneGraph]:
        """One graph per caption."""
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
    """Parses the captions of a unit, each distinct one once.

    Args:
        parser: parses them.
    """

    def __init__(self, parser: SceneGraphParser) -> None:
        self.parser = parser

    def __call__(self, images: list[LabelledImage], before: Mapping[int, Any]) -> UnitResult:
        """A row per image with a graph per caption."""
        counts: Counter[str] = Counter()
        cleaned = {caption: _cleaned(caption, counts) for row in before.values() for caption in row["captions"]}
        distinct = [text for text in dict.fromkeys(cleaned.values()) if text]
        graphs = dict(zip(distinct, self.parser.parse(distinct), strict=True)) | {"": SceneGraph()}
        rows = []
        for image in images:
            row = before.get(image.image_id)
            found = [] if row is None else [graphs[cleaned[caption]] for caption in row["captions"]]
            counts["captions"] += len(found)
            counts["captions without entities"] += sum(not graph.entities for graph in found)
            counts["relations"] += sum(len(graph.relations) for graph in found)
            rows.append({"image_id": image.image_id, "graphs": [graph.to_dict() for graph in found]})
        return UnitResult(rows, (), counts)


def _cleaned(caption: str, counts: Counter[str]) -> str:
    """A caption without control characters and what follows its first sixty words."""
    text = "".join(letter if letter.isprintable() else " " for letter in caption)
    counts["captions with control characters"] += text != caption
    words = text.split()
    counts["captions that were cut"] += len(words) > MAX_WORDS
    return " ".join(words[:MAX_WORDS])


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
            counts["images without usable boxes"] += not len(kept_boxes(image)[1])
            counts["images without candidates"] += not any(len(group.pairs) for group in groups)
            rows.append({"image_id": image.image_id, "groups": [group.to_json() for group in groups]})
        return UnitResult(rows, (), counts)


def captions_stage(make: Callable[[], CaptionLookup]) -> CaptionsOfFile:
    """`CaptionsOfFile` with what `make` gives; can be sent to other processes before it is called."""
    return CaptionsOfFile(make())


def parse_stage(make: Callable[[], SceneGraphParser]) -> ParseCaptions:
    """`ParseCaptions`, likewise."""
    return ParseCaptions(make())


def candidates_stage(make: Callable[[], Matcher], options: Mapping[str, Any]) -> FindCandidates:
    """`FindCandidates`, likewise."""
    return FindCandidates(make(), **options)
