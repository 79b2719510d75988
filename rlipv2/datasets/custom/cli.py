"""`python -m rlipv2.datasets check custom` and `convert custom`."""

import argparse
from typing import Any

from rich.console import Console

from rlipv2.datasets.custom.check import check_custom
from rlipv2.datasets.custom.convert import convert_coco

Commands = Any  # what argparse's add_subparsers returns


def add_commands(checks: Commands, converts: Commands) -> None:
    """Adds both sub-commands."""
    check = checks.add_parser("custom", help="your own data (docs/custom_data.md)")
    check.set_defaults(run=run_check)
    check.add_argument("root", help="folder with annotations/ and images/")
    check.add_argument("--decode", default="200", help="images of each split to decode: number, fraction (0.01) or all")
    check.add_argument(
        "--label-space",
        choices=["train", "all"],
        default="train",
        help="all: names that training does not show are no error",
    )
    change = converts.add_parser("custom", help="detection annotations in COCO's format, with relations")
    change.set_defaults(run=run_convert)
    change.add_argument("source", help="JSON with images, categories, annotations and, usually, relations")
    change.add_argument("target", help="file to write, such as ROOT/annotations/train.json")
    change.add_argument("--relations", help="JSON with the list of relations, if it is a file of its own")


def run_check(options: argparse.Namespace, console: Console) -> int:
    """Prints the report; 1 where it holds errors."""
    report = check_custom(options.root, decode=options.decode, label_space=options.label_space)
    report.print(console)
    return 1 if report.of_level("error") else 0


def run_convert(options: argparse.Namespace, console: Console) -> int:
    """Writes the target and prints what was counted."""
    for key, value in convert_coco(options.source, options.target, relations=options.relations).items():
        console.print(f"{key}: {value}", highlight=False)
    return 0
