"""CPU time and peak memory of `python -m rlipv2.metrics hico` on generated predictions.

    python benchmarks/hico_metric.py --images 9658 --repeats 3

9,658 images are the test split: 514 MB of predictions, written to a temporary folder (`--folder` keeps
them). Every run is a process of its own under one thread; its user and system time, imports included,
and its largest resident memory are what the operating system counted (Linux and macOS).
"""

import argparse
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
VOCABULARY = ROOT / "rlipv2" / "vocabularies" / "hico_det.json"
PAIRS, RELATIONS, CHUNK = 100, 117, 64


def labels(hois: np.ndarray, images: int, seed: int) -> dict[str, np.ndarray]:
    """Ground truth with three pairs per image, each of two boxes of its own."""
    generator = np.random.default_rng([seed, 0])
    # A long tail over the classes, about as steep as that of HICO-DET
    weight = 1 / (np.arange(len(hois)) + 12)
    chosen = hois[generator.choice(len(hois), (images, 3), p=weight / weight.sum())]
    boxes = random_boxes(generator, images * 6).astype(np.int16)
    classes = np.zeros((images, 3, 2), np.uint8)
    classes[..., 1] = chosen[..., 1]
    rows = np.broadcast_to(np.arange(6).reshape(3, 2), (images, 3, 2))
    return {
        "file_id": np.arange(1, images + 1, dtype=np.int32),
        "boxes": boxes,
        "box_labels": classes.reshape(-1),
        "box_ptr": np.arange(0, 6 * images + 1, 6, dtype=np.int32),
        "hois": np.concatenate([rows, chosen[..., :1]], axis=2).reshape(-1, 3).astype(np.int16),
        "hoi_ptr": np.arange(0, 3 * images + 1, 3, dtype=np.int32),
        "hoi_table": hois[:, ::-1].astype(np.int16),
        "rare": np.arange(len(hois)) >= 462,
    }


def random_boxes(generator: np.random.Generator, count: int) -> np.ndarray:
    """Boxes x1 y1 x2 y2 inside 640 x 480 pixels."""
    corners = generator.random((count, 4)) * (400, 300, 230, 170)
    return np.concatenate([corners[:, :2] + 1, corners[:, :2] + corners[:, 2:] + 10], axis=1)


def predictions(truth: dict[str, np.ndarray], start: int, stop: int, seed: int) -> dict[str, np.ndarray]:
    """Images `start` to `stop`: four noisy copies of each labelled pair, the rest anywhere."""
    generator = np.random.default_rng([seed, 1, start])
    count = stop - start
    boxes = random_boxes(generator, count * 2 * PAIRS).reshape(count, 2, PAIRS, 4)
    true = truth["boxes"][6 * start : 6 * stop].reshape(count, 3, 2, 4).transpose(0, 2, 1, 3)
    boxes[:, :, :12] = np.tile(true, (1, 1, 4, 1)) + generator.normal(0, 8, (count, 2, 12, 4))
    objects = generator.integers(0, 80, (count, PAIRS))
    objects[:, :12] = np.tile(truth["box_labels"].reshape(-1, 3, 2)[start:stop, :, 1], 4)
    scores = generator.random((count, PAIRS, RELATIONS), np.float32) ** 5 * np.float32(0.5)
    relations = np.tile(truth["hois"].reshape(-1, 3, 3)[start:stop, :, 2], 4)
    image, row = np.indices(relations.shape)
    scores[image, row, relations] = generator.random(relations.shape)
    return {
        "image_id": truth["file_id"][start:stop].astype(np.int64),
        "boxes": boxes.reshape(count, 2 * PAIRS, 4).astype(np.float32),
        "labels": np.concatenate([np.zeros_like(objects), objects], axis=1),
        "sub_ids": np.tile(np.arange(PAIRS), (count, 1)),
        "obj_ids": np.tile(np.arange(PAIRS, 2 * PAIRS), (count, 1)),
        "verb_scores": scores,
    }


def write(folder: Path, images: int, seed: int) -> tuple[Path, Path]:
    """Writes both files piece by piece: a child inherits the largest memory of its parent."""
    truth = labels(np.array(json.loads(VOCABULARY.read_text())["hois"]), images, seed)
    np.savez(folder / "ground_truth.npz", **truth)
    with zipfile.ZipFile(folder / "predictions.npz", "w") as archive:
        for name, example in predictions(truth, 0, 1, seed).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = np.lib.format.header_data_from_array_1_0(example)
                np.lib.format.write_array_header_1_0(member, header | {"shape": (images, *example.shape[1:])})
                for part in chunks(truth, images, seed):
                    member.write(part[name].tobytes())
    return folder / "predictions.npz", folder / "ground_truth.npz"


def chunks(truth: dict[str, np.ndarray], images: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
    """All predictions, `CHUNK` images at a time."""
    return (predictions(truth, start, min(start + CHUNK, images), seed) for start in range(0, images, CHUNK))


def measure(command: list[str]) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of a process that must succeed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    actions = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    process = os.posix_spawn(command[0], command, environment, file_actions=actions)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed with status {os.waitstatus_to_exitcode(status)}")
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


def main() -> None:
    """Generates, runs with and without suppression, prints the best of the repeats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to keep the generated files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        files = write(folder, options.images, options.seed)
        print(f"{options.images} images, predictions of {files[0].stat().st_size / 1e6:.0f} MB")
        for nms in ("--nms", "--no-nms"):
            command = [sys.executable, "-m", "rlipv2.metrics", "hico", nms, "--predictions", str(files[0])]
            runs = [measure([*command, "--ground-truth", str(files[1])]) for _ in range(options.repeats)]
            print(f"{nms:9} {min(run[0] for run in runs):6.2f} CPU s  {max(run[1] for run in runs):6.0f} MB peak")


if __name__ == "__main__":
    main()
