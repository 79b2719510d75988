"""Decoding image files to RGB tensors as stored.

torchvision decodes JPEG and PNG (to the pixels of Pillow, in about 60 % of its time), Pillow what else it knows.
"""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from rlipv2.datasets.errors import DatasetNotFoundError, ImageFileError

MAX_PIXELS = 100_000_000
EXIF_ORIENTATION = 0x0112
SIGNATURES = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "GIF": b"GIF8", "TIFF": b"II*\0"}
"""What files of common formats begin with."""


@dataclass(frozen=True)
class ImageHeader:
    """What the first bytes of an image file tell, whatever its extension says.

    Attributes:
        size: (height, width) as stored, before any EXIF rotation.
        mode: colour mode of Pillow ("RGB", "L", "P", "CMYK", "I;16", ...).
        format: file format of Pillow ("JPEG", "PNG", ...).
        rotated: the EXIF orientation asks for another orientation than the stored one.
    """

    size: tuple[int, int]
    mode: str
    format: str
    rotated: bool = False


def read_header(path: Path) -> ImageHeader:
    """Size and format of an image file without decoding it.

    Raises:
        DatasetNotFoundError: no such file.
        ImageFileError: not an image, or one that `read_image` refuses (16 bits, more than 100 megapixels, a PNG file
            that is cut off).
    """
    with _opened(path) as opened:
        header = _checked_header(path, opened)
        try:  # Pillow decodes PNG files to find it
            orientation = opened.getexif().get(EXIF_ORIENTATION, 1)
        except Exception as error:
            raise _damaged(path, error) from error
        return dataclasses.replace(header, rotated=orientation != 1)


def read_image(path: Path) -> UInt8[Tensor, "3 h w"]:
    """The image as stored, RGB 0-255; greyscale, palette and CMYK are converted, alpha is dropped.

    The EXIF orientation is ignored, as in the official code: boxes follow the stored pixels. Animations
    give their first frame. The content decides the format, not the extension.

    Raises:
        DatasetNotFoundError: no such file.
        ImageFileError: not an image, cut off, 16 bits per channel, or more than 100 megapixels.
    """
    image = _read_plain_jpeg(path)
    return _read_any(path) if image is None else image


def _read_plain_jpeg(path: Path) -> UInt8[Tensor, "3 h w"] | None:
    """The image, or None for whatever else `_read_any` has to decode or to refuse.

    Nearly all images of all datasets; looking at them with Pillow first takes a tenth of the time of decoding.
    """
    try:
        content = bytearray(path.read_bytes())
        height, width, channels = _jpeg_shape(content)
        if channels in (1, 3) and 0 < height * width <= MAX_PIXELS:
            return _decode(content)
    except (OSError, IndexError, RuntimeError):
        return None
    return None


def _jpeg_shape(content: bytearray) -> tuple[int, int, int]:
    """(height, width, channels) of a JPEG file of 8 bits; zeros for anything else."""
    if content[:2] != b"\xff\xd8":
        return 0, 0, 0
    position = 2
    while content[position] == 0xFF:
        marker = content[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame
            bits, *rest = content[position + 4 : position + 10]
            return (rest[0] << 8 | rest[1], rest[2] << 8 | rest[3], rest[4] if bits == 8 else 0)
        position += 2 + (content[position + 2] << 8 | content[position + 3])
    return 0, 0, 0


def _read_any(path: Path) -> UInt8[Tensor, "3 h w"]:
    with _opened(path) as opened:
        header = _checked_header(path, opened)
        try:
            if header.format in ("JPEG", "PNG") and header.mode in ("RGB", "L"):
                return _decode(bytearray(path.read_bytes()))
            pixels = np.array(opened if opened.mode == "RGB" else opened.convert("RGB"))
        except Exception as error:  # both raise many kinds on damaged files
            raise _damaged(path, error) from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _decode(content: bytearray) -> UInt8[Tensor, "3 h w"]:
    with warnings.catch_warnings():
        # torchvision 0.29 announces that its decoders will move to another package some day.
        warnings.simplefilter("ignore", DeprecationWarning)
        return torchvision.io.decode_image(torch.frombuffer(content, dtype=torch.uint8), "RGB")


def _opened(path: Path) -> Image.Image:
    """The image, of which only the header has been read yet."""
    try:
        return Image.open(path)
    except FileNotFoundError:
        todo = "check that the image archive was unpacked fully"
        raise DatasetNotFoundError.missing("image", path, todo) from None
    except Image.DecompressionBombError:
        raise _too_large(path, "far more than 100 megapixels") from None
    except Exception as error:  # Pillow raises many kinds on broken headers
        start = _first_bytes(path, 20)
        for name, signature in SIGNATURES.items():
            if start.startswith(signature):
                wrong = f"begins as a {name} file, but is cut off or damaged ({path.stat().st_size:,} bytes)"
                raise ImageFileError.at(path, wrong, "copy it again") from error
        wrong = f"not an image (begins with {start!r})" if start else "the file is empty"
        raise ImageFileError.at(path, wrong, "copy it again; a web page or a pointer file is no image") from error


def _checked_header(path: Path, opened: Image.Image) -> ImageHeader:
    width, height = opened.size
    if height * width > MAX_PIXELS:
        raise _too_large(path, f"{width} x {height} pixels")
    # Pillow cuts PNG files of three 16-bit channels to 8 bits without a word; byte 24 tells the depth
    if opened.mode.startswith(("I", "F")) or (opened.format == "PNG" and _first_bytes(path, 25)[24] > 8):
        raise ImageFileError.at(path, "more than 8 bits per channel", "convert the image to 8 bits first")
    return ImageHeader((height, width), opened.mode, opened.format or "")


def _first_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _damaged(path: Path, error: Exception) -> ImageFileError:
    return ImageFileError.at(path, f"cannot be decoded ({error})", "the file is damaged: copy it again")


def _too_large(path: Path, how_much: str) -> ImageFileError:
    return ImageFileError.at(path, f"{how_much}, over the limit of 100 megapixels", "scale the image down first")
