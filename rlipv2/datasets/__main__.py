"""Checks and converts datasets on disk, and builds their index.

python -m rlipv2.datasets check hico data/hico_20160224_det --decode 0.01
python -m rlipv2.datasets convert hico anno_bbox.mat annotations/trainval_hico.json --split train
python -m rlipv2.datasets build-index vg data/vg
"""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from rlipv2.datasets.custom import cli as custom
from rlipv2.datasets.detection import cli as detection
from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError, ImageFileError
from rlipv2.datasets.hico import cli as hico
from rlipv2.datasets.open_images import cli as open_images
from rlipv2.datasets.scene_graphs import cli as scene_graphs
from rlipv2.datasets.store import cli as store
from rlipv2.datasets.vcoco import cli as vcoco

DATASETS = (hico, detection, vcoco, open_images, scene_graphs, custom)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; the exit status is 1 where errors were found, 2 where the command could not run."""
    options = build_parser().parse_args(arguments)
    try:
        status: int = options.run(options, Console())
    except (AnnotationError, DatasetNotFoundError, ImageFileError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return status


def build_parser() -> argparse.ArgumentParser:
    """The options of all commands and datasets."""
    parser = argparse.ArgumentParser(prog="python -m rlipv2.datasets", description="Check, convert and index datasets.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="look for everything that is wrong with a dataset folder")
    convert = commands.add_parser("convert", help="write annotations in another format")
    checks = check.add_subparsers(dest="dataset", required=True)
    converts = convert.add_subparsers(dest="dataset", required=True)
    for dataset in DATASETS:
        dataset.add_commands(checks, converts)
    store.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
