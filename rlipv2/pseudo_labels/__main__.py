"""`python -m rlipv2.pseudo_labels prior ANNOTATIONS OUT`: the relations that Visual Genome has between two classes.

The file is what `candidates.prior` and `merge.prior` of pseudo_label.py take.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rlipv2 import vocabularies
from rlipv2.pseudo_labels.prior import write_prior
from rlipv2.pseudo_labels.stages import make_matcher


def main(argv: Sequence[str] | None = None) -> int:
    """Counts one file; exit status 2 if it cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m rlipv2.pseudo_labels", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prior", help="relations between classes, counted in annotations with names")
    command.add_argument("annotations", type=Path, help="in the layout of Visual Genome, as pre-training reads it")
    command.add_argument("out", type=Path, help="JSON to write: {subject: {object: [relation, ...]}}")
    command.add_argument("--classes", choices=("coco", "objects365"), default="coco", help="between which classes")
    command.add_argument(
        "--matcher", choices=("official", "lexical"), default="official", help="how names stand for classes"
    )
    command.add_argument("--min-count", type=int, default=1, help="how often a relation must occur between two classes")
    args = parser.parse_args(argv)
    try:
        matcher = make_matcher(vocabularies.load(args.classes).names, matcher=args.matcher)
        number = write_prior(args.annotations, args.out, matcher, min_count=args.min_count)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{args.out}: {number:,} relations of two classes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
