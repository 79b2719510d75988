"""Pictures in and out."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from rlipv2.ops.files import write_atomically


def to_image(image: Image.Image | Tensor | str | Path) -> Image.Image:
    """An RGB picture from a path, a picture, or a `uint8` tensor "3 h w".

    Paths and pictures are turned as their EXIF data ask for, as `RelationPredictor` reads them; for boxes that count
    in stored pixels, as those of datasets, give the pixels as a tensor. Transparent parts become white.

    Raises:
        TypeError: a tensor of another type: normalised pixels cannot be shown.
    """
    if isinstance(image, Image.Image):
        return _opaque(ImageOps.exif_transpose(image))
    if isinstance(image, Tensor):
        if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3:
            raise TypeError(f"expected a uint8 tensor of shape (3, h, w), got {image.dtype} {tuple(image.shape)}")
        return Image.fromarray(np.ascontiguousarray(image.cpu().permute(1, 2, 0).numpy()))
    with Image.open(image) as opened:
        return _opaque(ImageOps.exif_transpose(opened))


def save_png(picture: Image.Image, path: str | Path) -> Path:
    """Writes a PNG, under a temporary name first, and returns its path."""
    content = io.BytesIO()
    picture.save(content, format="PNG", optimize=True)
    write_atomically(Path(path), content.getvalue())
    return Path(path)


def _opaque(picture: Image.Image) -> Image.Image:
    """The picture in RGB, on white where it is transparent."""
    if picture.mode == "RGB":
        return picture.copy()
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    if picture.mode.startswith("I"):  # 16 bits, whatever Pillow keeps them in
        pixels = (np.asarray(picture) >> 8).clip(0, 255)
        return Image.fromarray(pixels.astype(np.uint8)).convert("RGB")
    return picture.convert("RGB")
