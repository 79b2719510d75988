"""`python -m rlipv2.datasets check vg` and `convert vg`."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from rlipv2.datasets.scene_graphs.check import check_scene_graphs
from rlipv2.datasets.scene_graphs.names import NameCounts
from rlipv2.datasets.scene_graphs.reader import read_scene_graphs

Commands = Any  # what argparse's add_subparsers returns


def add_commands(checks: Commands, converts: Commands) -> None:
    """Adds both sub-commands."""
    check = checks.add_parser("vg", help="scene graphs: Visual Genome, or pseudo-labels in its layout")
    check.set_defaults(run=run_check)
    check.add_argument("root", help="folder of the dataset")
    check.add_argument("--annotations", help="the file, if it has another name than usual")
    check.add_argument("--image-paths", help="image_id_to_filepath.json of Objects365")
    check.add_argument("--decode", default="200", help="images to decode: number, fraction (0.01) or all")
    check.add_argument("--max-skip-rate", type=float, default=0.001, help="share of unusable objects or relations")
    names = converts.add_parser("vg", help="count the names of scene graphs, for training to draw from")
    names.set_defaults(run=run_count)
    names.add_argument("source", help="the scene graphs")
    names.add_argument("target", help="file to write, such as annotations/vg_keep_names_v1_no_lias_freq.json")
    names.add_argument("--image-paths", help="image_id_to_filepath.json of Objects365")
    names.add_argument("--relation-threshold", type=float, default=0.2, help="least confidence of a relation")


def run_check(options: argparse.Namespace, console: Console) -> int:
    """Prints the report; 1 where it holds errors."""
    report = check_scene_graphs(
        options.root,
        annotations=options.annotations,
        image_paths=options.image_paths,
        decode=options.decode,
        max_skip_rate=options.max_skip_rate,
    )
    report.print(console)
    return 1 if report.of_level("error") else 0


def run_count(options: argparse.Namespace, console: Console) -> int:
    """Writes the counts and prints how many names there are."""
    image_paths = None if options.image_paths is None else Path(options.image_paths)
    content = read_scene_graphs(Path(options.source), image_paths=image_paths)
    content = content.keep_relations(content.confidences >= options.relation_threshold)
    records = content.records
    names = NameCounts.count(content.objects, records.labels, content.relations, records.relations[:, 2])
    names.write(Path(options.target))
    console.print(f"{options.target}: {len(names.objects):,} objects, {len(names.relations):,} relations")
    return 0
