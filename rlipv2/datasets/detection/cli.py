"""`python -m rlipv2.datasets check coco` and `check objects365`."""

import argparse
from typing import Any

from rich.console import Console

from rlipv2.datasets.detection.check import check_detection
from rlipv2.datasets.detection.layouts import LAYOUTS

Commands = Any  # what argparse's add_subparsers returns


def add_commands(checks: Commands, converts: Commands) -> None:
    """Adds a check for each dataset; nothing is converted."""
    for name, layout in LAYOUTS.items():
        check = checks.add_parser(name, help=f"boxes of {layout.title}")
        check.set_defaults(run=run_check, layout=name)
        check.add_argument("root", help=f"folder of the dataset, see {layout.readme}")
        check.add_argument("--decode", default="200", help="images of each split to decode: number, fraction or all")


def run_check(options: argparse.Namespace, console: Console) -> int:
    """Prints the report; 1 where it holds errors."""
    report = check_detection(options.root, options.layout, decode=options.decode)
    report.print(console)
    return 1 if report.of_level("error") else 0
