"""`python -m rlipv2.datasets check vg` and `convert vg`."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from rlipv2.datasets.scene_graphs.check import check_scene_graphs
from rlipv2.datasets.scene_graphs.names import NameCounts
from rlipv2.datasets.scene_graphs.preprocess import convert
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
    change = converts.add_parser(
        "vg", help="preprocess the release of Visual Genome, or count the names of scene graphs"
    )
    change.set_defaults(run=run_convert)
    change.add_argument("source", help="the scene graphs; of the release also their folder")
    change.add_argument("target", help="file to write, such as annotations/scene_graphs_preprocessv1.json")
    change.add_argument(
        "--to",
        choices=["scene_graphs", "names"],
        default="names",
        help="scene_graphs: what RLIP trains on, from scene_graphs.json of the release; names: how often each name "
        "occurs, for training to draw from (annotations/vg_keep_names_v1_no_lias_freq.json)",
    )
    names = change.add_argument_group("to names")
    names.add_argument("--image-paths", help="image_id_to_filepath.json of Objects365")
    names.add_argument("--relation-threshold", type=float, default=0.2, help="least confidence of a relation")
    graphs = change.add_argument_group("to scene_graphs")
    graphs.add_argument(
        "--aliases",
        default="auto",
        help="folder of object_alias.txt and relationship_alias.txt, auto (beside them), none",
    )
    graphs.add_argument("--iou-threshold", type=float, default=0.7, help="of relations that are nearly the same")
    graphs.add_argument("--max-relations", type=int, default=100, help="relations of an image that stay")
    graphs.add_argument("--min-count", type=int, default=0, help="least number of times that names occur")


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


def run_convert(options: argparse.Namespace, console: Console) -> int:
    """Writes the target and prints what is in it."""
    return _write_names(options, console) if options.to == "names" else _write_scene_graphs(options, console)


def _write_scene_graphs(options: argparse.Namespace, console: Console) -> int:
    with console.status("0 images") as status:
        metadata = convert(
            options.source,
            options.target,
            aliases=None if options.aliases == "none" else options.aliases,
            iou_threshold=options.iou_threshold,
            max_relations=options.max_relations,
            min_count=options.min_count,
            progress=lambda images: status.update(f"{images:,} images") if images % 1000 == 0 else None,
        )
    for key, value in metadata.items():
        console.print(f"{key}: {value:,}" if type(value) is int else f"{key}: {value}", highlight=False)
    return 0


def _write_names(options: argparse.Namespace, console: Console) -> int:
    image_paths = None if options.image_paths is None else Path(options.image_paths)
    content = read_scene_graphs(Path(options.source), image_paths=image_paths)
    content = content.keep_relations(content.confidences >= options.relation_threshold)
    records = content.records
    names = NameCounts.count(content.objects, records.labels, content.relations, records.relations[:, 2])
    names.write(Path(options.target))
    console.print(f"{options.target}: {len(names.objects):,} objects, {len(names.relations):,} relations")
    return 0
