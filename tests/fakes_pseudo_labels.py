"""What pseudo-labelling needs in miniature: a Relation Tagger with random weights, images with captions."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlipv2 import utils
from rlipv2.checkpoints.folder import build_network
from rlipv2.labelling import Run, quieten
from rlipv2.labelling.processes import FIRST
from tests.fakes import write_image, write_json

ROOT = Path(__file__).parents[1]
SIZE = (48, 64)
CLASSES = ("person", "horse", "dog", "kite")
CAPTIONS = (
    "a man riding a horse",
    "a woman walking a dog next to a horse",
    "two people on a horse, a dog behind them",
    "a person flying a kite",
    "a dog",
)


def write_tagger(folder: Path) -> Path:
    """A weight folder of the network of `experiment=micro_tagger`, untrained, with scores of all sizes."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides=["experiment=micro_tagger"])
    torch.manual_seed(0)
    tagger: Any = build_network(OmegaConf.to_container(config.model.detector, resolve=True))  # type: ignore[arg-type]
    tagger.head.projection.weight.data.mul_(30)
    tagger.save_pretrained(folder)
    return folder


def write_own_images(root: Path, count: int = 12, *, first_id: int = 1) -> tuple[Path, Path, Path]:
    """`count` images with boxes in COCO's format and captions; returns the annotations, the images, the captions.

    Of every six images the last one has no box, the fifth only a crowd and a box without area.
    """
    pictures = root / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    images, annotations, captions = [], [], {}
    for number in range(count):
        image = first_id + number
        name = f"{image:06d}.png"
        write_image(pictures / name, SIZE, seed=number)
        images.append({"id": image, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        captions[str(image)] = [CAPTIONS[number % len(CAPTIONS)], CAPTIONS[(number + 2) % len(CAPTIONS)]]
        kind = number % 6
        boxes = {4: [(1, [5, 5, 30, 30], 1), (2, [7, 7, 0, 9], 0)], 5: []}.get(
            kind, [(1 + row % 4, [3.5 + 7 * row, 4 + 3 * row, 20, 24.5], 0) for row in range(2 + number % 4)]
        )
        for category, box, crowd in boxes:
            annotations.append({"image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)],
    }
    write_json(root / "boxes.json", content)
    (root / "captions.json").write_text(json.dumps(captions))
    return root / "boxes.json", pictures, root / "captions.json"


def composed(*overrides: str) -> Any:
    """The configuration of these overrides of `pseudo_label.py`."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("pseudo_label", overrides=[*overrides, "paths.output=unused"])


def labelled(root: Path, name: str, *overrides: str) -> None:
    """Runs `pseudo_label.py` on what `write_own_images` and `write_tagger` wrote to `root`; out is `root / name`."""
    options = [
        f"out={root / name}",
        f"source.annotations={root / 'boxes.json'}",
        f"source.images={root / 'pictures'}",
        f"captions={root / 'captions.json'}",
        f"tagger.init={root / 'tagger'}",
        *("parser=rules", "trainer=cpu", "unit_size=3", "captioning.num_workers=0", "tagger.num_workers=0"),
        *("tagger.store_threshold=0.0", "tagger.short_side=64", "tagger.max_size=96", "report.num_examples=2"),
    ]
    config = composed("pseudo_label=custom", *options, *overrides)
    os.environ.pop(FIRST, None)
    quieten()
    utils.check_config(config)
    Run(config)()


def merged_file(out: Path) -> Path:
    """The annotations of a run."""
    return out / "annotations/pseudo_label_custom.json"


class MeanCaptioner(torch.nn.Module):
    """Says the mean colour of a picture and a number drawn with the seed."""

    def __init__(self, **options: Any) -> None:
        super().__init__()

    def caption(self, images: Any, *, seed: int) -> list[list[str]]:
        """Two captions of each image."""
        random = np.random.default_rng(seed)
        return [[f"colour {np.asarray(image).mean():.2f}", f"number {random.integers(1 << 40)}"] for image in images]


class NoCaptioner(MeanCaptioner):
    """One whose weights are not there."""

    def __init__(self, **options: Any) -> None:
        raise OSError("no weights")
