"""Any picture that people have -> RGB pixels, as a viewer would show them. No torch in here."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 178_956_970
"""Twice what Pillow warns of: a file of this many pixels is taken for an attack on the memory, not for a picture."""

PixelSource = str | Path | Image.Image | np.ndarray


class ImageError(ValueError):
    """A picture that cannot be used; the message names it and says why.

    Attributes:
        source: the path, or what the picture was given as, in words.
        reason: what is wrong with it.
    """

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source, self.reason = source, reason


def read_pixels(source: PixelSource) -> UInt8[np.ndarray, "h w 3"]:
    """The picture as RGB, 0-255, in the orientation in which it is looked at.

    Files are turned as their EXIF orientation says; datasets are not (`rlipv2.datasets.images`), since their boxes
    follow the stored pixels. Transparent pixels are laid on white, greyscale, palette and CMYK are converted,
    animations give their first frame. 16 bits are scaled from 0-65535, so darker than such files often
    are displayed where only 12 bits of them are used.

    Args:
        source: path; `PIL.Image`; array (h, w), (h, w, c) or (c, h, w), with 1, 3 or 4 channels: booleans, integers
            (0-255, or 0-65535 where the type has 16 bits) or floats (0-1, or 0-255 where any exceeds 1). Where both
            ends of the shape could be channels, the last is taken.

    Raises:
        ImageError: no such file, no image, cut off, empty, far too large, or numbers that are no pixels.
        TypeError: another kind of object.
    """
    if isinstance(source, str | Path):
        return _read_file(source)
    if isinstance(source, Image.Image):
        return _read_opened(source, f"PIL image ({source.mode}, {source.width} x {source.height})")
    if isinstance(source, np.ndarray):
        return read_array(source, f"array {source.dtype} {source.shape}", channels_last=True)
    raise TypeError(f"an image is a path, a PIL image or an array, not {type(source).__name__}")


def _read_file(path: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    name = str(path)
    if name.startswith(("http://", "https://")):
        raise ImageError(name, "an address; download the picture and give its path")
    path = Path(path).expanduser()
    if path.is_dir():
        raise ImageError(name, "a folder, not an image")
    if not path.is_file():
        raise ImageError(name, "no such file")
    if path.stat().st_size == 0:
        raise ImageError(name, "the file is empty (0 bytes)")
    try:
        with Image.open(path) as opened:
            return _read_opened(opened, name)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(name, "far more") from None
    except UnidentifiedImageError:
        raise ImageError(name, "not an image, or of a kind that Pillow does not know") from None
    except Exception as error:  # Pillow raises many kinds on damaged headers
        raise _damaged(name, error) from error


def _read_opened(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 3"]:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name, f"{image.width} x {image.height}")
    if image.width == 0 or image.height == 0:
        raise ImageError(name, "has no pixels")
    try:
        image.load()
        turned = ImageOps.exif_transpose(image)
        if turned.mode.startswith("I") or turned.mode == "F":
            return read_array(np.array(turned), name, channels_last=True, deep=turned.mode.startswith("I"))
        pixels = np.array(_on_white(turned))
    except ImageError:
        raise
    except Exception as error:  # the same on damaged pixels
        raise _damaged(name, error) from error
    return pixels


def _on_white(image: Image.Image) -> Image.Image:
    """RGB; what shines through is white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def read_array(array: np.ndarray, name: str, *, channels_last: bool, deep: bool = False) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of an array, see `read_pixels`.

    Args:
        array: pixels.
        name: what errors call it.
        channels_last: which end of the shape holds the channels where both could.
        deep: whole numbers count to 65535, whatever their type.

    Raises:
        ImageError: as `read_pixels`.
    """
    if array.ndim == 4:
        raise ImageError(name, "several images; give them as a list")
    if array.ndim not in (2, 3) or array.size == 0:
        raise ImageError(name, "expected the shape (h, w), (h, w, channels) or (channels, h, w), none of them 0")
    if array.shape[0] * array.shape[-1] > MAX_PIXELS and array.ndim == 2:
        raise _too_large(name, f"{array.shape[1]} x {array.shape[0]}")
    pixels = _as_bytes(_with_channels_last(array, name, prefer_last=channels_last), name, deep=deep)
    if pixels.shape[2] == 4:
        pixels = np.array(_on_white(Image.fromarray(np.ascontiguousarray(pixels), "RGBA")))
    elif pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    return np.array(pixels)  # a copy: the caller may change his array


def _with_channels_last(array: np.ndarray, name: str, *, prefer_last: bool) -> np.ndarray:
    if array.ndim == 2:
        return array[:, :, None]
    first, last = array.shape[0] in (1, 3, 4), array.shape[2] in (1, 3, 4)
    if not (first or last):
        raise ImageError(name, "expected 1, 3 or 4 channels, first or last")
    return array if last and (prefer_last or not first) else array.transpose(1, 2, 0)


def _as_bytes(array: np.ndarray, name: str, *, deep: bool) -> np.ndarray:
    """Pixels of 8 bits, whatever the numbers were."""
    kind = array.dtype.kind
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if kind not in "uif":
        raise ImageError(name, "expected booleans, integers or floats")
    if array.dtype == np.uint8:
        return array
    if kind == "f" and not np.isfinite(array).all():
        raise ImageError(name, "holds NaN or infinite numbers")
    low, high = array.min(), array.max()
    deep = deep or array.dtype in (np.uint16, np.int16)
    limit = 65535 if deep else 255
    if low < 0 or high > limit:
        raise ImageError(
            name,
            f"holds numbers from {low:g} to {high:g}; expected pixels from 0 to {limit}"
            + (" or 0 to 1, not normalised ones" if kind == "f" else ""),
        )
    if kind == "f":
        limit = 1 if high <= 1 else 255
    scale = 255 / limit
    return np.rint(array.astype(np.float64) * scale).astype(np.uint8)


def _too_large(name: str, how_much: str) -> ImageError:
    return ImageError(name, f"{how_much} pixels, over the limit of {MAX_PIXELS / 1e6:.0f} megapixels: scale it down")


def _damaged(name: str, error: Exception) -> ImageError:
    return ImageError(name, f"damaged or cut off: cannot be decoded ({error})")
