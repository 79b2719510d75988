"""Images per second and core from JPEG files to training batches, beside a loader as detection transformers have it.

    python benchmarks/loader.py --images 400 --workers 2 --json loader.json

Generated scene graphs in the layout of Visual Genome (JPEG files of 640x480, 15 boxes, 20 relations) are read by
`SceneGraphDataModule` with the published augmentation and label sampling, and by `loader_baseline.py`. Both take the
same images in turn, each in a process and thread of its own; what counts is CPU time, which a busy machine disturbs
least. Before that both run in loader workers, one after the other, for their CPU time with the handing over of batches
and their private memory (Linux).
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import loader_baseline as baseline
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from rlipv2.datamodules.label_sampling import LabelSampler
from rlipv2.datamodules.scene_graphs import SceneGraphDataModule
from rlipv2.datasets.scene_graphs import NameCounts
from rlipv2.structures import LabelSpace

SIZE = (640, 480)
BOXES, RELATIONS = 15, 20
OBJECT_NAMES, RELATION_NAMES = 100_298, 36_515
"""Names of Visual Genome."""
ANNOTATIONS = "annotations/scene_graphs_preprocessv1.json"
COUNTS = "annotations/vg_keep_names_v1_no_lias_freq.json"


def name_counts() -> NameCounts:
    """As many names as Visual Genome has, with counts that fall about as steeply."""
    parts: list[Any] = []
    for kind, size in (("thing", OBJECT_NAMES), ("relation", RELATION_NAMES)):
        counts = np.maximum(1e6 / np.arange(1, size + 1) ** 1.15, 1).astype(np.int64)
        parts += [tuple(f"{kind} {row}" for row in range(size)), counts]
    return NameCounts(*parts)


def write(root: Path, records: int, pictures: int, seed: int) -> None:
    """Writes images, annotations and counts of names; all images are links to a few `pictures`."""
    generator = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for number in range(pictures):
        _write_picture(root / f"picture_{number}.jpg", generator)
    names = name_counts()
    names.write(root / COUNTS)
    shares = [counts / counts.sum() for counts in (names.object_counts, names.relation_counts)]
    drawn = [
        generator.choice(len(share), (records, count), p=share)
        for share, count in zip(shares, (BOXES, RELATIONS), strict=True)
    ]
    content = []
    for image in range(records):
        os.link(root / f"picture_{image % pictures}.jpg", root / f"images/{image}.jpg")
        boxes = np.concatenate(
            [generator.integers(0, (400, 300), (BOXES, 2)), generator.integers(20, 180, (BOXES, 2))], 1
        )
        ends = generator.integers(0, BOXES, (RELATIONS, 2)) + image * 100
        objects = [
            {
                "synsets": [],
                "object_id": image * 100 + row,
                "names": names.objects[name],
                **dict(zip("xywh", box, strict=True)),
            }
            for row, (name, box) in enumerate(zip(drawn[0][image], boxes.tolist(), strict=True))
        ]
        relations = [
            {"synsets": [], "relationship_id": row, "predicate": names.relations[name], "subject_id": s, "object_id": o}
            for row, (name, (s, o)) in enumerate(zip(drawn[1][image], ends.tolist(), strict=True))
        ]
        content.append({"image_id": image, "objects": objects, "relationships": relations})
    (root / ANNOTATIONS).write_text(json.dumps(content))


def _write_picture(path: Path, generator: np.random.Generator) -> None:
    """Smooth colours and noise: a file of about 130 kB, as photographs of this size have."""
    coarse = Image.fromarray(generator.integers(0, 256, (60, 80, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    noisy = np.array(coarse, np.int16) + generator.integers(-12, 12, (SIZE[1], SIZE[0], 3))
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)


class Stages:
    """CPU seconds of each stage, added up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.images = 0

    def run(self, stage: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's result, its time counted."""
        started = time.process_time()
        result = function(*arguments)
        self.seconds[stage] += time.process_time() - started
        return result

    def row(self) -> dict[str, float]:
        """Milliseconds of an image by stage, and images per second."""
        total = sum(self.seconds.values()) / self.images
        parts = {stage: 1e3 * seconds / self.images for stage, seconds in self.seconds.items()}
        return parts | {"total": 1e3 * total, "images/s": 1 / total}


def compare_stages(
    loaders: dict[str, DataLoader[Any]], images: int, rounds: int
) -> tuple[dict[str, dict[str, float]], list[float]]:
    """Medians over rounds of two loaders on the same images, and how many times faster the first one was in each.

    Each loader has a process of its own, set up as its loader workers are; they take turns. A first batch of each does
    not count.
    """
    size = next(iter(loaders.values())).batch_size or 1
    order = np.random.default_rng(1).permutation(images).tolist()
    parts = [order[:size], *(order[start : start + images // rounds] for start in range(0, images, images // rounds))]
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in loaders}
    with ExitStack() as stack:
        connections = {name: stack.enter_context(_served(name, loader)) for name, loader in loaders.items()}
        for part in parts:
            for name, connection in connections.items():
                connection.send(part)
                rows[name].append(connection.recv())
    counted = {name: found[1:] for name, found in rows.items()}
    medians = {
        name: {column: float(np.median([row[column] for row in found])) for column in found[0]}
        for name, found in counted.items()
    }
    return medians, sorted(
        ours["images/s"] / theirs["images/s"] for ours, theirs in zip(*counted.values(), strict=True)
    )


@contextmanager
def _served(name: str, loader: DataLoader[Any]) -> Iterator[Connection]:
    """A new process that reads the images whose numbers it is sent, and sends back the times of their stages."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, BATCHES[name], loader), daemon=True)
    process.start()
    yield here
    here.send(None)
    process.join()


def _serve(connection: Connection, read_batch: Callable[..., None], loader: DataLoader[Any]) -> None:
    if loader.worker_init_fn is not None:
        loader.worker_init_fn(0)
    size = loader.batch_size or 1
    for order in iter(connection.recv, None):
        stages = Stages()
        for start in range(0, len(order), size):
            read_batch(stages, loader, order[start : start + size])
        stages.images = len(order)
        connection.send(stages.row())


def _our_batch(stages: Stages, loader: DataLoader[Any], batch: list[int]) -> None:
    dataset: Any = loader.dataset
    # the parts of `TransformedDataset`, one after the other
    samples = [stages.run("decode", dataset.dataset.__getitem__, index) for index in batch]
    items = [
        (index, stages.run("transform", dataset.transform, sample, torch.Generator().manual_seed(index)))
        for index, sample in zip(batch, samples, strict=True)
    ]
    stages.run("collate", loader.collate_fn, items)


def _their_batch(stages: Stages, loader: DataLoader[Any], batch: list[int]) -> None:
    dataset: Any = loader.dataset
    read = [stages.run("decode", dataset.read, index) for index in batch]
    pairs = [stages.run("transform", baseline.augment, *item) for item in read]
    stages.run("collate", loader.collate_fn, pairs)


BATCHES = {"rlipv2": _our_batch, "baseline": _their_batch}


def sampling_milliseconds(repeats: int = 200) -> dict[str, float]:
    """Median and longest CPU time of one batch's label space."""
    sampler = LabelSampler(name_counts())
    shown = LabelSpace(sampler.objects.names[:60], sampler.relations.names[:30])
    times = []
    for seed in range(repeats):
        generator, started = np.random.default_rng(seed), time.process_time()
        sampler.extend(shown, generator)
        times.append(1e3 * (time.process_time() - started))
    return {"median": float(np.median(times)), "longest": max(times)}


def worker_costs(loader: DataLoader[Any], batches: int) -> dict[str, float]:
    """Images per second of wall time, private memory of a worker in MB, CPU milliseconds of an image in the workers."""
    iterator = iter(loader)
    next(iterator)
    workers = [process.pid for process in multiprocessing.active_children() if process.pid is not None]
    cpu, started = sum(map(_cpu_seconds, workers)), time.perf_counter()
    done = 0
    for _, _batch in zip(range(batches), iterator, strict=False):
        done += loader.batch_size or 1
    seconds, cpu = time.perf_counter() - started, sum(map(_cpu_seconds, workers)) - cpu
    memory = [_private_megabytes(worker) for worker in workers]
    return {"images/s": done / seconds, "CPU ms": 1e3 * cpu / done, "USS MB": max(memory)}


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _private_megabytes(process: int) -> float:
    """Memory that would be free if the process ended (USS)."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1e3


def _print(title: str, rows: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(rows.values())))
    print(f"{title:24}" + "".join(f"{column:>12}" for column in columns))
    for name, row in rows.items():
        print(f"{name:24}" + "".join(f"{row[column]:12.2f}" for column in columns))


def main() -> None:
    """Generates, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400, help="images whose stages are timed")
    parser.add_argument("--rounds", type=int, default=5, help="parts of these whose medians are shown")
    parser.add_argument("--records", type=int, default=20_000, help="images in the annotation file")
    parser.add_argument("--pictures", type=int, default=64, help="different JPEG files")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2, help="0 leaves this part out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "vg"
        write(root, options.records, options.pictures, options.seed)
        print(f"{options.records:,} records, {(root / ANNOTATIONS).stat().st_size / 1e6:.0f} MB of JSON")
        module = SceneGraphDataModule(root, batch_size=options.batch_size, num_workers=options.workers)
        module.setup("fit")
        loader = module.train_dataloader()
        results: dict[str, Any] = {"workers": {}}
        both = {"rlipv2": loader, "baseline": _baseline_loader(root, len(module.corpus), options)}
        if options.workers:  # before the baseline reads its records: workers inherit the memory of this process
            batches = options.images // options.batch_size
            results["workers"] = {name: worker_costs(item, batches) for name, item in both.items()}
        results["stages"], ratios = compare_stages(both, options.images, options.rounds)
        results["times faster"] = {"median": float(np.median(ratios)), "least": ratios[0], "most": ratios[-1]}
    results["label sampling"] = sampling_milliseconds()
    _print("CPU ms of an image", results["stages"])
    times = results["times faster"]
    print(
        f"{times['median']:.2f} times the images per second and core of the baseline "
        f"(median of {options.rounds} rounds, {times['least']:.2f} to {times['most']:.2f})"
    )
    if options.workers:
        _print(f"{options.workers} workers", results["workers"])
        cpu = [results["workers"][name]["CPU ms"] for name in ("baseline", "rlipv2")]
        print(f"{cpu[0] / cpu[1]:.2f} times the images per CPU second of a worker, handing over included")
    _print("label sampling, ms", {f"{RELATION_NAMES:,} relations": results["label sampling"]})
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


def _baseline_loader(root: Path, size: int, options: argparse.Namespace) -> DataLoader[Any]:
    names = name_counts()
    sampler = LabelSampler(names)
    labels = baseline.Labels(
        (names.objects, names.relations),
        (names.object_counts.tolist(), names.relation_counts.tolist()),
        (sampler.num_objects, sampler.num_relations),
    )
    return DataLoader(
        baseline.JSONDataset(root, root / ANNOTATIONS),
        options.batch_size,
        sampler=np.random.default_rng(options.seed).permutation(size).tolist(),
        num_workers=options.workers,
        collate_fn=partial(baseline.collate, labels=labels),
    )


if __name__ == "__main__":
    main()
