"""The micro-world written as HICO-DET, in the layout that the PPDM authors published and RLIPv2 reads."""

import functools
import json
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from rlipv2.microworld.deck import SPLITS, deal
from rlipv2.microworld.relations import Interaction
from rlipv2.microworld.render import Picture, render
from rlipv2.microworld.scene import sample_scene
from rlipv2.microworld.splits import SPLITS_FILE, zero_shot_lists
from rlipv2.microworld.storage import build_once
from rlipv2.vocabularies import HICOVocabulary, load

VERSION = "1.0"
"""Changes with every change of the pictures or labels: folders of another version are not re-used."""

ANNOTATION_FILES = {"train": "trainval_hico.json", "test": "test_hico.json"}
Job = tuple[Path, int, str, int, tuple[Interaction, ...], tuple[int, int]]


def write_hico(
    root: str | Path,
    *,
    seed: int = 0,
    num_train: int = 2000,
    num_test: int = 300,
    size: tuple[int, int] = (160, 320),
    workers: int = 2,
    progress: bool = True,
) -> Path:
    """Writes the HICO-DET part of the micro-world to `root`, or re-uses what is there, and returns `root`.

    The same seed, counts and size give the same files in any number of workers. Images of a split depend on its
    number of images too, because the long tail is dealt exactly. Besides the official files there are
    `annotations/microworld_splits.json` (rare and unseen interactions of this world) and `microworld.json` (settings
    and counts). The folder appears when it is complete; a second process that starts meanwhile waits for it.

    Args:
        root: the folder that a HICO-DET reader is given, with `images/` and `annotations/` inside.
        seed: another seed gives other images with the same statistics.
        num_train: images of the training split.
        num_test: images of the test split, whose interactions are spread more evenly (see `deck.deal`).
        size: bounds of the short side of an image in pixels, inclusive.
        workers: processes that draw; 1 draws in this process.
        progress: whether to show a progress bar.

    Raises:
        FileExistsError: `root` holds something else, or a micro-world with other settings.
        ValueError: counts or sizes that make no world.
    """
    if num_train < 1 or num_test < 1 or workers < 1:
        raise ValueError(f"num_train={num_train}, num_test={num_test}, workers={workers}: each must be at least 1")
    if not 96 <= size[0] <= size[1] <= 1024:
        raise ValueError(f"size={size}: expected (smallest, largest) short side between 96 and 1024 pixels")
    root = Path(root)
    counts = {"train": num_train, "test": num_test}
    settings = {"seed": seed, "num_train": num_train, "num_test": num_test, "size": list(size)}

    def write(folder: Path) -> dict[str, Any]:
        records = {}
        for split in SPLITS:
            jobs = _jobs(folder, seed, split, counts[split], size)
            steps: Iterable[dict[str, Any]] = _run(jobs, workers)
            description = f"micro-world, {split}"
            records[split] = list(track(steps, description, total=len(jobs), disable=not progress))
        return _write_annotations(folder / "annotations", records)

    build_once(root, settings, write, VERSION)
    return root


def _jobs(folder: Path, seed: int, split: str, count: int, size: tuple[int, int]) -> list[Job]:
    images = folder / "images" / f"{split}2015"
    images.mkdir(parents=True)
    return [(images, seed, split, index, cards, size) for index, cards in enumerate(deal(seed, split, count))]


def _run(jobs: list[Job], workers: int) -> Iterator[dict[str, Any]]:
    if workers == 1:
        yield from map(_write_image, jobs)
        return
    # Forked as the workers of a DataLoader are: spawned ones would import torch first, longer than some worlds take.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_write_image, jobs, chunksize=max(1, min(32, len(jobs) // (4 * workers))))


@functools.cache
def _vocabulary() -> HICOVocabulary:
    return load("hico")


def _write_image(job: Job) -> dict[str, Any]:
    """Draws and stores one image; returns its record."""
    folder, seed, split, index, cards, size = job
    picture = draw(seed, split, index, cards, size)
    number = index + 1
    record: dict[str, Any] = {"file_name": f"HICO_{split}2015_{number:08d}.jpg"}
    picture.image.save(folder / record["file_name"], quality=90)
    if split == "train":
        record["img_id"] = number
    vocabulary = _vocabulary()
    objects, coco_ids = vocabulary.label_space.objects, vocabulary.coco_ids
    rows = [objects.index(name) for name in picture.names]
    record["annotations"] = [
        {"bbox": list(box), "category_id": int(coco_ids[row])} for box, row in zip(picture.boxes, rows, strict=True)
    ]
    record["hoi_annotation"] = []
    for subject, target, verb in picture.relations:
        relation = vocabulary.verbs.index(verb)
        hoi = {"subject_id": subject, "object_id": target, "category_id": relation + 1}
        if split == "train":  # the published test file has no such field either
            hoi["hoi_category_id"] = int(vocabulary.hoi_ids[relation, rows[target]]) + 1
        record["hoi_annotation"].append(hoi)
    return record


def draw(seed: int, split: str, index: int, cards: tuple[Interaction, ...], size: tuple[int, int]) -> Picture:
    """The picture at `index` of a split: nothing else decides about its pixels.

    Raises:
        RuntimeError: `cards` never fit into an image of this size.
    """
    for attempt in range(50):
        key = f"{seed}/{split}/{index}/{attempt}"
        picture = render(sample_scene(cards, size, key), key)
        if picture is not None:
            return picture
    raise RuntimeError(f"{seed}/{split}/{index}: every drawing of {cards} hides something; plan fewer interactions")


def _write_annotations(folder: Path, records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Writes all files of `annotations/` and returns the counts for the settings file."""
    folder.mkdir()
    vocabulary = _vocabulary()
    for split, name in ANNOTATION_FILES.items():
        (folder / name).write_text(json.dumps(records[split]) + "\n", encoding="utf-8")
    np.save(folder / "corre_hico.npy", vocabulary.valid_pairs.astype(np.float64))
    (folder / "hoi_list_new.json").write_text(json.dumps(_hoi_list(vocabulary)) + "\n", encoding="utf-8")
    counts = {split: hoi_counts(records[split], vocabulary) for split in SPLITS}
    lists = zero_shot_lists(counts["train"], counts["test"], vocabulary)
    (folder / SPLITS_FILE).write_text(json.dumps(lists, indent=1) + "\n", encoding="utf-8")
    return {
        split: {
            "images": len(records[split]),
            "boxes": sum(len(record["annotations"]) for record in records[split]),
            "relations": sum(counts[split].values()),
            "interactions": len(counts[split]),
        }
        for split in SPLITS
    }


def _hoi_list(vocabulary: HICOVocabulary) -> list[dict[str, Any]]:
    return [
        {"id": str(hoi + 1), "object_cat": int(vocabulary.coco_ids[target]), "verb_id": int(verb) + 1}
        for hoi, (verb, target) in enumerate(vocabulary.hois)
    ]


def hoi_counts(records: Iterable[dict[str, Any]], vocabulary: HICOVocabulary) -> Counter[int]:
    """Instances of each interaction in PPDM records, by official id (1 to 600)."""
    counts: Counter[int] = Counter()
    for record in records:
        for hoi in record["hoi_annotation"]:
            category = record["annotations"][hoi["object_id"]]["category_id"]
            row = vocabulary.hoi_ids[hoi["category_id"] - 1, vocabulary.coco_rows[category]]
            counts[int(row) + 1] += 1
    return counts
