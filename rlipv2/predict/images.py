"""Any picture that people have -> a tensor of RGB pixels, as a viewer would show them."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from rlipv2.predict.pixels import MAX_PIXELS, ImageError, read_array, read_pixels

__all__ = ["MAX_PIXELS", "ImageError", "ImageSource", "read_image"]

ImageSource = str | Path | Image.Image | np.ndarray | Tensor


def read_image(source: ImageSource) -> UInt8[Tensor, "3 h w"]:
    """The picture as RGB, 0-255, in the orientation in which it is looked at.

    Files are turned as their EXIF orientation says; datasets are not (`rlipv2.datasets.images`), since their boxes
    follow the stored pixels. Transparent pixels are laid on white, greyscale, palette and CMYK are converted,
    animations give their first frame. 16 bits are scaled from 0-65535, so darker than such files often
    are displayed where only 12 bits of them are used.

    Args:
        source: path; `PIL.Image`; array (h, w), (h, w, c) or (c, h, w), or tensor, with 1, 3 or 4 channels:
            booleans, integers (0-255, or 0-65535 where the type has 16 bits) or floats (0-1, or 0-255 where any
            exceeds 1). Where both ends of the shape could be channels, arrays take the last and tensors the first.

    Raises:
        ImageError: no such file, no image, cut off, empty, far too large, or numbers that are no pixels.
        TypeError: another kind of object.
    """
    if isinstance(source, Tensor):
        name = f"tensor {source.dtype} {tuple(source.shape)}"
        tensor = source.detach().cpu()
        array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        pixels = read_array(array, name, channels_last=False)
    elif isinstance(source, str | Path | Image.Image | np.ndarray):
        pixels = read_pixels(source)
    else:
        raise TypeError(f"an image is a path, a PIL image, an array or a tensor, not {type(source).__name__}")
    return torch.from_numpy(pixels).permute(2, 0, 1)
