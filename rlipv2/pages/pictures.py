"""Small pictures as text that a page can hold."""

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps

LONG_SIDE = 420
QUALITY = 78


def data_uri(picture: Image.Image, *, quality: int = QUALITY) -> str:
    """A picture as it is, as JPEG in a data URI."""
    content = io.BytesIO()
    picture.convert("RGB").save(content, format="JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii")


def fitted(picture: Image.Image, long_side: int = LONG_SIDE) -> Image.Image:
    """The picture with its longer side at most so many pixels; smaller ones are not enlarged."""
    zoom = min(1.0, long_side / max(picture.size))
    return picture if zoom == 1 else picture.resize(_scaled(picture.size, zoom), Image.Resampling.LANCZOS)


def thumbnail(path: Path, size: tuple[int, int], long_side: int = LONG_SIDE) -> str | None:
    """A JPEG as data URI, or None where the file is missing or cannot be decoded.

    Pixels as stored, without turning the image as its EXIF data ask for: boxes mean stored pixels.

    Args:
        path: of the image.
        size: (height, width) as annotated; another shape is fitted into it.
        long_side: of the result, in pixels; smaller images are not enlarged.
    """
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    height, width = size
    shape = _scaled((width, height), min(1.0, long_side / max(height, width)))
    return data_uri(ImageOps.fit(picture, shape, Image.Resampling.LANCZOS))


def _scaled(size: tuple[int, int], zoom: float) -> tuple[int, int]:
    return max(1, round(size[0] * zoom)), max(1, round(size[1] * zoom))
