"""Time of the Relation Tagger in pseudo-labelling: the official procedure and the fast one on the same candidates.

    python benchmarks/tagging.py --images 16 --repeats 5 --json tagging.json

The tiny tagger of `experiment=micro_tagger` with random weights, images of 128x160 pixels as that micro-world has,
boxes and candidates drawn at random, float32. All procedures run in turn in one process, so that a noisy machine
disturbs them alike; believe ratios. `parity` is the official procedure: the image goes through the network once for
each group, texts are encoded for each chunk and all slots of pairs are decoded. The other rows switch on what `fast`
does, one after the other; they decode slots that hold a pair only. Differences are those of all scores.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlipv2.models import RelationTagger
from rlipv2.models.text_features import TextFeatureCache
from rlipv2.pseudo_labels.records import Group, Tags
from rlipv2.pseudo_labels.tagging import TaggingInput, tag_images

CONF = Path(__file__).parents[1] / "conf"
NAMES = (
    "person", "bicycle", "horse", "dog", "chair", "umbrella", "kite", "sports ball", "bottle", "boat", "bench",
    "backpack"
)  # fmt: skip
TEXTS = (
    "riding", "on", "holding", "sitting on", "walking", "next to", "under", "pulling", "behind", "in front of",
    "flying", "kicking", "near", "standing on", "with", "carrying"
)  # fmt: skip
GROUPS = np.array([16, 30, 23, 15, 25, 11, 6, 0, 2]) / 128
"""Share of images with 1 to 9 groups, counted on 128 images of the micro-world (mode=fast)."""


def build_tagger(pairs: int, *, half_precision: bool) -> RelationTagger:
    """The tagger of the micro-world with random weights; its published part for small processors is off by default."""
    overrides = ["experiment=micro_tagger", f"num_pairs={pairs}", f"backbone.module.half_precision={half_precision}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=overrides)
    torch.manual_seed(0)
    detector = OmegaConf.to_container(config.model.detector, resolve=True)
    tagger: RelationTagger = hydra.utils.instantiate(detector)
    return tagger.eval()


def random_groups(random: np.random.Generator, groups: int, pairs: int, boxes: int) -> list[Group]:
    """Full groups and a rest, as splitting a list of candidates officially gives."""
    sizes = [pairs] * (groups - 1) + [int(random.integers(1, pairs + 1))]
    return [
        Group(
            np.stack([random.permutation(boxes)[:2] for _ in range(count)]).astype(np.int64),
            tuple(random.choice(TEXTS, int(random.integers(1, 7)), replace=False).tolist()),
        )
        for count in sizes
    ]


def small_groups(random: np.random.Generator, boxes: int) -> list[Group]:
    """About as the candidates of the micro-world are (mode=fast): a group of a few pairs for each pair of classes."""
    counts = np.minimum(random.geometric(0.25, size=int(random.choice(9, p=GROUPS)) + 1), 8)
    return [
        Group(
            np.stack([random.permutation(boxes)[:2] for _ in range(count)]).astype(np.int64),
            tuple(random.choice(TEXTS, int(random.integers(1, 5)), replace=False).tolist()),
        )
        for count in counts
    ]


def groups_of_file(path: Path, images: int) -> list[list[Group]]:
    """Candidates of the first images of a unit that `pseudo_label.py` wrote."""
    lines = path.read_text().splitlines()[:images]
    return [[Group.from_json(group) for group in json.loads(line)["groups"]] for line in lines]


def random_input(
    random: np.random.Generator, groups: list[Group], *, boxes: int = 10, size: tuple[int, int] = (128, 160)
) -> TaggingInput:
    """An image with these candidates, its pixels, boxes and labels drawn."""
    boxes = max([boxes, *(int(group.pairs.max()) + 1 for group in groups if len(group.pairs))])
    return TaggingInput(
        image=torch.from_numpy(random.integers(0, 256, (3, *size), np.uint8)),
        boxes_cxcywh=torch.from_numpy(random.uniform(0.1, 0.6, (boxes, 4)).astype(np.float32)),
        labels=torch.from_numpy(random.integers(0, len(NAMES), boxes)),
        groups=groups,
    )


def procedures(
    tagger: RelationTagger, groups_per_pass: int, threshold: float
) -> dict[str, Callable[[Sequence[TaggingInput]], list[Any]]]:
    """What is compared, by name; each gives the relations of all images."""
    kept = TextFeatureCache(tagger.text_encoder)
    options: dict[str, Any] = {"class_names": NAMES, "store_threshold": threshold, "groups_per_pass": groups_per_pass}

    def one_by_one(images: Sequence[TaggingInput]) -> list[Any]:
        return [tag_images(tagger, [image], **options)[0] for image in images]

    return {
        "parity": lambda images: tag_images(tagger, images, mode="parity", **options),
        "fast: encoded once per chunk": one_by_one,
        "  and texts kept": lambda images: tag_images(tagger, images, images_per_pass=1, texts=kept, **options),
        "  and images together": lambda images: tag_images(tagger, images, images_per_pass=8, texts=kept, **options),
    }


def largest_difference(first: Sequence[Tags], second: Sequence[Tags]) -> float:
    """Of all scores; both must be about the same pairs and texts."""
    for one, other in zip(first, second, strict=True):
        if one.texts != other.texts or not np.array_equal(one.pairs, other.pairs):
            raise AssertionError("the procedures answer different questions")
    return max(
        float(np.abs(one.scores - other.scores).max(initial=0.0)) for one, other in zip(first, second, strict=True)
    )


def asked(options: argparse.Namespace) -> Iterator[tuple[str, list[TaggingInput]]]:
    """The candidates that are compared, by name."""
    random = np.random.default_rng(0)
    if options.candidates:
        found = groups_of_file(options.candidates, options.images)
        yield str(options.candidates), [random_input(random, groups) for groups in found]
        return
    drawn = [small_groups(random, boxes=10) for _ in range(options.images)]
    yield "like the micro-world's", [random_input(random, groups) for groups in drawn]
    for count in options.groups:
        drawn = [random_groups(random, count, options.pairs, boxes=10) for _ in range(options.images)]
        yield f"{count} groups of {options.pairs} pairs", [random_input(random, groups) for groups in drawn]


def measure(options: argparse.Namespace, name: str, images: list[TaggingInput]) -> dict[str, Any]:
    """Medians over the repetitions, the first of which is not counted, and differences."""
    torch.set_num_threads(options.threads)
    tagger = build_tagger(options.slots, half_precision=options.half_precision)
    compared = procedures(tagger, options.groups_per_pass, 0.05)
    found = {row: ask(images) for row, ask in procedures(tagger, options.groups_per_pass, 0.0).items()}
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    for repeat in range(options.repeats + 1):
        for row, procedure in compared.items():
            start = time.process_time()
            procedure(images)
            if repeat:
                seconds[row].append(time.process_time() - start)
    first = next(iter(compared))
    return {
        "candidates": name,
        "groups": sum(len(image.groups) for image in images) / len(images),
        "pairs": sum(len(group.pairs) for image in images for group in image.groups) / len(images),
        "scores": sum(map(len, found[first])),
        "rows": {
            row: {
                "images_per_second": len(images) / statistics.median(seconds[row]),
                "ratio": statistics.median(a / b for a, b in zip(seconds[first], seconds[row], strict=True)),
                "largest_difference": largest_difference(found[first], found[row]),
            }
            for row in compared
        },
    }


def print_table(result: dict[str, Any]) -> None:
    """One row per procedure."""
    sizes = f"{result['groups']:.1f} groups, {result['pairs']:.1f} pairs per image, {result['scores']} scores"
    print(f"{result['candidates']}: {sizes}")
    for name, row in result["rows"].items():
        print(
            f"  {name:32}{row['images_per_second']:8.1f} images/s{row['ratio']:8.2f}x"
            f"{row['largest_difference']:12.1e} largest difference"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--groups", type=int, nargs="+", default=(1, 4), help="groups of each image")
    parser.add_argument("--candidates", type=Path, help="unit_*.jsonl of a run, instead of drawn ones")
    parser.add_argument("--pairs", type=int, default=24, help="most pairs of a drawn group")
    parser.add_argument("--slots", type=int, default=24, help="pairs that the tagger takes at once; 100 as published")
    parser.add_argument("--groups-per-pass", type=int, default=16)
    parser.add_argument(
        "--half-precision", action="store_true", help="the backbone in bfloat16, as the micro-world has it"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    results = [measure(options, name, images) for name, images in asked(options)]
    print(f"{options.threads} threads, median of {options.repeats} runs, processor time, torch {torch.__version__}")
    for result in results:
        print_table(result)
    if options.json:
        content = {"torch": torch.__version__, "processor": platform.processor(), "results": results}
        temporary = options.json.with_name(options.json.name + ".tmp")
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        temporary.rename(options.json)


if __name__ == "__main__":
    main()
