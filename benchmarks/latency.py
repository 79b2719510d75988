"""Time of one image through a detector: eager, compiled, bfloat16 and onnxruntime, by size of the image.

    python benchmarks/latency.py --weights weights/quickstart --sizes 128x160 256x320 --json latency.json
    python benchmarks/latency.py --resnet50 --sizes 800x1066 --repeats 3

From pixels in memory to the outputs of the network; reading and scaling of pictures and ranking of triplets are
left out. Text features are computed beforehand, as every predictor does. The backends run in turn, so that a noisy
machine disturbs all alike; believe ratios. `--resnet50` is the published ParSeDA with random weights and random label
texts (80 objects, 117 relations). Compiling and exporting take minutes and are not counted.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from forward import build_detector, encode_labels  # beside this file
from torch import Tensor

from rlipv2.checkpoints import load_weights
from rlipv2.export import OnnxRelationPredictor
from rlipv2.export.description import INPUT, MASK, Description
from rlipv2.export.graph import ExportedDetector
from rlipv2.export.writing import write_program
from rlipv2.models.compilation import compile_network
from rlipv2.models.detector import RelationDetector
from rlipv2.ops.files import write_atomically
from rlipv2.structures import InferenceSettings, TextFeatures

BACKENDS = ("eager", "compile", "bf16", "compile+bf16", "onnxruntime")


def network(options: argparse.Namespace) -> tuple[RelationDetector, TextFeatures]:
    """A detector in float32, and the features of its label texts."""
    with torch.inference_mode(False), torch.no_grad():
        if options.resnet50:
            detector = build_detector(options.pairs)
            return detector, encode_labels(detector, 80, 117)
        detector = load_weights(options.weights)
        detector.backbone.half_precision = False
        return detector, detector.encode_texts(detector.label_space)


def torch_backend(
    detector: RelationDetector, texts: TextFeatures, device: torch.device, *, compiled: bool, half: bool
) -> Callable[[Tensor], Any]:
    """One way to run it with torch."""
    detector = copy.deepcopy(detector).to(device)
    if compiled:
        compile_network(detector)
    texts = TextFeatures(pooled=texts.pooled.to(device), padding_mask=None, num_objects=texts.num_objects)

    def run(images: Tensor) -> Any:
        images = images.to(device)
        mask = torch.zeros_like(images[:, 0], dtype=torch.bool)
        autocast = torch.autocast(device.type, torch.bfloat16) if half else nullcontext()
        with torch.inference_mode(), autocast:
            output = detector(images, mask, texts)
            return output.relation_logits[-1].float().cpu()  # waits for a GPU

    return run


def onnx_backend(
    detector: RelationDetector, texts: TextFeatures, options: argparse.Namespace, size: tuple[int, int], folder: Path
) -> Callable[[Tensor], Any]:
    """The exported graph of one size, under onnxruntime on the CPU."""
    graph = ExportedDetector(
        detector, texts, mode="hoi", subject_label=0, subject_filter=False, sampling=options.sampling
    )
    description = Description(
        objects=tuple(f"object {index}" for index in range(texts.num_objects - 1)),
        relations=tuple(f"relation {index}" for index in range(texts.num_relations)),
        settings=InferenceSettings().to_dict(),
        size=size,
        batch=options.batch,
        padded=True,
        pixels="uint8",
        versions={"rlipv2": "benchmark"},
    )
    path = folder / f"{size[0]}x{size[1]}.onnx"
    write_program(graph, path, description)
    runtime = OnnxRelationPredictor(path, threads=options.threads)

    def run(images: Tensor) -> Any:
        mask = torch.zeros_like(images[:, 0], dtype=torch.bool)
        return runtime.session.run(["relation_scores"], {INPUT: images.numpy(), MASK: mask.numpy()})

    return run


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for every size and backend; milliseconds."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    detector, texts = network(options)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        torch_backends = {
            name: torch_backend(detector, texts, device, compiled="compile" in name, half="bf16" in name)
            for name in options.backends
            if name != "onnxruntime"
        }
        for size in options.sizes:
            backends = dict(torch_backends)
            if "onnxruntime" in options.backends:
                backends["onnxruntime"] = onnx_backend(detector, texts, options, size, Path(folder))
            rows += timed(backends, size, options)
    return rows


def timed(
    backends: dict[str, Callable[[Tensor], Any]], size: tuple[int, int], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """The backends in turn on the same images."""
    images = torch.randint(0, 256, (options.batch, 3, *size), dtype=torch.uint8)
    times: dict[str, list[float]] = {name: [] for name in backends}
    for repeat in range(-options.warmup, options.repeats):
        for name, run in backends.items():
            start = time.perf_counter()
            run(images)
            if repeat >= 0:
                times[name].append(1000 * (time.perf_counter() - start))
    return [
        {
            "size": f"{size[0]}x{size[1]}",
            "backend": name,
            "p50": statistics.median(values),
            "p95": sorted(values)[max(0, -(-95 * len(values) // 100) - 1)],
            "runs": len(values),
        }
        for name, values in times.items()
    ]


def image_size(text: str) -> tuple[int, int]:
    """`HEIGHTxWIDTH` as numbers."""
    height, width = text.split("x")
    return int(height), int(width)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", help="weight folder")
    what.add_argument("--resnet50", action="store_true", help="the published ParSeDA with random weights")
    parser.add_argument("--pairs", type=int, default=64, help="of --resnet50")
    parser.add_argument("--sizes", type=image_size, nargs="+", default=[(128, 160)], metavar="HEIGHTxWIDTH")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=2, help="runs that are not counted; compiling happens in them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of the backends of torch")
    parser.add_argument("--sampling", default="grid_sample", help="of the exported graph")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    rows = measure(options)
    what_ = "ParSeDA ResNet-50, random weights" if options.resnet50 else options.weights
    print(f"{what_}: {options.threads} threads, batch {options.batch}, {options.device}, torch {torch.__version__}")
    print("| size | backend | p50 ms | p95 ms | runs |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row['size']} | {row['backend']} | {row['p50']:.1f} | {row['p95']:.1f} | {row['runs']} |")
    if options.json:
        write_atomically(options.json, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
