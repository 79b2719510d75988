"""What the loaders of pseudo-labelling hand to the networks: images of one work unit, and those that failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:  # the loaders of captions start without the networks
    from rlipv2.pseudo_labels.tagging import TaggingInput


@dataclass(frozen=True)
class ImageFailure:
    """Why a stage has nothing for an image.

    Attributes:
        image_id: of the image.
        kind: a few words that failures are counted by, "missing image" for example.
        message: the whole error.
    """

    image_id: int
    kind: str
    message: str


@dataclass(frozen=True)
class UnitBatch:
    """Some images of one work unit; there may be none.

    Attributes:
        unit: number of the work unit.
        image_ids: of the images that could be loaded.
        failures: of those that could not.
        last: nothing of this unit follows.
        seed: for random choices about these images: of the run, stage, unit and place in the unit only.
        made_from: checksum of the unit of the stage before that was read for this one.
    """

    unit: int
    image_ids: list[int] = field(default_factory=list)
    failures: list[ImageFailure] = field(default_factory=list)
    last: bool = False
    seed: int = 0
    made_from: str | None = None


@dataclass(frozen=True)
class CaptionBatch(UnitBatch):
    """Pictures to be described, RGB, as stored: of each image one, or several parts.

    Attributes:
        images: pictures of all images, those of the first image first.
        parts: how many of them each image has; empty where each is a whole image.
    """

    images: list[Image.Image] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class TaggingBatch(UnitBatch):
    """Images with candidates to be scored."""

    inputs: list[TaggingInput] = field(default_factory=list)
