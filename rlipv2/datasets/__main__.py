"""Checks and converts datasets on disk.

python -m rlipv2.datasets check hico data/hico_20160224_det --decode 0.01
python -m rlipv2.datasets convert anno_bbox.mat annotations/trainval_hico.json --split train
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Literal

from rich.console import Console

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError, ImageFileError
from rlipv2.datasets.hico_check import check_hico
from rlipv2.datasets.hico_convert import convert


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; the exit status is 1 where errors were found, 2 where the command could not run."""
    options = _parser().parse_args(arguments)
    console = Console()
    try:
        if options.command == "check":
            report = check_hico(
                options.root,
                annotations=options.annotations,
                decode=options.decode,
                max_skip_rate=options.max_skip_rate,
            )
            report.print(console)
            return 1 if report.of_level("error") else 0
        metadata = convert(
            options.source,
            options.target,
            options.split,
            to=options.to,
            shift=options.shift,
            merge_iou=options.merge_iou,
            images=options.images,
        )
    except (AnnotationError, DatasetNotFoundError, ImageFileError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for key, value in metadata.items():
        console.print(f"{key}: {value}", highlight=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rlipv2.datasets", description="Check and convert datasets.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="look for everything that is wrong with a dataset folder")
    check.add_argument("dataset", choices=["hico"])
    check.add_argument("root", help="folder hico_20160224_det, or the one that holds it")
    check.add_argument("--annotations", default="auto", help="auto, ppdm, mat, hicodet_json or a file")
    check.add_argument("--decode", default="200", help="images of each split to decode: number, fraction (0.01) or all")
    check.add_argument(
        "--max-skip-rate", type=float, default=0.001, help="share of training images that may be skipped"
    )
    change = commands.add_parser("convert", help="convert annotations of HICO-DET")
    change.add_argument("source", help="anno_bbox.mat, a file of fredzzhang/hicodet, or a PPDM list")
    change.add_argument("target", help="file to write")
    change.add_argument("--to", choices=["hoia", "hicodet_json"], default="hoia")
    change.add_argument("--split", choices=["train", "test"], required=True)
    change.add_argument("--shift", choices=["ppdm", "none", "all", "topleft"], default="ppdm")
    change.add_argument("--merge-iou", type=_merge_iou, default="ppdm", help="a number, none, or ppdm")
    change.add_argument("--images", help="image folder, read for sizes where the source has none")
    return parser


def _merge_iou(text: str) -> float | Literal["ppdm"] | None:
    if text == "ppdm":
        return "ppdm"
    return None if text == "none" else float(text)


if __name__ == "__main__":
    sys.exit(main())
