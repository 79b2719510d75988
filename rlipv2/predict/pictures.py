"""The pictures that a run leaves: drawn ones, scene graphs, and the small copies that the gallery shows."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from rlipv2.ops.files import write_atomically
from rlipv2.pages.pictures import fitted
from rlipv2.predict.names import COPIES, DRAWN, GRAPHS, THUMBNAILS, picture_name
from rlipv2.structures import Triplets
from rlipv2.visualize import draw_triplets, to_image

THUMBNAIL_SIDE, COPY_SIDE, DRAWN_SIDE = 320, 1280, 3000
"""Longer sides in pixels; larger pictures are drawn smaller."""


@dataclass(frozen=True)
class Pictures:
    """Writes the pictures of an image.

    Attributes:
        folder: of the results.
        draw: whether the drawn ones are wanted.
        draw_top: how many triplets these show at most.
        graphs: whether scene graphs are wanted.
        gallery: whether the copies for the gallery are.
    """

    folder: Path
    draw: bool = True
    draw_top: int = 10
    graphs: bool = False
    gallery: bool = True

    def save(self, name: str, image: UInt8[Tensor, "3 h w"], triplets: Triplets) -> None:
        """Writes what is wanted of an image; nothing that is half written stays.

        Raises:
            OSError: no space left, or a name that is too long.
        """
        if self.draw:
            self._write(DRAWN, name, self.drawn(image, triplets), quality=90)
        if self.graphs:
            self._write(GRAPHS, name, self.graph(image, triplets), quality=92)
        self.copy(name, image)

    def drawn(self, image: UInt8[Tensor, "3 h w"], triplets: Triplets, *, legend: bool = True) -> Image.Image:
        """The image with its best triplets; without a legend all images of one size give pictures of one size."""
        long_side = DRAWN_SIDE if max(image.shape[1:]) > DRAWN_SIDE else None
        return draw_triplets(image, triplets.top(self.draw_top), legend=legend, long_side=long_side)

    def graph(self, image: UInt8[Tensor, "3 h w"], triplets: Triplets) -> Image.Image:
        """Its best triplets as nodes and edges."""
        from rlipv2.visualize import draw_scene_graph

        return draw_scene_graph(triplets.top(self.draw_top))

    def copy(self, name: str, image: UInt8[Tensor, "3 h w"]) -> None:
        """Writes the copies for the gallery, if they are wanted."""
        if self.gallery:
            copy = fitted(to_image(image), COPY_SIDE)
            self._write(COPIES, name, copy, quality=85)
            self._write(THUMBNAILS, name, fitted(copy, THUMBNAIL_SIDE), quality=78)

    def _write(self, folder: str, name: str, picture: Image.Image, *, quality: int) -> None:
        content = io.BytesIO()
        picture.convert("RGB").save(content, format="JPEG", quality=quality)
        write_atomically(self.folder / folder / picture_name(name), content.getvalue())


Predict = Callable[[list[Tensor]], list[Triplets]]
"""Triplets of a few images, a `uint8` tensor "3 h w" each."""
