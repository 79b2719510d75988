"""What the page of a report shows of single images."""

from collections.abc import Sequence
from typing import Any

from rlipv2.pages.pictures import thumbnail
from rlipv2.pseudo_labels.matching import Matcher
from rlipv2.pseudo_labels.records import SceneGraph
from rlipv2.pseudo_labels.report.statistics import ReportImage
from rlipv2.pseudo_labels.truth import Truth

MOST_RELATIONS = 120
"""Relations of an image that its card knows, best first."""


class Cards:
    """Images as a page shows them: a picture, boxes, relations, captions with what was parsed.

    Args:
        class_names: of the labels.
        matcher: tells which entities of captions are classes; may be None.
        truth: tells which relations are right; may be None.
    """

    def __init__(self, class_names: Sequence[str], matcher: Matcher | None, truth: Truth | None) -> None:
        self.class_names, self.matcher, self.truth = class_names, matcher, truth

    def card(self, report: ReportImage, row: int | None = None) -> dict[str, Any]:
        """Plain values for an image; with `row` for that row of its tags alone."""
        boxes, labels = report.kept
        height, width = report.image.size
        return {
            "id": str(report.image.image_id),
            "file": f"{report.image.split}/{report.image.file_name}",
            "size": [width, height],
            "picture": thumbnail(report.file, report.image.size) if report.file is not None else None,
            "boxes": boxes.round(1).tolist(),
            "names": [self.class_names[label] for label in labels.tolist()],
            "relations": self._relations(report, row),
            "captions": self._captions(report),
            "single": row is not None,
        }

    def _relations(self, report: ReportImage, row: int | None) -> list[list[Any]]:
        """[subject, object, text, score, verdict] of the best relations, best first."""
        tags, image_id = report.tags, report.image.image_id
        rows = (-tags.scores).argsort(kind="stable")[:MOST_RELATIONS].tolist() if row is None else [row]
        true = self.truth.relations_of(image_id) if self.truth is not None and image_id in self.truth else None
        result = []
        for k in rows:
            subject, target = tags.pairs[k].tolist()
            verdict = true.verdict(subject, target, tags.texts[k]) if true is not None else ""
            result.append([subject, target, tags.texts[k], round(float(tags.scores[k]), 3), verdict])
        return result

    def _captions(self, report: ReportImage) -> list[dict[str, Any]]:
        """Every caption with its triplets, each with the class names that its two ends matched."""
        present = list(dict.fromkeys(report.image.labels.tolist()))
        graphs = [*report.graphs, *([SceneGraph()] * (len(report.captions) - len(report.graphs)))]
        return [
            {"text": caption, "triplets": [self._triplet(graph, row, present) for row in range(len(graph.relations))]}
            for caption, graph in zip(report.captions, graphs, strict=False)
        ]

    def _triplet(self, graph: SceneGraph, row: int, present: Sequence[int]) -> dict[str, Any]:
        relation = graph.relations[row]
        ends = (graph.entities[relation.subject], graph.entities[relation.object])
        classes = [self.matcher.classes_of(end.span, present) if self.matcher is not None else () for end in ends]
        return {
            "words": [ends[0].lemma_head, relation.relation, ends[1].lemma_head],
            "classes": [", ".join(self.class_names[label] for label in some) for some in classes],
        }
