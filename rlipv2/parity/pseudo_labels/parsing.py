"""Recorded scene graphs of dependency trees, and captions with the triplets of a careful reader."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlipv2.parity.entry import Entry
from rlipv2.parity.pseudo_labels.exact import exact_entry
from rlipv2.pseudo_labels.parsing import RuleParser, graph_triplets, score_captions
from rlipv2.pseudo_labels.parsing.dependency import DependencyToken, read_dependencies

ASKED = {"lenient": 0.94, "exact": 0.85}
"""Least F1 of the default parser."""


def check_rules(path: Path, content: Mapping[str, Any]) -> list[Entry]:
    """One entry per dependency tree of `sng_rules.json`."""
    entries = []
    for case in content["cases"]:
        graph = read_dependencies([DependencyToken(**token) for token in case["tokens"]], profile="official")
        entries.append(exact_entry(path.stem, case["name"], graph.to_dict(), case["graph"]))
    return entries


def check_captions(path: Path, content: Mapping[str, Any]) -> list[Entry]:
    """F1 of the default parser on a set of captions, beside what is asked of it."""
    cases = content["captions"]
    graphs = RuleParser().parse([case["caption"] for case in cases])
    scores = score_captions(cases, map(graph_triplets, graphs))
    entries = []
    for name, agreement in (("lenient", scores.lenient), ("exact", scores.exact)):
        shown = f"{name} F1 {agreement.f1:.4f}, precision {agreement.precision:.4f}, recall {agreement.recall:.4f}"
        short = max(0.0, ASKED[name] - agreement.f1)
        passed = agreement.f1 >= ASKED[name]
        entries.append(Entry(path.stem, shown, short, short, f"F1 >= {ASKED[name]}", passed))
    return entries
