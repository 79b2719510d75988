"""A predictor of no weight: triplets that depend on the pixels of an image alone; and folders of images."""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rlipv2.__main__ import main
from rlipv2.checkpoints import build_detector
from rlipv2.predict.pictures import Pictures
from rlipv2.predict.results import Results
from rlipv2.predict.run import Runner
from rlipv2.structures import InferenceSettings, LabelSpace, Triplets
from tests.models import tiny

LABELS = LabelSpace(objects=["person", "dog", "kite"], relations=["hold", "ride", "walk"])


def triplets_of(image: torch.Tensor, number: int = 4) -> Triplets:
    """Some triplets, the same ones for the same pixels."""
    _, height, width = image.shape
    generator = torch.Generator().manual_seed(int(image.long().sum()))
    corners = torch.rand(2, number, 2, 2, generator=generator) * torch.tensor([width, height])
    boxes = torch.cat([corners.amin(2), corners.amax(2)], dim=2)
    return Triplets(
        subject_boxes=boxes[0],
        object_boxes=boxes[1],
        subject_labels=torch.zeros(number, dtype=torch.long),
        object_labels=torch.randint(3, (number,), generator=generator),
        relation_labels=torch.randint(3, (number,), generator=generator),
        scores=torch.rand(number, generator=generator).sort(descending=True).values,
        label_space=LABELS,
        image_size=(height, width),
    )


def predict(images: list[torch.Tensor]) -> list[Triplets]:
    return [triplets_of(image) for image in images]


def write_weights(folder: Path, *, seed: int = 0) -> Path:
    """A weight folder of a few thousand weights, for small images."""
    torch.manual_seed(seed)
    detector = build_detector(tiny.CONFIG)
    detector.label_space, detector.inference = tiny.LABELS, InferenceSettings(short_side=96, max_size=128)
    detector.save_pretrained(folder)
    return folder


def run_command(arguments: list[str]) -> None:
    """What `python -m rlipv2` does, in a process that has imported everything."""
    sys.exit(main(arguments))


def write_images(folder: Path, count: int, *, size: tuple[int, int] = (24, 32)) -> list[str]:
    """`count` images of noise; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    names = [f"{number:04d}.png" for number in range(count)]
    for name in names:
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    return names


def options_of(pictures: dict | None) -> dict:
    """None: no pictures at all."""
    return {"draw": False, "gallery": False} if pictures is None else pictures


def run(inputs, out: Path, *, settings: dict | None = None, predict=predict, pictures: dict | None = None, **options):
    """Runs over inputs into a folder; returns the counts."""
    with Results(out, settings or {"min_score": 0.0}) as results:
        runner = Runner(predict, results, Pictures(out, **options_of(pictures)), **options)
        counts = runner.run(inputs.sources)
        results.finish(counts.to_dict())
    return counts
