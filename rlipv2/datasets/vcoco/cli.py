"""`python -m rlipv2.datasets check vcoco` and `convert vcoco`."""

import argparse
from typing import Any

from rich.console import Console

from rlipv2.datasets.vcoco.check import check_vcoco
from rlipv2.datasets.vcoco.convert import convert
from rlipv2.datasets.vcoco.source import IMAGE_FOLDERS

Commands = Any  # what argparse's add_subparsers returns


def add_commands(checks: Commands, converts: Commands) -> None:
    """Adds both sub-commands."""
    check = checks.add_parser("vcoco", help="V-COCO")
    check.set_defaults(run=run_check)
    check.add_argument("root", help="folder v-coco, or the one that holds it")
    check.add_argument("--annotations", default="auto", help="auto, hoia, release or a HOIA list")
    check.add_argument("--decode", default="200", help="images of each split to decode: number, fraction (0.01) or all")
    change = converts.add_parser("vcoco", help="the release of V-COCO with COCO's instances, to HOIA lists")
    change.set_defaults(run=run_convert)
    change.add_argument("root", help="folder v-coco with data/vcoco/*.json and COCO's instances of 2014")
    change.add_argument("target", help="file to write")
    change.add_argument("--split", choices=sorted(IMAGE_FOLDERS), required=True)


def run_check(options: argparse.Namespace, console: Console) -> int:
    """Prints the report; 1 where it holds errors."""
    report = check_vcoco(options.root, annotations=options.annotations, decode=options.decode)
    report.print(console)
    return 1 if report.of_level("error") else 0


def run_convert(options: argparse.Namespace, console: Console) -> int:
    """Writes the target and prints what it was made from."""
    for key, value in convert(options.root, options.target, options.split).items():
        console.print(f"{key}: {value}", highlight=False)
    return 0
