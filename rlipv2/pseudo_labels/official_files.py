"""Files of the official pipeline that are read in the place of a stage: scene graphs, candidates, scored relations."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rlipv2.datasets.errors import AnnotationError
from rlipv2.datasets.json_stream import Watch, iterate_members, iterate_records
from rlipv2.pseudo_labels.batches import ImageFailure
from rlipv2.pseudo_labels.by_image import RecordsByImage, image_id_of
from rlipv2.pseudo_labels.candidates import image_boxes_xywh, kept_boxes
from rlipv2.pseudo_labels.records import Group, LabelledImage, SceneGraph, Tags
from rlipv2.pseudo_labels.units import UnitResult

CLOSE = 0.51
"""Pixels that a box may differ from the annotations: official files have rounded ones at times."""


class GraphFile(RecordsByImage):
    """Scene graphs by image: `{"<image id>": [graph, ...], ...}` as sng_parser gives them, or as `export` wrote them.

    Args:
        path: of the file.
        index: see `RecordsByImage`.
    """

    def __init__(self, path: str | Path, *, index: str | Path | None = None) -> None:
        super().__init__(path, _graphs, kind="graphs", index=index)


class CandidateFile(RecordsByImage):
    """Candidates by image, the official "tagger input": `{"<image id>": [[[[s, o], ...], [text, ...]], ...], ...}`.

    Args:
        path: of the file.
        index: see `RecordsByImage`.
    """

    def __init__(self, path: str | Path, *, index: str | Path | None = None) -> None:
        super().__init__(path, _candidates, kind="candidates", index=index)


class AnnotationFiles:
    """Scored relations by image: one or several lists of annotations (official: one of each segment).

    Args:
        paths: of the files.
        index: see `RecordsByImage`.

    Attributes:
        sha256: checksums of the files.
        path: of the first one.
    """

    def __init__(self, paths: Sequence[str | Path], *, index: str | Path | None = None) -> None:
        self.files = [RecordsByImage(path, _scored, kind="annotations", index=index) for path in paths]
        self.sha256, self.path = [file.sha256 for file in self.files], self.files[0].path

    def records_of(self, image_ids: Sequence[int]) -> list[list[Any]]:
        """The records of each image, file by file."""
        found = [file.records_of(image_ids) for file in self.files]
        return [[record for some in of_image for record in some] for of_image in zip(*found, strict=True)]

    def count_unknown(self, image_ids: Int[np.ndarray, " n"]) -> int:
        """How many images they have records of that are not among these."""
        return sum(file.count_unknown(image_ids) for file in self.files)


class GraphsOfFile:
    """Looks up the scene graphs of the images of a unit.

    Args:
        graphs: where.
    """

    def __init__(self, graphs: GraphFile) -> None:
        self.graphs = graphs

    def __call__(self, images: list[LabelledImage], before: Mapping[int, Any]) -> UnitResult:
        """A row per image, also of those without graphs."""
        found = self.graphs.records_of([image.image_id for image in images])
        rows = [{"image_id": image.image_id, "graphs": some} for image, some in zip(images, found, strict=True)]
        counts = {
            "captions": sum(map(len, found)),
            "images without graphs": sum(not some for some in found),
            "relations": sum(len(graph["relations"]) for some in found for graph in some),
        }
        return UnitResult(rows, (), counts)


class CandidatesOfFile:
    """Looks up the candidates of the images of a unit.

    Args:
        candidates: where.
    """

    def __init__(self, candidates: CandidateFile) -> None:
        self.candidates = candidates

    def __call__(self, images: list[LabelledImage], before: Mapping[int, Any]) -> UnitResult:
        """A row per image, also of those without candidates."""
        found = self.candidates.records_of([image.image_id for image in images])
        rows = [{"image_id": image.image_id, "groups": some} for image, some in zip(images, found, strict=True)]
        pairs = [sum(len(pairs) for pairs, _ in some) for some in found]
        counts = {
            "pairs": sum(pairs),
            "groups": sum(map(len, found)),
            "images without candidates": sum(not number for number in pairs),
        }
        return UnitResult(rows, (), counts)


class TagsOfFiles:
    """Looks up the scored relations of the images of a unit.

    An image whose boxes are not those of the annotations, in their order, fails: its relations would be of others.

    Args:
        annotations: where.
        class_names: of the labels.
    """

    def __init__(self, annotations: AnnotationFiles, class_names: Sequence[str]) -> None:
        self.annotations, self.class_names = annotations, class_names

    def __call__(self, images: list[LabelledImage], before: Mapping[int, Any]) -> UnitResult:
        """A row per image that the files list, and a failure for each that does not fit."""
        rows, failures, counts = [], [], Counter[str]()
        for image, records in zip(
            images, self.annotations.records_of([image.image_id for image in images]), strict=True
        ):
            counts["images without a record"] += not records
            if not records:
                continue
            wrong = next((text for record in records if (text := self._misfit(record, image))), None)
            if wrong is not None:
                failures.append(ImageFailure(image.image_id, "other boxes", wrong))
                continue
            tags = _joined(records)
            rows.append((image.image_id, tags))
            counts["images tagged"] += 1
            counts["relations"] += len(tags)
            counts["images tagged without relations"] += not len(tags)
        return UnitResult(rows, failures, counts)

    def _misfit(self, record: Mapping[str, Any], image: LabelledImage) -> str | None:
        """Why a record is not about the kept boxes of an image."""
        boxes, labels = image_boxes_xywh(image), kept_boxes(image)[1]
        objects = record["objects"]
        if len(objects) != len(labels):
            return f"the record has {len(objects)} objects, the image {len(labels)} boxes"
        for row, (told, box, label) in enumerate(zip(objects, boxes.tolist(), labels.tolist(), strict=True)):
            if np.abs(np.array(told["box"]) - np.array(box)).max() > CLOSE:
                return f"object {row} of the record: {told['box']}, box {row} of the image: {box}"
            if told["name"] != self.class_names[label]:
                return f"object {row} of the record: {told['name']!r}, the box is a {self.class_names[label]!r}"
        return None


def _joined(records: Sequence[Mapping[str, Any]]) -> Tags:
    relations = [row for record in records for row in record["relations"]]
    return Tags(
        np.array([row[:2] for row in relations], np.int64).reshape(-1, 2),
        tuple(row[2] for row in relations),
        np.array([row[3] for row in relations], np.float32),
    )


def _graphs(path: Path, watch: Watch) -> Iterator[tuple[int, Any]]:
    for image, number, content in _lists_of_images(path, watch, "scene graphs"):
        try:
            graph = SceneGraph.from_dict(content)
            texts = [entity.span for entity in graph.entities] + [row.relation for row in graph.relations]
            _check_types(texts, str, "a span or relation is no text")
            ends = [end for row in graph.relations for end in (row.subject, row.object)]
            _check_types(ends, int, "an end is no whole number")
            yield image, graph.to_dict()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _no_record(path, number, image, content, "scene graph", error) from None


def _candidates(path: Path, watch: Watch) -> Iterator[tuple[int, Any]]:
    for image, number, content in _lists_of_images(path, watch, "candidates"):
        try:
            group = Group.from_json(content)
            _check_types(group.texts, str, "a text is no string")
            _check_types([end for pair in content[0] for end in pair], int, "a box is no whole number")
            yield image, group.to_json()
        except (TypeError, ValueError) as error:
            raise _no_record(path, number, image, content, "[pairs, texts]", error) from None


def _scored(path: Path, watch: Watch) -> Iterator[tuple[int, Any]]:
    """Objects as name and box, relations as rows of the objects, text and score."""
    for number, record in enumerate(iterate_records(path, watch=watch)):
        image = record.get("image_id") if isinstance(record, dict) else None
        try:
            rows = {row["object_id"]: place for place, row in enumerate(record["objects"])}
            objects = [
                {"name": str(row["names"]), "box": [float(row[key]) for key in "xywh"]} for row in record["objects"]
            ]
            relations: list[list[Any]] = [
                [rows[row["subject_id"]], rows[row["object_id"]], str(row["predicate"]), float(row["confidence"])]
                for row in record["relationships"]
            ]
            if not all(0 <= row[3] <= 1 for row in relations):
                raise ValueError("a confidence is not from 0 to 1")
            yield int(record["image_id"]), {"objects": objects, "relations": relations}
        except (KeyError, TypeError, ValueError) as error:
            raise _no_record(path, number, image, record, "annotation with confidences", error) from None


def _lists_of_images(path: Path, watch: Watch, what: str) -> Iterator[tuple[int, int, Any]]:
    """(image id, number, element) of an object of lists whose keys are image ids."""
    todo = f'expected {{"<image id>": [...], ...}} with the {what} of each image'
    for key, number, element in iterate_members(path, watch=watch, expected=todo):
        image = image_id_of(key)
        if image is None:
            raise AnnotationError.in_file(path, f"{key!r} is no image id", todo)
        if number >= 0:
            yield image, number, element
        elif element != []:
            raise AnnotationError.in_record(path, 0, key, field=what, value=element, wrong="no list", todo=todo)


def _check_types(values: Iterable[Any], kind: type, wrong: str) -> None:
    if not all(type(value) is kind for value in values):
        raise TypeError(wrong)


def _no_record(path: Path, number: int, image: Any, value: Any, what: str, error: Exception) -> AnnotationError:
    wrong = f"no {what} ({type(error).__name__}: {error})"
    return AnnotationError.in_record(path, number, image, field="record", value=value, wrong=wrong, todo="see the docs")
