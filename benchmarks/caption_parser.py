"""Captions per second and core of the embedded caption parser, and its agreement with hand-made triplets.

The captions are those of the tests, varied so that no two are equal; every round has others.
"""

import argparse
import json
import time
from pathlib import Path

from rlipv2.ops.files import write_atomically
from rlipv2.pseudo_labels.parsing import RuleParser, graph_triplets, score_captions

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "pseudo_labels"
SETS = ("captions_dev", "captions_first", "captions_second", "captions_third")
# Recorded by the authors for sng_parser with spaCy on another machine: 4,555,648 captions in 26,813 s.
OFFICIAL_PER_SECOND = 170


def measure(captions: list[str], rounds: int, per_round: int) -> dict[str, float]:
    """Median and worst captions per CPU second, and seconds until the first caption is parsed."""
    parser = RuleParser()
    start = time.perf_counter()
    parser.parse(captions[:1])
    first = time.perf_counter() - start
    rates = []
    for turn in range(rounds):
        batch = [f"{captions[row % len(captions)]} near {turn} and {row} trees" for row in range(per_round)]
        start = time.process_time()
        parser.parse(batch)
        rates.append(per_round / (time.process_time() - start))
    rates.sort()
    return {"median_per_second": rates[len(rates) // 2], "worst_per_second": rates[0], "first_caption_s": first}


def main() -> None:
    """Prints a table; `--json FILE` writes the figures too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--captions", type=int, default=2000, help="captions of a round")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sets = {name: json.loads((FIXTURES / f"{name}.json").read_text())["captions"] for name in SETS}
    captions = [case["caption"] for cases in sets.values() for case in cases]
    speed = measure(captions, options.rounds, options.captions)
    print(f"{'parser':<34}{'captions/s per core':>20}{'times':>8}")
    print(f"{'sng_parser + spaCy (recorded)':<34}{OFFICIAL_PER_SECOND:>20,}{1:>8.1f}")
    rate = speed["median_per_second"]
    print(f"{'rules, median':<34}{rate:>20,.0f}{rate / OFFICIAL_PER_SECOND:>8.1f}")
    print(f"{'rules, worst round':<34}{speed['worst_per_second']:>20,.0f}")
    print(f"first caption, dictionary included: {speed['first_caption_s']:.2f} s\n")
    figures: dict[str, object] = {"speed": speed}
    print(f"{'captions':<20}{'number':>8}{'lenient F1':>12}{'exact F1':>10}")
    for name, cases in sets.items():
        graphs = RuleParser().parse([case["caption"] for case in cases])
        scores = score_captions(cases, map(graph_triplets, graphs))
        figures[name] = scores.to_dict()
        print(f"{name:<20}{len(cases):>8}{scores.lenient.f1:>12.3f}{scores.exact.f1:>10.3f}")
    if options.json:
        write_atomically(options.json, json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
