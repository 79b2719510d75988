"""Average precision per action, role and verb from matched V-COCO images."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int, UInt8

from rlipv2.metrics.figures import ClassFigures, class_figures
from rlipv2.metrics.functional import average_precision, recall_levels
from rlipv2.metrics.vcoco.protocol import AGENT, SCENARIO_1, SCENARIO_2, Matches, VCOCOProtocol
from rlipv2.metrics.vcoco.tables import VerbTable
from rlipv2.metrics.vcoco.truth import VCOCOGroundTruth


@dataclass(frozen=True)
class VCOCOResult:
    """The figures of an evaluation; means leave out what has no positives.

    Attributes:
        agent: per action.
        roles: per (action, role) slot, by scenario (1 and 2).
        in_training: per score column, by the rules of the official training log.
        num_positives: persons per action.
        num_labelled: labelled pairs per score column.
        num_images: evaluated images.
        num_skipped: pairs left out because their person has no annotation.
        table: the actions, slots and columns.
    """

    agent: ClassFigures
    roles: dict[int, ClassFigures]
    in_training: ClassFigures
    num_positives: Int[np.ndarray, " a"]
    num_labelled: Int[np.ndarray, " v"]
    num_images: int
    num_skipped: int
    table: VerbTable

    def role_ap(self, scenario: int, *, with_point: bool = False) -> float:
        """Mean over the slots, the published figure; `with_point` adds the one that papers leave out."""
        return self.roles[scenario].mean_ap(None if with_point else self.table.published)

    def map_thesis(self, missing_verbs: Literal["zero", "skip"] = "zero") -> float:
        """The in-training mean over columns with a role, without "point"; see `VCOCOProtocol.missing_verbs`."""
        values = self.in_training.ap[self.table.thesis]
        if missing_verbs == "skip" or not self.num_labelled.any() or not len(values):
            return self.in_training.mean_ap(self.table.thesis)
        return float(np.nan_to_num(values).mean())


def summarise(matches: Matches, truth: VCOCOGroundTruth, table: VerbTable, protocol: VCOCOProtocol) -> VCOCOResult:
    """Average precision of all matched images.

    Ties of scores go to the image that comes first in the ground truth, then to the lower pair (official: an
    unstable sort, backwards). Actions that nobody does get NaN and count in no mean; the official code stops.
    """
    matches = matches.unique()
    positions = matches.images[:, 0]
    positives, labelled = truth.num_positives(positions), truth.num_pairs(positions, len(table.verbs))
    scores, flags = np.ascontiguousarray(matches.scores.T), np.ascontiguousarray(matches.flags.T)
    # Agents of actions with several columns have scores of their own, the largest of them; others share the order.
    several = np.flatnonzero((table.agent_verbs != table.agent_verbs[:, :1]).any(axis=1))
    scores = np.concatenate([scores, scores[table.agent_verbs[several]].max(axis=1)])
    agent_rows = table.agent_verbs[:, 0].copy()
    agent_rows[several] = len(table.verbs) + np.arange(len(several))
    order = np.stack([np.argsort(-row, kind="stable").astype(np.int32) for row in scores])
    agent = _figures(order[agent_rows], flags[table.agent_verbs[:, 0]] & AGENT, positives)
    roles = {
        number: _figures(order[table.slot_verbs], flags[table.slot_verbs] & bit, positives[table.slot_actions])
        for number, bit in ((1, SCENARIO_1), (2, SCENARIO_2))
    }
    in_training_figures = class_figures(
        matches.top_verbs,
        matches.top_scores,
        matches.top_positive > 0,
        labelled,
        recall_levels(protocol.recall_levels),
    )
    skipped = int(matches.images[:, 3].sum())
    return VCOCOResult(agent, roles, in_training_figures, positives, labelled, len(positions), skipped, table)


def _figures(
    order: Int[np.ndarray, "c k"], correct: UInt8[np.ndarray, "c k"], positives: Int[np.ndarray, " c"]
) -> ClassFigures:
    ap, max_recall = np.full((2, len(positives)), np.nan)
    found = np.count_nonzero(correct, axis=1)
    for row in np.flatnonzero(positives):
        ap[row] = average_precision(correct[row, order[row]] > 0, int(positives[row]), None)
        max_recall[row] = found[row] / positives[row]
    return ClassFigures(ap, max_recall, np.full(len(positives), order.shape[1]), found)
