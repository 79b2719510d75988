"""Small pictures as text that a page can hold."""

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps

LONG_SIDE = 420
QUALITY = 78


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
    zoom = min(1.0, long_side / max(height, width))
    shape = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    content = io.BytesIO()
    ImageOps.fit(picture, shape, Image.Resampling.LANCZOS).save(content, format="JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii")
