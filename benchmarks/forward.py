"""Time and memory of one full-size forward pass, part by part, with two forms of deformable attention.

    python benchmarks/forward.py --threads 2 --repeats 7 --json forward.json

ParSeDA with ResNet-50 as published, random weights, nothing downloaded: labels enter as random token
ids of four tokens each. The label texts are encoded once, as evaluation does, and timed apart. The two
forms run in turn in one process, so that a noisy machine disturbs both alike; believe ratios.
"""

import argparse
import ctypes
import json
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlipv2.layers.backbones import TimmBackbone
from rlipv2.layers.deformable import MultiScaleDeformableAttention
from rlipv2.layers.text_encoder import TextEncoder
from rlipv2.models.alif_encoder import ALIFEncoder
from rlipv2.models.decoders import EntityDecoder, RelationDecoder
from rlipv2.models.detector import RelationDetector
from rlipv2.models.queries import AnchorQueries
from rlipv2.structures import RelationOutput, TextFeatures

# Names the printed parts; `encoder` is what remains of the ALIF encoder without its fusion part.
PARTS = ("backbone", "pyramid", "encoder", "fusion", "entity decoder", "relation decoder", "head")


def build_detector(num_pairs: int) -> RelationDetector:
    """The published ParSeDA with ResNet-50 in eval mode, random weights."""
    torch.manual_seed(0)
    detector = RelationDetector(
        backbone=TimmBackbone(),
        text_encoder=TextEncoder(),
        encoder=ALIFEncoder(),
        queries=AnchorQueries(num_pairs),
        entity_decoder=EntityDecoder(),
        relation_decoder=RelationDecoder(),
    )
    return detector.eval()


def timed_modules(detector: RelationDetector) -> dict[str, list[nn.Module]]:
    """The modules behind each printed part."""
    encoder = detector.encoder
    return {
        "backbone": [detector.backbone],
        "pyramid": [detector.pyramid],
        "encoder": [encoder],
        "fusion": [*encoder.fusion_layers, *encoder.text_layers, encoder.text_resizer],
        "entity decoder": [detector.entity_decoder],
        "relation decoder": [detector.relation_decoder],
        "head": [detector.head],
    }


@contextmanager
def stopwatch(parts: dict[str, list[nn.Module]], device: torch.device) -> Iterator[dict[str, float]]:
    """Adds up the seconds spent in each part while the block runs."""
    seconds = dict.fromkeys(parts, 0.0)
    handles = []

    def attach(name: str, module: nn.Module) -> None:
        started: list[float] = []
        handles.append(module.register_forward_pre_hook(lambda *_: started.append(now(device))))

        def stop(*_: Any) -> None:
            seconds[name] += now(device) - started.pop()

        handles.append(module.register_forward_hook(stop))

    for name, modules in parts.items():
        for module in modules:
            attach(name, module)
    try:
        yield seconds
    finally:
        for handle in handles:
            handle.remove()


def now(device: torch.device) -> float:
    """Seconds of a steady clock, after the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def reset_peak(device: torch.device) -> None:
    """Forgets the highest memory use so far; freed memory goes back to the system first."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif platform.system() == "Linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_gib(device: torch.device) -> float:
    """Highest memory since `reset_peak`: of the whole process, weights and libraries included; on a GPU of tensors."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if platform.system() != "Linux":
        return float("nan")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 2**20


def set_backend(detector: RelationDetector, name: str) -> None:
    """Makes every deformable attention of the detector use the sampling function `name`."""
    for module in detector.modules():
        if isinstance(module, MultiScaleDeformableAttention):
            module.backend = name


def encode_labels(detector: RelationDetector, num_objects: int, num_relations: int) -> TextFeatures:
    """Features of random labels of four tokens, the background text among the objects."""
    device = next(detector.parameters()).device
    ids = torch.randint(4, 50265, (num_objects + 1 + num_relations, 4), device=device)
    ids[:, 0], ids[:, -1] = 0, 2
    return detector.text_features(detector.text_encoder(ids, torch.ones_like(ids)), num_objects + 1)


def one_pass(
    detector: RelationDetector, images: torch.Tensor, texts: TextFeatures
) -> tuple[RelationOutput, dict[str, float]]:
    """Output, and seconds per part with `total`, `other` and the peak memory in GiB (`peak`)."""
    mask = torch.zeros(len(images), *images.shape[-2:], dtype=torch.bool, device=images.device)
    reset_peak(images.device)
    with stopwatch(timed_modules(detector), images.device) as seconds:
        start = now(images.device)
        output = detector(images, mask, texts)
        total = now(images.device) - start
    seconds["encoder"] -= seconds["fusion"]
    return output, {
        **seconds,
        "other": total - sum(seconds.values()),
        "total": total,
        "peak": peak_gib(images.device),
    }


def largest_difference(first: RelationOutput, second: RelationOutput) -> float:
    """Over logits and boxes of the last decoder layer."""
    names = ("object_logits", "relation_logits", "subject_boxes", "object_boxes")
    return max(float((getattr(first, name)[-1] - getattr(second, name)[-1]).abs().max()) for name in names)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the benchmark; medians over the repetitions, one warm-up pass per form not counted."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    detector = build_detector(options.pairs).to(device)
    images = torch.randint(0, 256, (1, 3, *options.size), dtype=torch.uint8, device=device)
    with torch.inference_mode():
        encode_labels(detector, 8, 8)
        start = now(device)
        texts = encode_labels(detector, *options.labels)
        text_seconds = now(device) - start
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in options.backends}
        outputs = {}
        for repeat in range(options.repeats + 1):
            for name in options.backends:
                set_backend(detector, name)
                outputs[name], seconds = one_pass(detector, images, texts)
                if repeat:
                    runs[name].append(seconds)
    first, last = options.backends[0], options.backends[-1]
    ratios = [slow["total"] / fast["total"] for fast, slow in zip(runs[first], runs[last], strict=True)]
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor(),
        "threads": options.threads,
        "repeats": options.repeats,
        "size": list(options.size),
        "labels": list(options.labels),
        "pairs": options.pairs,
        "seconds/texts": text_seconds,
        "largest_difference": largest_difference(outputs[first], outputs[last]),
        "ratio": statistics.median(ratios),
        "backends": {
            name: {key: statistics.median(run[key] for run in runs[name]) for key in runs[name][0]} for name in runs
        },
    }


def print_table(result: dict[str, Any]) -> None:
    """One column per form: seconds and share of each part."""
    columns = result["backends"]
    print(f"ParSeDA ResNet-50, {result['size'][0]}x{result['size'][1]}, labels {result['labels']}, batch 1, float32")
    print(f"{result['threads']} threads, median of {result['repeats']} passes, torch {result['torch']}")
    print(f"{'':18}" + "".join(f"{name:>20}" for name in columns))
    for part in (*PARTS, "other", "total"):
        cells = (f"{run[part]:9.3f} s {100 * run[part] / run['total']:6.1f} %" for run in columns.values())
        print(f"{part:18}" + "".join(f"{cell:>20}" for cell in cells))
    print(f"{'peak memory':18}" + "".join(f"{run['peak']:>16.2f} GiB" for run in columns.values()))
    names = list(columns)
    print(f"label texts, once per label space: {result['seconds/texts']:.3f} s")
    if len(names) > 1:
        print(f"{names[0]} is {result['ratio']:.2f}x as fast as {names[-1]} (median over pairs of passes)")
        print(f"largest difference of logits and boxes: {result['largest_difference']:.1e}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1066), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--labels", type=int, nargs=2, default=(80, 117), metavar=("OBJECTS", "RELATIONS"))
    parser.add_argument("--pairs", type=int, default=64, help="64 as in the HICO-DET recipes, 100 elsewhere")
    parser.add_argument("--backends", nargs="+", default=("auto", "grid_sample"), help="forms to compare, in turn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    result = measure(options)
    print_table(result)
    if options.json:
        temporary = options.json.with_name(options.json.name + ".tmp")
        temporary.write_text(json.dumps(result, indent=2) + "\n")
        temporary.rename(options.json)


if __name__ == "__main__":
    main()
