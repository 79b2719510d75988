"""`python -m rlipv2.datasets check open_images`."""

import argparse
from typing import Any

from rich.console import Console

from rlipv2.datasets.open_images.check import check_open_images

Commands = Any  # what argparse's add_subparsers returns


def add_commands(checks: Commands, converts: Commands) -> None:
    """Adds the sub-command; there is nothing to convert, both formats are read directly."""
    check = checks.add_parser("open_images", help="Open Images v6, scene graphs")
    check.set_defaults(run=run_check)
    check.add_argument("root", help="folder open_image_v6, or the one that holds it")
    check.add_argument("--annotations", choices=["auto", "vrd", "rlipv2"], default="auto")
    check.add_argument("--decode", default="200", help="images of each split to decode: number, fraction (0.01) or all")
    check.add_argument(
        "--max-skip-rate", type=float, default=0.001, help="share of training images that may be skipped"
    )


def run_check(options: argparse.Namespace, console: Console) -> int:
    """Prints the report; 1 where it holds errors."""
    report = check_open_images(
        options.root, annotations=options.annotations, decode=options.decode, max_skip_rate=options.max_skip_rate
    )
    report.print(console)
    return 1 if report.of_level("error") else 0
