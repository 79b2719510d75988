"""`python -m rlipv2.datasets check hico` and `convert hico`."""

import argparse
from typing import Any, Literal

from rich.console import Console

from rlipv2.datasets.hico.check import check_hico
from rlipv2.datasets.hico.convert import convert

Commands = Any  # what argparse's add_subparsers returns


def add_commands(checks: Commands, converts: Commands) -> None:
    """Adds both sub-commands."""
    check = checks.add_parser("hico", help="HICO-DET")
    check.set_defaults(run=run_check)
    check.add_argument("root", help="folder hico_20160224_det, or the one that holds it")
    check.add_argument("--annotations", default="auto", help="auto, ppdm, mat, hicodet_json or a file")
    check.add_argument("--decode", default="200", help="images of each split to decode: number, fraction (0.01) or all")
    check.add_argument(
        "--max-skip-rate", type=float, default=0.001, help="share of training images that may be skipped"
    )
    change = converts.add_parser("hico", help="annotations of HICO-DET")
    change.set_defaults(run=run_convert)
    change.add_argument("source", help="anno_bbox.mat, a file of fredzzhang/hicodet, or a PPDM list")
    change.add_argument("target", help="file to write")
    change.add_argument("--to", choices=["hoia", "hicodet_json", "scene_graphs"], default="hoia")
    change.add_argument("--split", choices=["train", "test"], required=True)
    change.add_argument("--shift", choices=["ppdm", "none", "all", "topleft"], default="ppdm")
    change.add_argument("--merge-iou", type=_merge_iou, default="ppdm", help="a number, none, or ppdm")
    change.add_argument("--images", help="image folder, read for sizes where the source has none")


def run_check(options: argparse.Namespace, console: Console) -> int:
    """Prints the report; 1 where it holds errors."""
    report = check_hico(
        options.root, annotations=options.annotations, decode=options.decode, max_skip_rate=options.max_skip_rate
    )
    report.print(console)
    return 1 if report.of_level("error") else 0


def run_convert(options: argparse.Namespace, console: Console) -> int:
    """Writes the target and prints what it was made from."""
    metadata = convert(
        options.source,
        options.target,
        options.split,
        to=options.to,
        shift=options.shift,
        merge_iou=options.merge_iou,
        images=options.images,
    )
    for key, value in metadata.items():
        console.print(f"{key}: {value}", highlight=False)
    return 0


def _merge_iou(text: str) -> float | Literal["ppdm"] | None:
    if text == "ppdm":
        return "ppdm"
    return None if text == "none" else float(text)
