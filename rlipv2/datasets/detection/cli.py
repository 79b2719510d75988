"""`python -m rlipv2.datasets check coco`, `check objects365` and `convert objects365`."""

import argparse
from typing import Any

from rich.console import Console

from rlipv2.datasets.detection.check import check_detection
from rlipv2.datasets.detection.image_list import write_image_list
from rlipv2.datasets.detection.layouts import LAYOUTS

Commands = Any  # what argparse's add_subparsers returns


def add_commands(checks: Commands, converts: Commands) -> None:
    """Adds a check for each dataset, and the list of images of Objects365."""
    for name, layout in LAYOUTS.items():
        check = checks.add_parser(name, help=f"boxes of {layout.title}")
        check.set_defaults(run=run_check, layout=name)
        check.add_argument("root", help=f"folder of the dataset, see {layout.readme}")
        check.add_argument("--decode", default="200", help="images of each split to decode: number, fraction or all")
    images = converts.add_parser("objects365", help="list where the images lie, for pseudo-labels")
    images.set_defaults(run=run_list)
    images.add_argument("source", help="folder of Objects365")
    images.add_argument("target", help="file to write: image_id_to_filepath.json in that folder")


def run_list(options: argparse.Namespace, console: Console) -> int:
    """Writes the list and prints how many images it has."""
    counts = write_image_list(options.source, options.target)
    console.print(f"{options.target}: {counts['listed']:,} images listed, {counts['missing']:,} without a file")
    return 0


def run_check(options: argparse.Namespace, console: Console) -> int:
    """Prints the report; 1 where it holds errors."""
    report = check_detection(options.root, options.layout, decode=options.decode)
    report.print(console)
    return 1 if report.of_level("error") else 0
