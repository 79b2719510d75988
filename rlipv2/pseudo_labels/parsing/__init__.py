"""Captions to scene graphs: by embedded rules, or by a dependency parser that the user has."""

from rlipv2.pseudo_labels.parsing.base import CaptionParser, Problem, SceneGraphParser
from rlipv2.pseudo_labels.parsing.build import build_parser
from rlipv2.pseudo_labels.parsing.rules import RuleParser
from rlipv2.pseudo_labels.parsing.scoring import CaptionScores, graph_triplets, score_captions

__all__ = [
    "CaptionParser",
    "CaptionScores",
    "Problem",
    "RuleParser",
    "SceneGraphParser",
    "build_parser",
    "graph_triplets",
    "score_captions",
]
