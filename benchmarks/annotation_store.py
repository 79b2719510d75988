"""Index of an Objects365-size corpus: time and memory of the build, opening, loader workers, random access.

Writes pseudo-labelled scene graphs and instance annotations in the formats of the releases, with an empty file for each
image, builds both indices through the commands of the project, each in a process of its own, and measures.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from rlipv2.datasets import COCODetection, SceneGraphs
from rlipv2.datasets.__main__ import main as main_of_datasets
from rlipv2.vocabularies import load

FULL = {"images": 1_800_000, "boxes": 27_000_000, "relations": 20_000_000}
PREDICATES = 1_141
PATCHES = 51
GRAPHS, PATHS = "rel_annotations/o365.json", "image_id_to_filepath.json"
READING = {"annotations": GRAPHS, "image_paths": PATHS, "max_relations": 100, "unrelated_images": "drop"}


def write_corpus(root: Path, images: int) -> dict[str, int]:
    """Writes both annotation files, the list of images and empty image files; returns counts and sizes."""
    draw, names = random.Random(0), load("objects365").names
    counts = {"images": images, "boxes": 0, "relations": 0}
    for folder in ("rel_annotations", *(f"train/patch{patch}" for patch in range(PATCHES))):
        (root / folder).mkdir(parents=True, exist_ok=True)
    listed = {}
    with (
        (root / GRAPHS).open("w") as graphs,
        (root / "train/zhiyuan_objv2_train.json").open("w") as instances,
        tempfile.TemporaryFile("w+", dir=root) as boxes_file,
    ):
        graphs.write("[")
        instances.write('{"images": [')
        for image in range(1, images + 1):
            name = f"patch{image % PATCHES}/objects365_v1_{image:08d}.jpg"
            (root / "train" / name).touch()
            listed[str(image)] = f"train/{name}"
            separator = ", " if image > 1 else ""
            instances.write(
                f'{separator}{{"id": {image}, "file_name": "images/v1/{name}", "height": 512, "width": 768}}'
            )
            objects, relations = draw.randint(1, 29), draw.randint(0, 22)  # 15 and 11 in the mean
            _write_graph(graphs, separator, image, [objects, relations], counts, draw, names, boxes_file)
            counts["boxes"] += objects
            counts["relations"] += relations
        graphs.write("]")
        instances.write('], "annotations": [')
        boxes_file.seek(0)
        shutil.copyfileobj(boxes_file, instances)
        classes = [{"id": row + 1, "name": raw} for row, raw in enumerate(load("objects365").raw_names)]
        instances.write(f'], "categories": {json.dumps(classes)}}}')
    (root / PATHS).write_text(json.dumps(listed))
    return counts | {"bytes": (root / GRAPHS).stat().st_size}


def _write_graph(
    file: Any,
    separator: str,
    image: int,
    sizes: list[int],
    totals: dict[str, int],
    draw: random.Random,
    names: Any,
    instances: Any,
) -> None:
    number, boxes, draw_from = totals["boxes"], [], len(names)
    for row in range(number, number + sizes[0]):
        label = draw.randrange(draw_from)
        x, y, w, h = (round(draw.uniform(1, 300), 4) for _ in range(4))
        boxes.append(
            f'{{"object_id": {20_000_000 + row}, "x": {x}, "y": {y}, "w": {w}, "h": {h}, '
            f'"names": {json.dumps(names[label])}, "synsets": []}}'
        )
        instances.write(
            f'{", " if row else ""}{{"id": {row + 1}, "iscrowd": 0, "isfake": 0, "area": {w * h}, "isreflected": 0, '
            f'"bbox": [{x}, {y}, {w}, {h}], "image_id": {image}, "category_id": {label + 1}}}'
        )
    relations = [
        f'{{"relationship_id": {20_000_000 + row}, "predicate": "predicate {draw.randrange(PREDICATES)}", '
        f'"synsets": [], "subject_id": {20_000_000 + number + draw.randrange(sizes[0])}, '
        f'"object_id": {20_000_000 + number + draw.randrange(sizes[0])}, "confidence": {draw.uniform(0.05, 0.9)}}}'
        for row in range(totals["relations"], totals["relations"] + sizes[1])
    ]
    file.write(
        f'{separator}{{"image_id": {image}, "dataset": "o365", "data_split": "train", '
        f'"objects": [{", ".join(boxes)}], "relationships": [{", ".join(relations)}]}}'
    )


def build(arguments: list[str]) -> dict[str, float]:
    """Seconds without the start of the interpreter, and peak memory in MB, of a `build-index` command."""
    seconds, peak = in_process(_build, arguments)
    return {"seconds": seconds, "peak_mb": peak}


def in_process(function: Any, *arguments: Any) -> tuple[float, float]:
    """What a function returns in a new process, and the peak memory of that process in MB."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        result: tuple[float, float] = pool.apply(_with_peak, (function, *arguments))
    return result


def _with_peak(function: Any, *arguments: Any) -> tuple[float, float]:
    return function(*arguments), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _build(arguments: list[str]) -> float:
    start = time.monotonic()
    if main_of_datasets(["build-index", *arguments]):
        raise SystemExit("build-index failed")
    return time.monotonic() - start


def opened(kind: str, root: Path) -> "Dataset[Any]":
    """The dataset that training would make."""
    if kind == "scene graphs":
        return SceneGraphs(root, names=None, **READING)  # type: ignore[arg-type]
    return COCODetection(root, "train", layout="objects365")


def opening(kind: str, root: Path) -> dict[str, float]:
    """Seconds of opening, the first time under these options and again, and peak memory of the first in MB."""
    (first, peak), (again, _) = (in_process(_open, kind, root) for _ in range(2))
    return {"first_seconds": first, "first_peak_mb": peak, "seconds": again}


def _open(kind: str, root: Path) -> float:
    start = time.monotonic()
    opened(kind, root)
    return time.monotonic() - start


class Annotations(Dataset[tuple[int, float]]):
    """The annotations of a dataset without its images, and the private memory of the worker that read them."""

    def __init__(self, data: Any, kind: str) -> None:
        self.data, self.kind = data, kind

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[int, float]:
        self.read(index)
        return os.getpid(), private_mb() if index % 100 == 0 else 0.0

    def read(self, index: int) -> Any:
        """Boxes and relations of an image."""
        return self.data.annotation(index) if self.kind == "scene graphs" else self.data.records.annotation(index)


def private_mb() -> float:
    """Memory that only this process has, in MB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def workers(data: Annotations, reads: int, method: str) -> list[float]:
    """Largest private memory in MB of each of two loader workers over this many random reads."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:reads].tolist()
    order = [index - index % 100 if place % 50 == 0 else index for place, index in enumerate(order)]
    loader = DataLoader(
        data, batch_size=50, sampler=order, num_workers=2, multiprocessing_context=method, collate_fn=list
    )
    largest: dict[int, float] = {}
    for process, memory in _items(loader):
        largest[process] = max(largest.get(process, 0.0), memory)
    return sorted(largest.values())


def _items(loader: Any) -> Iterator[tuple[int, float]]:
    for batch in loader:
        yield from batch


def access(data: Annotations, reads: int) -> dict[str, float]:
    """Median and 99th percentile of random reads in milliseconds."""
    order, times = np.random.default_rng(0).integers(0, len(data), reads), []
    for index in order.tolist():
        start = time.perf_counter()
        data.read(index)
        times.append(time.perf_counter() - start)
    return {"median_ms": float(np.median(times)) * 1000, "p99_ms": float(np.percentile(times, 99)) * 1000}


def measure(kind: str, command: list[str], root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one kind of annotations."""
    result: dict[str, Any] = {"build": build([*command, "--rebuild"]), "opening": opening(kind, root)}
    data = Annotations(opened(kind, root), kind)
    result["access"] = access(data, options.reads)
    result["worker_private_mb"] = {method: workers(data, options.reads, method) for method in ("fork", "spawn")}
    return result


def report(kind: str, result: dict[str, Any], scale: float) -> None:
    """Prints the figures, and those to expect at full scale."""
    built, opening_, access_ = result["build"], result["opening"], result["access"]
    print(f"{kind}:")
    print(f"  build           {built['seconds']:8.1f} s, at full scale about {built['seconds'] / scale / 60:.1f} min")
    print(f"  peak memory     {built['peak_mb']:8.0f} MB (asked at full scale: under 2,000)")
    print(
        f"  first opening   {opening_['first_seconds']:8.2f} s, at full scale about "
        f"{opening_['first_seconds'] / scale:.0f} s; {opening_['first_peak_mb']:.0f} MB"
    )
    print(f"  opening         {opening_['seconds']:8.3f} s (asked: under 2)")
    print(f"  random access   {access_['median_ms']:8.3f} ms median, {access_['p99_ms']:.3f} ms p99 (asked: under 1)")
    for method, memory in result["worker_private_mb"].items():
        shown = ", ".join(f"{value:.0f}" for value in memory)
        note = " (asked: under 100)" if method == "fork" else " (with imports, see above)"
        print(f"  workers, {method:6s} {shown} MB private{note}")


def main() -> None:
    """Writes, builds, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=0.1, help=f"share of {FULL}")
    parser.add_argument("--reads", type=int, default=20_000, help="random reads")
    parser.add_argument("--folder", help="where the corpus is written and kept; by default a temporary folder")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="annotation_store_"))
    try:
        start = time.monotonic()
        counts = write_corpus(folder, round(FULL["images"] * options.scale))
        print(f"corpus: {counts}, written in {time.monotonic() - start:.0f} s", flush=True)
        commands = {
            "scene graphs": ["vg", str(folder), "--annotations", GRAPHS, "--image-paths", PATHS],
            "boxes": ["objects365", str(folder), "--split", "train"],
        }
        imports = dict(zip(("private_mb", "peak_mb"), in_process(private_mb), strict=True))
        print(f"imports alone: {imports['private_mb']:.0f} MB private, {imports['peak_mb']:.0f} MB peak")
        results = {kind: measure(kind, command, folder, options) for kind, command in commands.items()}
        for kind, result in results.items():
            report(kind, result, options.scale)
        if options.json:
            Path(options.json).write_text(
                json.dumps({"corpus": counts, "scale": options.scale, "imports": imports} | results, indent=2)
            )
    finally:
        if not options.folder:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
