"""CPU time and peak memory of `python -m rlipv2.metrics open_images` on the generated case of the tests.

    python benchmarks/open_images_metric.py --repeats 3

1,000 images, 100 pairs, 30 relations: the input of the recorded results (tests/fixtures/eval/oi_dev.json),
beside the CPU seconds that were recorded with the official evaluator for K = 100 and 50 together. Every run
is a process of its own under one thread; its user and system time, imports included, and its largest
resident memory are what the operating system counted (Linux and macOS).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / "tests" / "fixtures" / "eval" / "oi_dev.json"
RUNS = {"--nms": "nms_K100_and_K50", "--no-nms": "no_nms_K100_and_K50", "all protocols": None}


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


def write(folder: Path) -> None:
    """Writes both files."""
    sys.path.insert(0, str(ROOT))
    from tests.metrics.oi_cases import OpenImagesCase

    case = OpenImagesCase.generate()
    np.savez(folder / "predictions.npz", **case.prediction_arrays)
    np.savez(folder / "ground_truth.npz", **case.truth)


def main() -> None:
    """Generates, runs every setting, prints the best of the repeats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="only write the two files")
    options = parser.parse_args()
    if options.write is not None:
        write(options.write)
        return
    recorded = json.loads(RECORDED.read_text())["official_cpu_seconds"]
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: a child inherits the largest memory of its parent.
        subprocess.run([sys.executable, __file__, "--write", folder], check=True)
        files = ["--predictions", f"{folder}/predictions.npz", "--ground-truth", f"{folder}/ground_truth.npz"]
        print(f"{'':14}  CPU s   official CPU s   factor   MB peak")
        for name, key in RUNS.items():
            command = [sys.executable, "-m", "rlipv2.metrics", "open_images", *files, *([name] if key else [])]
            runs = [measure(command) for _ in range(options.repeats)]
            seconds, peak = min(run[0] for run in runs), max(run[1] for run in runs)
            official = f"{recorded[key]:14.2f} {recorded[key] / seconds:8.0f}" if key else f"{'':14} {'':8}"
            print(f"{name:14} {seconds:6.2f}   {official} {peak:9.0f}")


if __name__ == "__main__":
    main()
