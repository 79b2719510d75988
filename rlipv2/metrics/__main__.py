"""Evaluates prediction files: `python -m rlipv2.metrics hico --help`."""

import argparse
from collections.abc import Sequence

from rlipv2.metrics.coco import cli as coco
from rlipv2.metrics.files import EvaluationFileError
from rlipv2.metrics.hico import cli as hico
from rlipv2.metrics.open_images import cli as open_images
from rlipv2.metrics.triplets import cli as triplets
from rlipv2.metrics.vcoco import cli as vcoco

PROTOCOLS = (hico, vcoco, open_images, triplets, coco)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; exits with status 2 and one line on stderr if a file cannot be used."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except EvaluationFileError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


def build_parser() -> argparse.ArgumentParser:
    """The options of all protocols, one sub-command each."""
    parser = argparse.ArgumentParser(prog="python -m rlipv2.metrics", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="protocol")
    for protocol in PROTOCOLS:
        protocol.add_command(commands)
    return parser


if __name__ == "__main__":
    main()
