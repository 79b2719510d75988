"""From a seed to a folder: draws the pictures of a world in several processes and lets a layout write their labels."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypedDict

from rich.progress import track

from rlipv2.microworld.deck import deal
from rlipv2.microworld.relations import Interaction
from rlipv2.microworld.render import Picture, render
from rlipv2.microworld.scene import sample_scene
from rlipv2.microworld.storage import build_once

VERSION = "1.1"
"""Changes with every change of the pictures or of what is known about them; layouts count their own files."""


@dataclass(frozen=True)
class Place:
    """Where a picture belongs: `world` names the random streams, `number` counts from 1 through all splits."""

    world: str
    split: str
    index: int
    number: int


@dataclass(frozen=True)
class Drawn:
    """A stored picture and what is known about it, in no layout yet.

    Attributes:
        place: of the picture in its world.
        file: path of the image relative to the root of the layout.
        size: (width, height) in pixels.
        names: category of each entity, by COCO names.
        boxes: x1 y1 x2 y2 in whole pixels, tight around what can be seen.
        relations: (subject row, object row, verb of HICO-DET); subjects are persons.
        activities: what each person does on its own where it has no relation but `no_interaction`, else "".
    """

    place: Place
    file: str
    size: tuple[int, int]
    names: tuple[str, ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    relations: tuple[tuple[int, int, str], ...]
    activities: tuple[str, ...]

    def random(self, purpose: str) -> Random:
        """A random stream of this picture and purpose, the same whatever else was drawn before."""
        return Random(f"{self.place.world}/{self.place.split}/{self.place.index}/{purpose}")


Labels = Mapping[str, Sequence[Drawn]]
"""The pictures of each split, in order."""


@dataclass(frozen=True)
class Layout:
    """How a world is stored.

    Attributes:
        name: of the layout, part of the settings of a folder.
        version: of the files that the layout writes.
        image_path: of a picture, relative to the root.
        write_labels: writes everything but the images into a folder; returns counts for its settings file.
        own_pictures: whether the pictures differ from those that the other layouts get from the same seed.
        validation: whether there is a split "val", a quarter of the test split.
    """

    name: str
    version: str
    image_path: Callable[[Place], str]
    write_labels: Callable[[Path, Labels], dict[str, Any]]
    own_pictures: bool = False
    validation: bool = False


class WorldOptions(TypedDict, total=False):
    """Keyword arguments of `write_world`, which all writers hand on."""

    seed: int
    num_train: int
    num_test: int
    size: tuple[int, int]
    workers: int
    progress: bool


def write_world(
    root: str | Path,
    layout: Layout,
    *,
    seed: int = 0,
    num_train: int = 2000,
    num_test: int = 300,
    size: tuple[int, int] = (160, 320),
    workers: int = 2,
    progress: bool = True,
) -> Path:
    """Writes a world to `root` in some layout, or re-uses what is there, and returns `root`.

    The same seed, counts and size give the same files in any number of workers. Images of a split depend on its
    number of images too, because the long tail is dealt exactly. The folder appears when it is complete, with
    settings and counts in `microworld.json`; a second process that starts meanwhile waits for it. A folder that an
    older generator wrote with the same settings is replaced.

    Args:
        root: the folder that a reader of the layout is given.
        layout: file names and label files.
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
    settings = {
        "layout": layout.name,
        "seed": seed,
        "num_train": num_train,
        "num_test": num_test,
        "size": list(size),
    }
    counts = {"train": num_train, "test": num_test}
    if layout.validation:
        counts["val"] = max(1, num_test // 4)
    world = f"{layout.name}/{seed}" if layout.own_pictures else str(seed)

    def write(folder: Path) -> dict[str, Any]:
        labels, done = {}, 0
        for split, count in counts.items():
            jobs = _jobs(folder, layout, world, split, count, done, size)
            steps: Iterable[Drawn] = _run(jobs, workers)
            description = f"micro-world, {layout.name} {split}"
            labels[split] = list(track(steps, description, total=len(jobs), disable=not progress))
            done += count
        return layout.write_labels(folder, labels)

    root = Path(root)
    build_once(root, settings, write, f"{VERSION}/{layout.version}")
    return root


class Job(NamedTuple):
    """One picture to draw and store."""

    folder: Path
    file: str
    place: Place
    cards: tuple[Interaction, ...]
    size: tuple[int, int]


def _jobs(
    folder: Path, layout: Layout, world: str, split: str, count: int, done: int, size: tuple[int, int]
) -> list[Job]:
    places = [Place(world, split, index, done + index + 1) for index in range(count)]
    files = [layout.image_path(place) for place in places]
    for parent in {(folder / file).parent for file in files}:
        parent.mkdir(parents=True, exist_ok=True)
    cards = deal(world, split, count)
    return [Job(folder, *rest, size) for rest in zip(files, places, cards, strict=True)]


def _run(jobs: list[Job], workers: int) -> Iterator[Drawn]:
    if workers == 1:
        yield from map(_draw_and_store, jobs)
        return
    # Forked as the workers of a DataLoader are: spawned ones would import torch first, longer than some worlds take.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_draw_and_store, jobs, chunksize=max(1, min(32, len(jobs) // (4 * workers))))


def _draw_and_store(job: Job) -> Drawn:
    place = job.place
    picture = draw(place.world, place.split, place.index, job.cards, job.size)
    picture.image.save(job.folder / job.file, quality=90)
    return Drawn(
        place, job.file, picture.image.size, picture.names, picture.boxes, picture.relations, picture.activities
    )


def draw(world: int | str, split: str, index: int, cards: tuple[Interaction, ...], size: tuple[int, int]) -> Picture:
    """The picture at `index` of a split: nothing else decides about its pixels.

    Raises:
        RuntimeError: `cards` never fit into an image of this size.
    """
    for attempt in range(50):
        key = f"{world}/{split}/{index}/{attempt}"
        picture = render(sample_scene(cards, size, key), key)
        if picture is not None:
            return picture
    raise RuntimeError(f"{world}/{split}/{index}: every drawing of {cards} hides something; plan fewer interactions")
