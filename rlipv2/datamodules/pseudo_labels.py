"""Images of pseudo-labelling for `Trainer.predict`: whole work units, divided over the processes beforehand."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from rlipv2 import transforms
from rlipv2.datasets.errors import DatasetNotFoundError, ImageFileError
from rlipv2.datasets.images import read_image
from rlipv2.ops.boxes import xyxy_to_cxcywh
from rlipv2.pseudo_labels.batches import CaptionBatch, ImageFailure, TaggingBatch, UnitBatch
from rlipv2.pseudo_labels.candidates import kept_boxes
from rlipv2.pseudo_labels.plan import Plan
from rlipv2.pseudo_labels.records import Group, LabelledImage
from rlipv2.pseudo_labels.source import LabelledImages
from rlipv2.pseudo_labels.tagging import TaggingInput
from rlipv2.pseudo_labels.units import unit_seed
from rlipv2.pseudo_labels.workers import rows_before
from rlipv2.structures import Annotation, LabelSpace, Sample

Loaded = tuple[LabelledImage, Any]
NO_LABELS = torch.zeros(0, 3, dtype=torch.int64)


class UnitDataModule(pl.LightningDataModule):
    """Loads the units of one process in order; a subclass tells which images of a unit are needed, and how.

    A batch holds images of one unit only, and which images it holds depends on the unit and `batch_size` only, not on
    the number of processes. Every loader process has whole units. An image that cannot be loaded is told in
    `failures` of the batch.

    Args:
        plan: of the run.
        images: of the run.
        units: called with the rank and the number of processes, gives the units that this process has to make.
        batch_size: images in a batch.
        num_workers: loader processes, 0 for none; each may have a unit under way.
        seed: of the run.
    """

    stage: str

    def __init__(
        self,
        plan: Plan,
        images: LabelledImages,
        units: Callable[[int, int], Iterable[int]],
        *,
        batch_size: int = 8,
        num_workers: int = 2,
        seed: int = 42,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: expected at least 1")
        self.plan, self.images, self.choose = plan, images, units
        self.units: list[int] = []
        self.class_names = images.names
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed

    def setup(self, stage: str) -> None:
        """Chooses the units, now that the number of processes is known."""
        self.units = list(self.choose(self.trainer.global_rank, self.trainer.world_size))  # type: ignore[union-attr]

    def needed(self, images: list[LabelledImage], unit: int) -> list[Loaded]:
        """The images of a unit that have to be loaded, in the order of the batches, each with what `load` needs."""
        raise NotImplementedError

    def load(self, image: LabelledImage, extra: Any) -> Any:
        """What the network gets of an image.

        Raises:
            DatasetNotFoundError: its file is missing.
            ImageFileError: it cannot be decoded, or is another image than the annotations tell.
        """
        raise NotImplementedError

    def batch(self, loaded: list[Any], place: dict[str, Any]) -> UnitBatch:
        """The batch of what was loaded; `place` are the arguments of `UnitBatch`."""
        raise NotImplementedError

    def unit_batches(self, unit: int) -> Iterator[UnitBatch]:
        """The batches of a unit, at least one."""
        needed = self.needed(self.images.read(self.plan.images_of(unit)), unit)
        starts = range(0, max(len(needed), 1), self.batch_size)
        for number, start in enumerate(starts):
            ids, loaded, failures = [], [], []
            for image, extra in needed[start : start + self.batch_size]:
                try:
                    loaded.append(self.load(image, extra))
                    ids.append(image.image_id)
                except (DatasetNotFoundError, ImageFileError, OSError) as error:
                    kind = "missing image" if isinstance(error, DatasetNotFoundError) else "unusable image"
                    failures.append(ImageFailure(image.image_id, kind, str(error)))
            seed = unit_seed(self.seed, self.stage, unit, number)
            last = start == starts[-1]
            place = {"unit": unit, "image_ids": ids, "failures": failures, "last": last, "seed": seed}
            yield self.batch(loaded, place)

    def predict_dataloader(self) -> DataLoader[UnitBatch]:
        """All batches of all units of this process."""
        return DataLoader(
            _Units(self.units, self.unit_batches),
            batch_size=None,
            num_workers=self.num_workers,
            # with a generator of its own a loader leaves the global random state alone
            generator=torch.Generator().manual_seed(self.seed),
        )


class _Units(IterableDataset[UnitBatch]):
    """The batches of some units; every loader process has some of the units."""

    def __init__(self, units: Sequence[int], batches: Callable[[int], Iterator[UnitBatch]]) -> None:
        self.units, self.batches = units, batches

    def __iter__(self) -> Iterator[UnitBatch]:
        worker = get_worker_info()
        for unit in self.units if worker is None else self.units[worker.id :: worker.num_workers]:
            yield from self.batches(unit)


class CaptioningDataModule(UnitDataModule):
    """All images of the units, RGB, as stored."""

    stage = "caption"

    def needed(self, images: list[LabelledImage], unit: int) -> list[Loaded]:
        """All of them in order."""
        return [(image, None) for image in images]

    def load(self, image: LabelledImage, extra: None) -> Image.Image:
        """The image; boxes refer to the stored pixels, so that an EXIF rotation is ignored."""
        return Image.fromarray(read_image(self.images.path(image)).permute(1, 2, 0).numpy())

    def batch(self, loaded: list[Any], place: dict[str, Any]) -> CaptionBatch:
        """A `CaptionBatch`."""
        return CaptionBatch(**place, images=loaded)


class TaggingDataModule(UnitDataModule):
    """The images that have candidates, sorted by size, so that batches need little padding.

    Args:
        plan: of the run.
        images: of the run.
        units: see `UnitDataModule`.
        short_side: pixels that the short side is scaled to; published: 800.
        max_size: of the long side; published: 1333.
        options: further arguments of `UnitDataModule`.
    """

    stage = "tag"

    def __init__(
        self,
        plan: Plan,
        images: LabelledImages,
        units: Callable[[int, int], Iterable[int]],
        *,
        short_side: int = 800,
        max_size: int = 1333,
        **options: Any,
    ) -> None:
        super().__init__(plan, images, units, **options)
        self.short_side, self.max_size = short_side, max_size
        self.transform = transforms.eval_transform(short_side=short_side, max_size=max_size)

    def needed(self, images: list[LabelledImage], unit: int) -> list[Loaded]:
        """Those with a pair, each with its groups."""
        rows = rows_before(self.plan, "tag", unit)
        needed = []
        for image in images:
            groups = [Group.from_json(group) for group in rows.get(image.image_id, {"groups": []})["groups"]]
            if any(len(group.pairs) for group in groups):
                needed.append((image, groups))
        return sorted(needed, key=lambda item: self._size(item[0]))

    def load(self, image: LabelledImage, extra: list[Group]) -> TaggingInput:
        """The image as the tagger was evaluated with, its kept boxes and its candidates."""
        path = self.images.path(image)
        pixels = read_image(path)
        height, width = pixels.shape[1:]
        if (height, width) != image.size:
            wrong = f"{width} x {height} pixels, the annotations tell {image.size[1]} x {image.size[0]}"
            raise ImageFileError.at(path, wrong, "boxes do not fit it; copy the right image")
        boxes, labels = kept_boxes(image)
        nothing = Annotation(image.image_id, image.file_name, torch.zeros(0, 4), NO_LABELS[:, 0], NO_LABELS)
        sample = Sample(pixels, nothing, LabelSpace(objects=(), relations=()), (height, width))
        scale = torch.tensor([width, height, width, height], dtype=torch.float32)
        return TaggingInput(
            image=self.transform(sample).image,
            boxes_cxcywh=xyxy_to_cxcywh(torch.from_numpy(boxes)) / scale,
            labels=torch.from_numpy(labels),
            groups=extra,
        )

    def batch(self, loaded: list[Any], place: dict[str, Any]) -> TaggingBatch:
        """A `TaggingBatch`."""
        return TaggingBatch(**place, inputs=loaded)

    def _size(self, image: LabelledImage) -> tuple[int, int]:
        return transforms.resized_size(*image.size, self.short_side, self.max_size)
