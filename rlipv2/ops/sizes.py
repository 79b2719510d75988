"""The size that an image is scaled to. No torch in here: exported networks run without it."""


def resized_size(height: int, width: int, short_side: int, max_size: int | None = None) -> tuple[int, int]:
    """The (height, width) after scaling the short side to `short_side`, by the official arithmetic.

    The long side is truncated, not rounded, and `max_size` is applied to the short side: it may be
    missed by a pixel. torchvision's own `max_size` gives other sizes.

    >>> resized_size(480, 640, 800, 1333)
    (800, 1066)
    """
    short, long = min(height, width), max(height, width)
    if max_size is not None and long / short * short_side > max_size:
        short_side = round(max_size * short / long)
    if short == short_side:
        return height, width
    scaled = int(short_side * long / short)
    return (scaled, short_side) if width < height else (short_side, scaled)
