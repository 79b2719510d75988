"""What a captioner is."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from PIL import Image


@runtime_checkable
class Captioner(Protocol):
    """Describes images in words."""

    def caption(self, images: Sequence[Image.Image], *, seed: int) -> list[list[str]]:
        """The captions of each image.

        The same images and seed give the same captions, whatever was described before.

        Args:
            images: RGB.
            seed: of random choices, 0 to 2^63 - 1.
        """
        ...
