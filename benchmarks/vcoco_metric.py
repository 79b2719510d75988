"""CPU time and peak memory of `python -m rlipv2.metrics vcoco` on the generated predictions of the recorded results.

    python benchmarks/vcoco_metric.py --repeats 5

400 images, 399 of them in the split, are those for which the official evaluators took 144.2 s (agent and both
scenarios) and 4.3 s (in-training) of one thread; here everything comes from one run. `--images 4946` are as
many as the test split has. Every run is a process of its own under one thread; its user and system time,
imports included, and its largest resident memory are what the operating system counted (Linux and macOS).
"""

import argparse
import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np
from hico_metric import ROOT, measure

GENERATOR = ROOT / "tests" / "fixtures" / "eval" / "make_detections.py"
OFFICIAL = 33.76 + 58.02 + 52.41
"""CPU seconds of agent AP and both scenarios recorded in vcoco_dev.json, on another machine."""


def write(folder: Path, images: int) -> tuple[Path, Path]:
    """Writes predictions and ground truth of the recorded seeds."""
    generator = runpy.run_path(str(GENERATOR))
    truth = generator["vcoco_ground_truth"](4711, images)
    rows = [row for row, image in enumerate(truth) if len(image["person"])]
    detections = [generator["vcoco_detections"](truth, row, 20231, 1.0) for row in rows]
    arrays = {key: np.stack([row[key] for row in detections]) for key in detections[0]}
    np.savez(folder / "predictions.npz", image_id=np.array([truth[row]["id"] for row in rows]), **arrays)
    np.savez(folder / "ground_truth.npz", **generator["vcoco_arrays"](truth))
    return folder / "predictions.npz", folder / "ground_truth.npz"


def main() -> None:
    """Generates, runs, prints the best of the repeats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to keep the generated files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        files = write(folder, options.images)
        print(f"{options.images} images, predictions of {files[0].stat().st_size / 1e6:.0f} MB")
        command = [sys.executable, "-m", "rlipv2.metrics", "vcoco", "--predictions", str(files[0])]
        runs = [measure([*command, "--ground-truth", str(files[1])]) for _ in range(options.repeats)]
        seconds, memory = min(run[0] for run in runs), max(run[1] for run in runs)
        ratio = f"  {OFFICIAL / seconds:.0f} times less than {OFFICIAL:.1f} s" if options.images == 400 else ""
        print(f"{seconds:6.2f} CPU s  {memory:6.0f} MB peak{ratio}")


if __name__ == "__main__":
    main()
