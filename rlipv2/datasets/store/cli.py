"""`python -m rlipv2.datasets build-index` and `verify-index`."""

import argparse
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from rlipv2.datasets.detection import index as detection
from rlipv2.datasets.detection.layouts import LAYOUTS, Split
from rlipv2.datasets.detection.layouts import find_annotations as find_instances
from rlipv2.datasets.errors import DatasetNotFoundError
from rlipv2.datasets.scene_graphs import index as scene_graphs
from rlipv2.datasets.scene_graphs.dataset import find_annotations
from rlipv2.datasets.store.folder import Store, StoreError, open_store
from rlipv2.datasets.store.location import find_stores
from rlipv2.vocabularies import load

Commands = Any  # what argparse's add_subparsers returns


def add_commands(commands: Commands) -> None:
    """Adds both commands."""
    build = commands.add_parser("build-index", help="build the index of annotations that training would build")
    build.set_defaults(run=run_build)
    build.add_argument("corpus", choices=("vg", *LAYOUTS), help="vg: scene graphs, also pseudo-labels; others: boxes")
    build.add_argument("root", help="folder of the dataset")
    build.add_argument("--index", help="folder of the index, by default .rlipv2-index in the root")
    build.add_argument("--rebuild", action="store_true", help="also where it is there and the annotations are the same")
    build.add_argument("--annotations", help="vg: the file, if it has another name than usual")
    build.add_argument("--image-paths", help="vg: image_id_to_filepath.json of Objects365, in the root")
    build.add_argument("--lower-case", action="store_true", help="vg: names in lower case")
    build.add_argument("--split", choices=get_args(Split), help="boxes: one split, by default those that are there")
    verify = commands.add_parser("verify-index", help="read an index and compare its checksums")
    verify.set_defaults(run=run_verify)
    verify.add_argument("folder", help="folder of the dataset, or of its index")


def run_build(options: argparse.Namespace, console: Console) -> int:
    """Builds what is not there yet and prints what is in it."""
    stores = _scene_graphs(options) if options.corpus == "vg" else _instances(options)
    start = time.monotonic()
    for store, counts in stores:
        described = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        seconds, size = time.monotonic() - start, sum(path.stat().st_size for path in store.folder.glob("*.arrow"))
        console.print(
            f"{store.folder}: {described}; {size / 1e6:,.1f} MB, {seconds:,.1f} s", highlight=False, soft_wrap=True
        )
        start = time.monotonic()
    return 0


def run_verify(options: argparse.Namespace, console: Console) -> int:
    """Prints a line for every store; 1 where one is damaged."""
    folder = Path(options.folder).expanduser()
    stores, damaged = find_stores(folder), 0
    if not stores:
        todo = "`python -m rlipv2.datasets build-index` makes one"
        raise DatasetNotFoundError.missing("index", folder, todo)
    for store in stores:
        try:
            open_store(store, verify=True)
            found = "ok"
        except StoreError as error:
            damaged, found = damaged + 1, f"{error}; training builds it anew, or delete the folder"
        console.print(f"{store.name}: {found}", highlight=False, soft_wrap=True)
    return 1 if damaged else 0


def _scene_graphs(options: argparse.Namespace) -> Iterator[tuple[Store, Any]]:
    root = Path(options.root).expanduser()
    store = scene_graphs.index_scene_graphs(
        root,
        find_annotations(root, options.annotations),
        image_paths=None if options.image_paths is None else root / options.image_paths,
        lower_case=options.lower_case,
        index=options.index,
        rebuild=options.rebuild,
    )
    yield store, scene_graphs.describe(store)


def _instances(options: argparse.Namespace) -> Iterator[tuple[Store, Any]]:
    root, layout = Path(options.root).expanduser(), LAYOUTS[options.corpus]
    there = [split for split in get_args(Split) if (root / layout.annotations[split]).is_file()]
    for split in [options.split] if options.split else there or get_args(Split):
        store = detection.index_instances(
            root,
            find_instances(root, split, options.corpus),
            load(options.corpus),
            split=split,
            image_path=partial(layout.image_path, split),
            index=options.index,
            rebuild=options.rebuild,
        )
        yield store, detection.describe(store)
