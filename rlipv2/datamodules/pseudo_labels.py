"""Images of pseudo-labelling for `Trainer.predict`: whole work units, divided over the processes beforehand."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from rlipv2.pseudo_labels.crops import Crops, pair_crops
from rlipv2.pseudo_labels.plan import Plan
from rlipv2.pseudo_labels.records import Group, LabelledImage
from rlipv2.pseudo_labels.source import LabelledImages
from rlipv2.pseudo_labels.tagging import TaggingInput
from rlipv2.pseudo_labels.units import failures_of, unit_seed
from rlipv2.pseudo_labels.workers import rows_before
from rlipv2.structures import Annotation, LabelSpace, Sample

Loaded = tuple[LabelledImage, Any]
MISSING, UNUSABLE = "missing image", "unusable image"
NO_LABELS = torch.zeros(0, 3, dtype=torch.int64)


@dataclass(frozen=True)
class Needed:
    """What has to be done for a unit.

    Attributes:
        images: that have to be loaded, each with what `UnitDataModule.load` needs.
        failures: of images that need not be loaded, and could not.
        made_from: checksum of the unit of the stage before that tells these; None where nothing was read.
    """

    images: list[Loaded]
    failures: Sequence[ImageFailure] = ()
    made_from: str | None = None


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

    def needed(self, images: list[LabelledImage], unit: int) -> Needed:
        """Which images of a unit have to be loaded, in the order of the batches, each with what `load` needs."""
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
        starts = range(0, max(len(needed.images), 1), self.batch_size)
        for number, start in enumerate(starts):
            ids, loaded, failures = [], [], [] if start else list(needed.failures)
            for image, extra in needed.images[start : start + self.batch_size]:
                try:
                    loaded.append(self.load(image, extra))
                    ids.append(image.image_id)
                except (DatasetNotFoundError, ImageFileError, OSError) as error:
                    kind = MISSING if isinstance(error, DatasetNotFoundError) else UNUSABLE
                    failures.append(ImageFailure(image.image_id, kind, str(error)))
            seed = unit_seed(self.seed, self.stage, unit, number)
            last = start == starts[-1]
            place = {"unit": unit, "image_ids": ids, "failures": failures, "last": last, "seed": seed}
            yield self.batch(loaded, {**place, "made_from": needed.made_from})

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
    """All images of the units, RGB, as stored.

    Args:
        plan: of the run.
        images: of the run.
        units: see `UnitDataModule`.
        crops: None for whole images; "union" or "official_union" for a part for each pair of boxes, see `pair_crops`.
        options: further arguments of `UnitDataModule`.

    Raises:
        ValueError: `crops` is none of these.
    """

    stage = "caption"

    def __init__(
        self,
        plan: Plan,
        images: LabelledImages,
        units: Callable[[int, int], Iterable[int]],
        *,
        crops: Crops | None = None,
        **options: Any,
    ) -> None:
        super().__init__(plan, images, units, **options)
        if crops not in (None, "union", "official_union"):
            raise ValueError(f"captioning.crops={crops!r}: expected union, official_union or null")
        self.crops = crops

    def needed(self, images: list[LabelledImage], unit: int) -> Needed:
        """All of them in order."""
        return Needed([(image, None) for image in images])

    def load(self, image: LabelledImage, extra: None) -> list[Image.Image]:
        """The image or its parts; boxes refer to the stored pixels, so that an EXIF rotation is ignored."""
        picture = Image.fromarray(read_image(self.images.path(image)).permute(1, 2, 0).numpy())
        if self.crops is None:
            return [picture]
        return [picture.crop(box) for box in pair_crops(image, quirk=self.crops == "official_union")] or [picture]

    def batch(self, loaded: list[Any], place: dict[str, Any]) -> CaptionBatch:
        """A `CaptionBatch`."""
        pictures = [picture for some in loaded for picture in some]
        parts = [] if self.crops is None else [len(some) for some in loaded]
        return CaptionBatch(**place, images=pictures, parts=parts)


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

    def needed(self, images: list[LabelledImage], unit: int) -> Needed:
        """Those with a pair, each with its groups; the files of the others have to be there, too."""
        rows, made_from = rows_before(self.plan, "tag", unit)
        told = {failure.image_id for failure in failures_of(self.plan.folder("caption"), unit)}
        needed, failures = [], []
        for image in images:
            groups = [Group.from_json(group) for group in rows.get(image.image_id, {"groups": []})["groups"]]
            if any(len(group.pairs) for group in groups):
                needed.append((image, groups))
            elif image.image_id not in told and (failure := self._without_file(image)) is not None:
                failures.append(failure)
        return Needed(sorted(needed, key=lambda item: self._size(item[0])), failures, made_from)

    def _without_file(self, image: LabelledImage) -> ImageFailure | None:
        """Why an image that need not be read could not be read; only what costs no reading."""
        path = self.images.path(image)
        try:
            if path.stat().st_size:
                return None
        except FileNotFoundError as error:
            return ImageFailure(image.image_id, MISSING, f"{path}: not found ({error.strerror}); no relation needs it")
        except OSError as error:
            return ImageFailure(image.image_id, UNUSABLE, f"{path}: {error}")
        return ImageFailure(image.image_id, UNUSABLE, f"{path}: the file is empty; copy it again")

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
