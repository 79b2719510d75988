"""Index of an Objects365-size corpus: time and memory of the build, opening, loader workers, random access.

    python benchmarks/annotation_store.py --scales 0.02 0.1 0.3

Writes pseudo-labelled scene graphs and instance annotations in the formats of the releases (`annotation_corpus.py`),
builds both indices through the commands of the project, each in a process of its own, and measures. Memory is that of
the whole process: "peak" counts every page (`VmHWM`), also those of mapped files, "private" only anonymous ones, which
no other process has (`RssAnon` and `RssShmem`, read every 10 ms). The figures at full scale are on the line through
those of the two largest scales. Loader workers are measured at the largest.
"""

import argparse
import json
import math
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from annotation_corpus import FULL, GRAPHS, PATHS, write_corpus
from torch.utils.data import DataLoader, Dataset

from rlipv2.datasets import COCODetection, SceneGraphs
from rlipv2.datasets.__main__ import main as main_of_datasets

READING = {"annotations": GRAPHS, "image_paths": PATHS, "max_relations": 100, "unrelated_images": "drop"}
COMMANDS = {
    "scene graphs": ["vg", "--annotations", GRAPHS, "--image-paths", PATHS],
    "boxes": ["objects365", "--split", "train"],
}
METHODS = ("fork", "forkserver", "spawn")
ROWS = {
    "build_seconds": "build, s",
    "build_peak_mb": "build, peak MB",
    "build_private_mb": "  of these private",
    "first_seconds": "first opening, s",
    "first_peak_mb": "first opening, peak MB",
    "first_private_mb": "  of these private",
    "open_seconds": "opening again, s",
    "median_ms": "random access, median ms",
    "p99_ms": "random access, p99 ms",
    **{f"{method}_mb": f"worker by {method}, private MB" for method in METHODS},
}


def in_process(function: Any, *arguments: Any) -> tuple[Any, float, float]:
    """What a function returns in a new process, and the largest memory in MB of that process: all, and private."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, *arguments))
    process.start()
    sender.close()
    private, done = [0.0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, private, done))
    watcher.start()
    try:
        result, peak = receiver.recv()
    finally:
        done.set()
        watcher.join()
        process.join()
    return result, peak, max(private)


def _send(sender: Any, function: Any, *arguments: Any) -> None:
    result = function(*arguments)
    # not ru_maxrss, which begins with the memory of the process that started this one
    sender.send((result, status_mb("self", "VmHWM")))


def _watch(process: Any, private: list[float], done: threading.Event) -> None:
    while not done.wait(0.01):
        try:
            private.append(status_mb(process, "RssAnon", "RssShmem"))
        except (OSError, KeyError):  # the process is over
            return


def status_mb(process: Any, *fields: str) -> float:
    """The sum of fields of /proc/<process>/status, in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return sum(int(values[field].split()[0]) for field in fields) * 1024 / 1e6


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
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / 1e6


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


def measure(kind: str, root: Path, reads: int, *, with_workers: bool) -> dict[str, float]:
    """All figures of one kind of annotations, where asked for those of loader workers too."""
    corpus, *rest = COMMANDS[kind]
    result: dict[str, float] = {}
    for name, function, arguments in (
        ("build", _build, ([corpus, str(root), *rest, "--rebuild"],)),
        ("first", _open, (kind, root)),
    ):
        seconds, peak, private = in_process(function, *arguments)
        result |= {f"{name}_seconds": seconds, f"{name}_peak_mb": peak, f"{name}_private_mb": private}
    result["open_seconds"] = in_process(_open, kind, root)[0]
    data = Annotations(opened(kind, root), kind)
    result |= access(data, reads)
    return result | ({f"{method}_mb": max(workers(data, reads, method)) for method in METHODS} if with_workers else {})


def report(kind: str, results: dict[float, dict[str, float]]) -> None:
    """Prints a column of figures for each scale, and those to expect at full scale where they depend on it."""
    scales = sorted(results)
    print(f"{kind:34}" + "".join(f"{scale:>10}" for scale in scales) + f"{'1.0':>12}{'asked':>8}")
    asked = {"build_peak_mb": "2000", "open_seconds": "2", "median_ms": "1", "fork_mb": "100", "forkserver_mb": "100"}
    for key, title in ROWS.items():
        values = [results[scale].get(key, math.nan) for scale in scales]
        digits = 3 if values[-1] < 10 else 0
        shown = ["" if math.isnan(value) else f"{value:.{digits}f}" for value in values]
        full = f"{_at_full_scale(scales, values):.{digits}f}" if key.startswith(("build", "first")) else ""
        columns = "".join(f"{value:>10}" for value in shown)
        print(f"{title:34}{columns}{full:>12}{asked.get(key, ''):>8}")


def _at_full_scale(scales: list[float], values: list[float]) -> float:
    """On the line through the last two points; through the origin where there is one."""
    if len(scales) == 1:
        return values[0] / scales[0]
    (one, two), (first, second) = scales[-2:], values[-2:]
    return second + (second - first) / (two - one) * (1 - two)


def main() -> None:
    """Writes, builds, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", type=float, nargs="+", default=[0.02, 0.1], help=f"shares of {FULL}")
    parser.add_argument("--kinds", nargs="+", choices=tuple(COMMANDS), default=tuple(COMMANDS))
    parser.add_argument("--reads", type=int, default=20_000, help="random reads")
    parser.add_argument("--folder", help="where the corpora are written; by default a temporary folder")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    # a server of forks that has imported what its workers need, once
    multiprocessing.get_context("forkserver").set_forkserver_preload(["rlipv2.datasets", "annotation_store"])
    results: dict[str, dict[float, dict[str, float]]] = {kind: {} for kind in options.kinds}
    private, peak, _ = in_process(private_mb)
    print(f"imports alone: {peak:.0f} MB peak, of these {private:.0f} private", flush=True)
    with tempfile.TemporaryDirectory(prefix="annotation_store_", dir=options.folder) as folder:
        for scale in sorted(options.scales):
            root, start = Path(folder) / f"{scale}", time.monotonic()
            root.mkdir()
            counts = write_corpus(root, round(FULL["images"] * scale), tuple(options.kinds))
            print(f"scale {scale}: {counts}, written in {time.monotonic() - start:.0f} s", flush=True)
            for kind in options.kinds:
                last = scale == max(options.scales)
                results[kind][scale] = measure(kind, root, options.reads, with_workers=last)
            shutil.rmtree(root)
    for kind, figures in results.items():
        report(kind, figures)
    if options.json:
        Path(options.json).write_text(json.dumps({"imports": {"private": private, "peak": peak}} | results, indent=2))


if __name__ == "__main__":
    main()
