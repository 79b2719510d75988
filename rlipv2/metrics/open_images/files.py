"""Evaluation of Open Images prediction files; layouts: `rlipv2.metrics.pair_files` and `scene_graph_files`."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from rlipv2.metrics.open_images.protocol import (
    OpenImagesMatches,
    OpenImagesProtocol,
    literature_candidates,
    match_images,
    official_candidates,
)
from rlipv2.metrics.open_images.summary import (
    LiteratureResult,
    OfficialResult,
    summarise_literature,
    summarise_official,
)
from rlipv2.metrics.pair_files import PairPredictionFile
from rlipv2.metrics.pairs import TripletClasses
from rlipv2.metrics.scene_graph_files import SceneGraphFile, runs


@dataclass(frozen=True)
class OpenImagesResults:
    """What `evaluate` makes of a prediction file.

    Attributes:
        official: one result per set of rules asked for, in this order.
        literature: by the other protocol.
        classes: the triplet classes of the ground truth.
    """

    official: tuple[OfficialResult, ...]
    literature: LiteratureResult
    classes: TripletClasses


def evaluate(
    predictions: PairPredictionFile,
    labels: SceneGraphFile,
    variants: Sequence[OpenImagesProtocol],
    *,
    step: int = 128,
) -> OpenImagesResults:
    """The figures of a prediction file by several rules, holding `step` images in memory at a time.

    Rules that differ in `phrase_index_bug` only share all matching, and all share the ranking.

    Args:
        predictions: an open prediction file.
        labels: the ground truth it was opened with.
        variants: rules of the official protocol, at least one.
        step: images per run.

    Raises:
        EvaluationFileError: values that are not finite, or classes, relations or boxes out of range.
    """
    classes = TripletClasses(labels.triplets())
    shared = {variant: dataclasses.replace(variant, phrase_index_bug=True) for variant in variants}
    parts: dict[OpenImagesProtocol, list[OpenImagesMatches]] = {rules: [] for rules in shared.values()}
    for pairs, scores, truth, positions in runs(predictions, labels, step):
        official, literature = official_candidates(pairs, scores), literature_candidates(pairs, scores)
        for rules, matched in parts.items():
            matched.append(match_images(official, literature, truth, classes, rules, indices=positions))
    matches = {rules: OpenImagesMatches.concatenate(matched).unique() for rules, matched in parts.items()}
    return OpenImagesResults(
        tuple(summarise_official(matches[shared[rules]], len(classes), rules) for rules in variants),
        summarise_literature(next(iter(matches.values())), classes, predictions.num_relations),
        classes,
    )
